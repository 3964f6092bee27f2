"""Student and teacher look at the same pixels, on every device, and a pass can leave statistics alone."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ikd.detectors import build_detector, detector_config, freeze, left_out
from ikd.distill.canvas import Canvas, canvas_divisor, untouched_statistics
from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.terms import Terms
from ikd.errors import BadInput
from tests.unit.attack.toys import sample

CLASSES = ["a", "b", "c"]
CAFFE: dict[str, Any] = {"mean": [103.53, 116.28, 123.675], "std": [1.0, 1.0, 1.0], "bgr_to_rgb": False}


def small(divisor: int = 32, **preprocessor: Any) -> Any:
    arguments = {"base_channels": 8, "neck_channels": 16}
    config = detector_config("ikd::retinanet_r18", arguments=arguments, classes=CLASSES)
    config.data_preprocessor.update(pad_size_divisor=divisor, **preprocessor)
    return build_detector(config)


def images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def batch_of(*sizes: tuple[int, int]) -> dict[str, Any]:
    """A batch as the loader gives it: one box an image."""
    samples = [sample(size, number, [(4, 4, 30, 30)], label=0) for number, size in enumerate(sizes, start=1)]
    return {"inputs": images(*sizes), "data_samples": samples}


@pytest.mark.parametrize("other", [CAFFE, {"pad_value": 7.0}, {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}, {}])
def test_the_teacher_sees_what_its_own_preprocessor_would_make(other: dict[str, Any]) -> None:
    student, teacher = small(), small(**other)
    given = images((50, 70), (64, 40))
    canvas = Canvas(student, teacher)
    batch = canvas({"inputs": given})["inputs"]
    seen = canvas.for_teacher(batch, [(50, 70), (64, 40)])
    assert torch.allclose(seen, teacher.data_preprocessor({"inputs": given}, False)["inputs"], atol=2e-4)
    assert torch.equal(batch, student.data_preprocessor({"inputs": given}, True)["inputs"])
    assert (seen is batch) == (not other)


def masked(size: tuple[int, int], number: int) -> Any:
    """A sample with a mask of its own height and width, and mmdet's box type."""
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    made = sample(size, number)
    made.gt_instances.masks = BitmapMasks(np.ones((1, *size), dtype=np.uint8), *size)
    made.gt_instances.bboxes = HorizontalBoxes(made.gt_instances.bboxes)
    return made


ALIKE, APART = [(50, 70), (50, 70)], [(50, 70), (64, 40), (33, 33)]


@pytest.mark.parametrize("sizes", [ALIKE, APART])
@pytest.mark.parametrize(
    "preprocessor",
    [
        {},
        CAFFE,
        {"pad_value": 7.0, "pad_mask": True, "mask_pad_value": 1},
        {"mean": None, "std": None, "bgr_to_rgb": False},
        {"pad_mask": True, "boxtype2tensor": False},
    ],
)
def test_the_whole_batch_at_once_is_mmdets_batch_to_the_bit(
    sizes: list[tuple[int, int]], preprocessor: dict[str, Any]
) -> None:
    student = small(**preprocessor)
    made = [masked(size, number) for number, size in enumerate(sizes)]
    ours = Canvas(student)({"inputs": images(*sizes), "data_samples": [one.clone() for one in made]})
    theirs = student.data_preprocessor({"inputs": images(*sizes), "data_samples": made}, True)
    assert torch.equal(ours["inputs"], theirs["inputs"])
    assert ours["inputs"].dtype == theirs["inputs"].dtype == torch.float32
    for one, other in zip(ours["data_samples"], theirs["data_samples"], strict=True):
        assert one.metainfo == other.metainfo
        assert np.array_equal(one.gt_instances.masks.masks, other.gt_instances.masks.masks)
        assert type(one.gt_instances.bboxes) is type(other.gt_instances.bboxes)


def test_a_preprocessor_of_another_kind_does_its_own_work() -> None:
    from mmdet.models import DetDataPreprocessor

    class Dark(DetDataPreprocessor):  # type: ignore[misc, unused-ignore]
        def forward(self, data: Any, training: bool = False) -> Any:
            made = super().forward(data, training)
            return {**made, "inputs": made["inputs"] * 0}

    student = small()
    student.data_preprocessor.__class__ = Dark
    assert not Canvas(student)({"inputs": images((64, 64)), "data_samples": None})["inputs"].any()


@pytest.mark.parametrize(("ours", "theirs", "common"), [(32, 64, 64), (48, 32, 96), (32, 32, 32)])
def test_both_are_padded_to_the_least_common_multiple(ours: int, theirs: int, common: int) -> None:
    student, teacher = small(ours), small(theirs)
    assert canvas_divisor(student, teacher) == common == math.lcm(ours, theirs)
    batch = Canvas(student, teacher)({"inputs": images((50, 70))})["inputs"]
    assert batch.shape[2] % common == batch.shape[3] % common == 0
    assert student.data_preprocessor.pad_size_divisor == ours  # validation and export are the student's own


