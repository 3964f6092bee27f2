"""`distill.taps`: where student and teacher are read decides what a training step compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.data import DataFiles
from ikd.detectors import build_detector, detector_config, freeze
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput, ConfigError
from ikd.training import build_model
from tests.unit.attack.toys import noise_images, sample, tiny

DETR: dict[str, Any] = {
    "config": "mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "overrides": {
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4, "out_indices": [1, 2, 3]},
        "neck.in_channels": [8, 16, 32],
        "encoder.num_layers": 1,
        "decoder.num_layers": 1,
    },
}


def stepped(recipe: Recipe, teacher: Any, *, copies: bool = False) -> tuple[DistillDetector, dict[str, Any]]:
    """Return a model of the recipe and its losses of one batch."""
    torch.manual_seed(0)
    model = build_model(recipe, DataFiles.of(recipe), teacher)
    images = list(noise_images(2, 64, 96))
    data = {"inputs": images, "data_samples": [sample((64, 96)), sample((64, 96))]}
    return model, model.losses(data | ({"adversarial": [image + 8 for image in images]} if copies else {}))


@pytest.fixture
def plain(tiny_recipe: Callable[..., Recipe]) -> Recipe:
    return tiny_recipe(distill__host="pkd", distill__levels="all", adversarial__enabled=False, augment__enabled=False)


def detr() -> Any:
    torch.manual_seed(2)
    return freeze(build_detector(detector_config(DETR["config"], overrides=DETR["overrides"], classes=["a", "b", "c"])))


def test_an_encoder_is_another_teacher_than_the_neck_before_it_and_no_decoder_runs(plain: Recipe) -> None:
    teacher, ran = detr(), []
    for part in ("encoder", "decoder", "bbox_head"):
        getattr(teacher, part).register_forward_hook(lambda *of, part=part: ran.append(part))
    plain = plain.with_values({"adversarial.enabled": True})
    losses = {}
    for choice in ("auto", "outputs", "encoder"):
        ran.clear()
        _, losses[choice] = stepped(plain.with_values({"distill.taps.teacher": choice}), teacher, copies=True)
        assert ran.count("encoder") == {"encoder": 3}.get(choice, 0)  # the probe, the batch and its copies
        assert not {"decoder", "bbox_head"} & set(ran)
    for name in ("loss_pkd", "loss_adversarial"):
        assert len({float(one[name].detach()) for one in losses.values()}) == (3 if name == "loss_pkd" else 2)


def test_named_modules_are_compared(plain: Recipe) -> None:
    names = {"student": ["backbone.layer2", "backbone.layer3"], "teacher": ["neck.lateral_convs.0.conv"]}
    model, losses = stepped(plain.with_values({"distill.taps": names}), tiny("retinanet_r18", levels=3))
    assert (list(model.terms.student_levels), list(model.terms.teacher_levels)) == ([0], [0])
    losses["loss_pkd"].backward()
    assert model.student.backbone.layer2[0].downsample[0].weight.grad.abs().max() > 0
    assert model.student.backbone.layer3[0].downsample[0].weight.grad is None


@pytest.mark.parametrize(
    "config", ["rtmdet/rtmdet_tiny_8xb32-300e_coco.py", "yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py"]
)
@pytest.mark.parametrize("host", ["fgd", "cwd"])
def test_students_of_other_necks_learn_from_a_retinanet(config: str, host: str, plain: Recipe) -> None:
    values = {"student": {"config": f"mmdet::{config}"}, "distill.host": host, "adversarial.enabled": True}
    model, losses = stepped(plain.with_values(values), tiny("retinanet_r18", levels=3), copies=True)
    assert [model.terms.taps, sorted(model.terms.teacher_levels)] == [("auto", "auto"), [0, 1, 2]]
    assert all(losses[name].isfinite() for name in (f"loss_{host}", "loss_adversarial"))


def test_modules_that_are_not_there_are_refused(plain: Recipe) -> None:
    message = r"distill\.taps\.student: RetinaNet has no module called 'neck\.fpn_convs\.9'; nearest: neck\.fpn_convs"
    with pytest.raises(BadInput, match=message):
        stepped(plain.with_values({"distill.taps.student": ["neck.fpn_convs.9"]}), tiny("retinanet_r18"))
    with pytest.raises(ConfigError, match=r"distill\.taps: should be 'auto', 'outputs' or 'encoder', but got 'neck'"):
        plain.with_values({"distill.taps": "neck"})
    for value in (3, ["neck.fpn_convs.0.conv"], None):
        with pytest.raises(ConfigError, match=r"distill\.taps: must be auto, outputs or encoder, or a mapping"):
            plain.with_values({"distill.taps": value})
    with pytest.raises(BadInput, match=r"distill\.taps\.teacher: RetinaNet cannot be read at bbox_head.*: only"):
        stepped(plain.with_values({"distill.taps.teacher": ["bbox_head.retina_cls"]}), tiny("retinanet_r18"))
    with pytest.raises(ConfigError, match=r"distill\.taps\.student: must name at least one module, and none twice"):
        plain.with_values({"distill.taps.student": ["neck", "neck"]})
    assert plain.value("distill.taps") == "auto", "as a space writes it"
    assert plain.with_values({"distill.taps": "outputs"}).value("distill.taps") == "outputs"
    assert plain.with_values({"distill.taps.student": "outputs"}).value("distill.taps") == {
        "student": "outputs",
        "teacher": "auto",
    }


def test_where_maps_are_read_is_part_of_a_training_where_maps_are_read(plain: Recipe) -> None:
    outputs = {"distill.taps": "outputs"}
    assert plain.with_values(outputs).fingerprint() != plain.fingerprint()
    heads = plain.with_values({"distill.host": "crosskd"})
    assert heads.with_values(outputs).fingerprint() == heads.fingerprint()
