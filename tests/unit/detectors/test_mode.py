"""A frozen detector's loss is the one it was trained with, and nothing of it changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from ikd.attack import DIFGSM
from ikd.attack.gradient import prepared_samples, seeded, teacher_loss
from ikd.attack.losses import detection_loss
from ikd.detectors import build_detector, detector_config, freeze
from ikd.detectors.mode import LATE, loss_mode
from tests.contracts.zoo_families import ZOO
from tests.unit.attack.toys import noise_images, sample, tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*MultiheadAttention:DeprecationWarning", "ignore:.*meshgrid")
SIDE = 96
IDLE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.MultiheadAttention)


def samples(count: int = 1) -> list[Any]:
    boxes = [[8.0, 8.0, 40.0, 40.0], [20.0, 30.0, 70.0, 90.0]]
    made = [sample((SIDE, SIDE), index + 1, boxes=boxes) for index in range(count)]
    return prepared_samples(made, (SIDE, SIDE), [(SIDE, SIDE)] * count)


def detector(name: str) -> Any:
    torch.manual_seed(0)
    row = ZOO[name]
    return build_detector(detector_config(f"mmdet::{row.config}", overrides=row.overrides, classes=["a", "b"]))


def trained_loss(plain: Any, inputs: Tensor) -> dict[str, Any]:
    """Losses of a detector in training mode, its norms and dropouts excepted."""
    plain.train()
    for module in plain.modules():
        if isinstance(module, IDLE):
            module.eval()
    with torch.no_grad():
        return dict(plain.loss(inputs, samples()))


def flat(losses: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in losses.items():
        yield from ((name, item) for item in (value if isinstance(value, list) else [value]))


@pytest.mark.parametrize("name", ["fcos normbbox", "vfnet", "centernet-update", "deformable-detr two-stage", "dino"])
def test_the_attacked_loss_is_the_training_loss(name: str) -> None:
    plain = detector(name)
    teacher, inputs = freeze(copy.deepcopy(plain)), torch.randn(1, 3, SIDE, SIDE)
    with seeded(3, inputs.device), torch.no_grad():
        ours = teacher_loss(teacher, inputs, samples())
    with seeded(3, inputs.device):
        theirs = trained_loss(plain, inputs)
    assert ours.keys() == theirs.keys()
    for (_, one), (_, other) in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_boxes_in_units_of_the_stride_are_attacked_in_them() -> None:
    teacher: Any = freeze(detector("fcos normbbox"))
    inputs = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        right, wrong = teacher_loss(teacher, inputs, samples()), teacher.loss(inputs, samples())
    assert abs(float(right["loss_bbox"]) - float(wrong["loss_bbox"])) > 0.01


def test_only_detector_and_heads_are_told_that_they_train() -> None:
    teacher: Any = tiny("cascade_rcnn_r18", masks=True)
    with loss_mode(teacher):
        training = {name for name, module in teacher.named_modules() if module.training}
        assert MessageHub.get_current_instance().get_info("epoch") == LATE
    heads = {f"roi_head.{kind}_head.{stage}" for kind in ("bbox", "mask") for stage in range(3)}
    assert training == {"", "rpn_head", "roi_head", *heads}
    assert not any(module.training for module in teacher.modules())
    assert MessageHub.get_current_instance().get_info("epoch") is None


def test_everything_is_put_back_after_an_error_and_a_trainers_position_is_kept() -> None:
    teacher: Any = tiny("retinanet_r18")
    hub = MessageHub.get_current_instance()
    hub.update_info("epoch", 7)
    try:
        with pytest.raises(RuntimeError, match="broken"), loss_mode(teacher):
            raise RuntimeError("broken")
        assert hub.get_info("epoch") == 7
    finally:
        hub.pop_info("epoch")
    assert not any(module.training for module in teacher.modules())


def test_statistics_stay_and_denoising_queries_are_drawn_by_image() -> None:
    teacher, images = freeze(detector("dino")), noise_images(2, SIDE, SIDE)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    state = torch.get_rng_state()
    attack = DIFGSM(steps=1)
    together = attack(teacher, images, samples(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    alone = torch.cat([attack(teacher, images[i : i + 1], samples(2)[i : i + 1]) for i in range(2)])
    assert (together == alone).float().mean() > 0.99  # rounding differs between batch sizes


def test_a_tood_is_attacked_as_one_whose_training_is_over() -> None:
    teacher: Any = freeze(detector("tood"))
    inputs = torch.randn(1, 3, SIDE, SIDE)
    assert torch.isfinite(detection_loss(teacher_loss(teacher, inputs, samples())))
    assert teacher.bbox_head.epoch == LATE
