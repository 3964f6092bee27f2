"""What a message names when losses are not finite: image, boxes, teacher, or else weights and rates."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.terms import Terms
from ikd.errors import NonFiniteLoss
from tests.unit.attack.toys import tiny
from tests.unit.distill.test_canvas import batch_of
from tests.unit.training.test_step import student, wrapper_of


def model_with(teacher: Any, weight: float = 1.0) -> DistillDetector:
    levels = [build_loss("fitnet", 16, 16, weight=weight) for _ in range(5)]
    return DistillDetector(student(), teacher, Terms(range(5), range(5), host=("fitnet", levels)))


def fault(model: DistillDetector, data: dict[str, Any]) -> NonFiniteLoss:
    with pytest.raises(NonFiniteLoss) as caught:
        model.train_step(data, wrapper_of(model))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


def named(data: dict[str, Any]) -> dict[str, Any]:
    for number, sample in enumerate(data["data_samples"]):
        sample.set_metainfo({"img_path": f"photo-{number}.jpg"})
    return data


def test_a_teacher_whose_weights_are_not_finite() -> None:
    model = model_with(tiny("retinanet_r18", 1))
    model.teacher.neck.fpn_convs[0].conv.weight.data.fill_(float("nan"))
    found = fault(model, named(batch_of((64, 64), (64, 64))))
    assert "the teacher's weights are not finite: neck.fpn_convs.0.conv.weight" in str(found)
    assert "learning rate" not in str(found)
    assert found.cause


def test_a_teacher_whose_maps_are_not_finite_though_its_weights_are() -> None:
    model = model_with(tiny("retinanet_r18", 1))
    model.teacher.neck.fpn_convs[1].conv.weight.data.fill_(3e38)
    assert "the maps of the teacher (RetinaNet) are not finite on its levels 1" in str(fault(model, batch_of((64, 64))))


def test_a_teacher_whose_maps_are_beyond_what_training_gives() -> None:
    """Random weights, or those of another preprocessor: the maps are finite, their squares are not."""
    model = model_with(tiny("retinanet_r18", 1))
    model.teacher.neck.fpn_convs[1].conv.bias.data.fill_(1e30)
    assert "the maps of the teacher (RetinaNet) reach 1e+30" in str(fault(model, batch_of((64, 64))))


@pytest.mark.parametrize("corners", [[5.0, 5.0, 5.0, 20.0], [9.0, 8.0, 3.0, 20.0]])
def test_boxes_without_an_area_name_their_image(corners: list[float]) -> None:
    """As from sizes exchanged: what is clipped at the wrong border has no width."""
    model = DistillDetector(student())
    data = named(batch_of((64, 64), (64, 64)))
    boxes = data["data_samples"][1].gt_instances.bboxes
    boxes[0] = torch.tensor(corners)
    found = fault(model, data)
    assert f"boxes without an area at the size the network sees, in photo-1.jpg (1 of {len(boxes)})" in str(found)
    assert "photo-0.jpg" not in str(found)


def test_pixels_that_are_not_finite_name_their_image() -> None:
    data = named(batch_of((64, 64), (64, 64)))
    data["inputs"] = [image.float() for image in data["inputs"]]
    data["inputs"][0][0, 3, 3] = float("nan")
    assert "pixels of photo-0.jpg are not finite" in str(fault(DistillDetector(student()), data))


def test_otherwise_weights_and_rates_are_to_blame() -> None:
    model = model_with(tiny("retinanet_r18", 1))
    for level in model.terms.host[1] if model.terms.host else ():
        level.loss.weight = float("inf")  # type: ignore[assignment]
    found = fault(model, named(batch_of((64, 64), (64, 64))))
    assert not found.cause
    assert str(found).endswith("images, boxes and teacher are in order: lower its weight or the learning rate")