def test_a_pair_of_different_divisors_and_normalisation_makes_a_step() -> None:
    for host in ("fgd", "pkd"):
        student, teacher = small(32), freeze(small(64, **CAFFE))
        levels = [build_loss(host, 16, 16) for _ in range(5)]
        model = DistillDetector(student, teacher, Terms(range(5), range(5), host=(host, levels), adversarial=levels))
        data = batch_of((50, 70), (64, 40))
        losses = model.losses({**data, "adversarial": [image.clone() for image in data["inputs"]]})
        total, _ = model.parse_losses(losses)
        total.backward()
        assert torch.isfinite(total)


def test_every_preprocessor_moves_with_the_weights() -> None:
    model = DistillDetector(small(), freeze(small(**CAFFE)))
    model.to("meta")
    assert model.teacher.data_preprocessor.device.type == "meta"
    assert model.teacher.data_preprocessor.mean.device.type == "meta"
    assert model.student.data_preprocessor.device.type == "meta"
    assert model.canvas.preprocessor.device.type == "meta"
    assert model.canvas.factor.device.type == "meta"
    assert next(model.teacher.parameters()).device.type == "meta"


def test_the_canvas_is_in_no_checkpoint() -> None:
    assert not [name for name in DistillDetector(small(), small(**CAFFE)).state_dict() if name.startswith("canvas")]


def test_maps_of_different_size_are_refused() -> None:
    student, teacher = small(), freeze(small())
    model = DistillDetector(student, teacher, Terms([0], [1], host=("pkd", [build_loss("pkd", 16, 16)])))
    with pytest.raises(BadInput, match=r"distill: must compare maps of one size.*\(8, 12\) and \(4, 6\)"):
        model.losses(batch_of((64, 96)))


def statistics(model: Any) -> list[torch.Tensor]:
    return [value.clone() for name, value in model.student.named_buffers() if name.endswith("running_mean")]


@pytest.mark.parametrize("follow", [False, True])
def test_the_adversarial_pass_leaves_statistics_alone_unless_told_otherwise(*, follow: bool) -> None:
    def after(adversarial: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        levels = [build_loss("adversarial", 16, 16) for _ in range(5)]
        terms = Terms(range(5), range(5), adversarial=levels, statistics_follow=follow)
        model = DistillDetector(small(), freeze(small()), terms).train()
        data = batch_of((64, 96))
        perturbed = {"adversarial": [255 - image for image in data["inputs"]]} if adversarial else {}
        model.losses({**data, **perturbed})
        counts = {int(layer.num_batches_tracked) for layer in model.student.modules() if hasattr(layer, "running_mean")}
        assert counts == {1 + (adversarial and follow)}
        return statistics(model)

    same = all(torch.equal(one, other) for one, other in zip(after(True), after(False), strict=True))
    assert same == (not follow)


def test_statistics_are_tracked_again_after_a_fault() -> None:
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="4D"), untouched_statistics(norm):
        norm(torch.zeros(1))  # of a shape that it does not take
    assert norm.track_running_stats


def test_a_frozen_detector_goes_with_its_last_reference() -> None:
    gc.collect()
    gc.disable()
    try:
        teacher = freeze(small())
        assert freeze(teacher) is teacher
        assert type(teacher).__name__ == "RetinaNet"
        assert teacher.train() is teacher
        assert not teacher.training
        gone = weakref.ref(teacher)
        del teacher
        assert gone() is None
    finally:
        gc.enable()


LSJ = "mmdet::retinanet/retinanet_r50_fpn_8xb8-amp-lsj-200e_coco.py"
NASFPN = "mmdet::nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py"
RTMDET = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"


def test_batch_augmentations_of_a_config_do_not_act() -> None:
    assert left_out(LSJ) == ["BatchFixedSizePad"]
    assert left_out("ikd::retinanet_r18") == []
    assert "batch_augments" not in detector_config(LSJ, classes=CLASSES).data_preprocessor
    wanted = {"data_preprocessor.batch_augments": [{"type": "BatchFixedSizePad", "size": (64, 64)}]}
    with pytest.raises(BadInput, match=r"overrides data_preprocessor.batch_augments.*\['BatchFixedSizePad'\]"):
        detector_config(LSJ, classes=CLASSES, overrides=wanted)


@pytest.mark.parametrize("wrong", [0, None, 7.5, -32, "32", True])
def test_a_divisor_is_a_whole_number_of_pixels(wrong: object) -> None:
    with pytest.raises(BadInput, match=r"data_preprocessor\.pad_size_divisor: must be a whole number of pixels"):
        detector_config(LSJ, classes=CLASSES, overrides={"data_preprocessor.pad_size_divisor": wrong})


@pytest.mark.parametrize(("name", "divisor"), [(RTMDET, 32), (LSJ, 32), (NASFPN, 128)])
def test_the_divisor_is_at_least_the_stride_that_necks_fuse_at(name: str, divisor: int) -> None:
    assert detector_config(name, classes=CLASSES).data_preprocessor.pad_size_divisor == divisor
