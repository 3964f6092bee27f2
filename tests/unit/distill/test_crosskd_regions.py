"""CrossKD between detectors of two stages: regions of the student before the teacher's RoI head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.config import HOSTS
from ikd.detectors import freeze, weights_sha256
from ikd.distill.crosskd import CrossRegions
from ikd.distill.detector import DistillDetector
from ikd.distill.response import between
from ikd.distill.terms import Terms
from ikd.errors import BadInput
from tests.unit.distill.heads import BOXES, SIDE, Boxes, batch, tiny, two_stages

KINDS = ("faster_rcnn_r18", "mask_rcnn_r18", "cascade_rcnn_r18")


def crossing(student: Any, teacher: Any, **changes: Any) -> Any:
    """Return what the host makes of a pair, with changes of `distill.crosskd.roi`, or of its `connector`."""
    own = {key: changes.pop(key) for key in list(changes) if key != "roi"}
    section: Any = HOSTS["crosskd"](**own).model_dump()
    section["roi"] |= changes.pop("roi", {})
    return between("crosskd", student, teacher, **section, reduction="published")


def with_masks(boxes: Boxes) -> tuple[Tensor, list[Any]]:
    """Return a batch whose objects fill their boxes."""
    from mmdet.structures.mask import BitmapMasks  # after ikd's kernels

    images, samples = batch(boxes)
    for sample, rows in zip(samples, boxes, strict=True):
        masks = torch.zeros(len(rows), SIDE, SIDE, dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, rows, strict=True):
            mask[int(top) : int(bottom), int(left) : int(right)] = 1
        sample.gt_instances.masks = BitmapMasks(masks.numpy(), SIDE, SIDE)
    return images, samples


def seen_by(cross: Any, student: Any, boxes: Boxes = BOXES) -> Any:
    images, samples = with_masks(boxes)
    torch.manual_seed(0)  # the sampler draws
    with cross.capture() as seen:
        student.loss(images, samples)
    return seen


def found(cross: Any, student: Any, teacher: Any, boxes: Boxes = BOXES) -> dict[str, Tensor]:
    seen = seen_by(cross, student, boxes)
    with torch.no_grad():
        features = teacher.extract_feat(batch(boxes)[0])
    losses: dict[str, Tensor] = cross.losses(seen, features)
    return losses


def pair(kind: str, width: int = 16) -> tuple[Any, Any]:
    changes = {"masks": True} if kind == "cascade_rcnn_r18" else {}
    ours = two_stages(kind, 1, neck_channels=width, **changes)
    return ours.train(), freeze(two_stages(kind, 2, **changes))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_there_and_zero_between_equals(kind: str) -> None:
    student, teacher = pair(kind)
    names = {f"loss_crosskd_{part}" for part in ("cls", "reg", *(() if kind == "faster_rcnn_r18" else ("mask",)))}
    losses = found(crossing(student, teacher), student, teacher)
    assert losses.keys() == names
    assert all(one.item() > 1e-4 and one.dtype == torch.float32 for one in losses.values())
    student.load_state_dict(teacher.state_dict())
    same = found(crossing(student.eval(), teacher), student, teacher)
    assert all(one.item() == pytest.approx(0, abs=1e-5) for one in same.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [16, 24])
def test_gradient_reaches_backbone_and_neck_alone(kind: str, width: int) -> None:
    student, teacher = pair(kind, width)
    before = weights_sha256(teacher)
    cross = crossing(student, teacher)
    torch.autograd.backward(total(found(cross, student, teacher)))
    for part in ("rpn_head", "roi_head"):
        assert all(one.grad is None for one in getattr(student, part).parameters()), part
    for part in ("backbone", "neck"):
        grads = [one.grad for one in getattr(student, part).parameters() if one.grad is not None]
        assert all(one.isfinite().all() for one in grads)
        assert sum(float(one.abs().sum()) for one in grads) > 0, part
    assert all(one.grad is None for one in teacher.parameters())
    assert weights_sha256(teacher) == before
    assert (cross.connectors is None) == (width == 16)
    for connector in cross.connectors or ():
        assert connector.weight.shape == (16, 24, 1, 1)
        assert float(connector.weight.grad.abs().sum()) > 0
        assert float(connector.bias.grad.abs().sum()) > 0


def regions_of(sampled: Sequence[Any]) -> Tensor:
    parts = [F.pad(one.priors, (1, 0), value=float(image)) for image, one in enumerate(sampled)]
    return torch.cat(parts)


def test_equals_the_straightforward_computation() -> None:
    student, teacher = pair("mask_rcnn_r18")
    student.eval()
    cross = crossing(student, teacher, roi={"w_cls": 2.0, "w_reg": 3.0, "w_mask": 0.5, "temperature": 2.0})
    seen = seen_by(cross, student)
    images, _ = batch(BOXES)
    ours, theirs = student.extract_feat(images), teacher.extract_feat(images)
    rois = regions_of(seen.sampled[0])
    x, t = (teacher.roi_head._bbox_forward(side, rois) for side in (ours, theirs))
    taught = (t["cls_score"] / 2).softmax(dim=1)
    far = (taught * (taught.log() - (x["cls_score"] / 2).log_softmax(dim=1))).sum(dim=1)
    weight, label = t["cls_score"].softmax(dim=1)[:, :3].max(dim=1)
    boxes = [side["bbox_pred"].view(len(rois), 3, 4)[torch.arange(len(rois)), label] for side in (x, t)]
    apart = (boxes[0] - boxes[1]).abs().sum(dim=1)
    objects = torch.cat(
        [F.pad(one.pos_priors, (1, 0), value=float(image)) for image, one in enumerate(seen.sampled[0])]
    )
    masks = [teacher.roi_head._mask_forward(side, objects)["mask_preds"] for side in (ours, theirs)]
    wanted = masks[1].sigmoid()
    entropy = F.binary_cross_entropy_with_logits(masks[0], wanted, reduction="none")
    focused = (entropy * (masks[0].sigmoid() - wanted).abs()).sum()
    expected = {
        "loss_crosskd_cls": 2 * 4 * far.mean().item(),
        "loss_crosskd_reg": 3 * ((weight * apart).sum() / (4 * weight.sum())).item(),
        "loss_crosskd_mask": 0.5 * focused.item() / len(rois),
    }
    losses = {name: one.item() for name, one in cross.losses(seen, theirs).items()}
    assert losses == pytest.approx(expected, rel=1e-4)


def test_a_cascade_is_compared_stage_by_stage() -> None:
    """Each stage on regions of its own, weighted as the student's own losses of the stage."""
    student, teacher = pair("cascade_rcnn_r18")
    cross = crossing(student.eval(), teacher)
    seen = seen_by(cross, student)
    theirs = teacher.extract_feat(batch(BOXES)[0])
    assert len(seen.sampled) == 3
    whole, alone = cross.losses(seen, theirs), []
    for stage in range(3):
        parts = cross._of_stage(stage, (seen.pyramids[0], theirs), seen.sampled[stage])
        alone.append({f"loss_crosskd_{name}": one for name, one in parts.items()})
    assert len({one["loss_crosskd_cls"].item() for one in alone}) == 3
    for name, value in whole.items():
        expected = sum(weight * one[name].item() for weight, one in zip((1.0, 0.5, 0.25), alone, strict=True))
        assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_without_boxes_it_stays_finite(kind: str) -> None:
    student, teacher = pair(kind)
    losses = found(crossing(student, teacher), student, teacher, [[], []])
    torch.autograd.backward(total(losses))
    assert all(one.isfinite() for one in losses.values())
    assert all(one.grad.isfinite().all() for one in student.parameters() if one.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_capture_takes_one_loss_and_leaves_the_heads_as_they_were(kind: str) -> None:
    student, teacher = pair(kind)
    cross = crossing(student, teacher)
    found(cross, student, teacher)
    for detector in (student, teacher):
        assert not {"loss", "bbox_loss"} & set(vars(detector.roi_head))
    images, samples = with_masks(BOXES)
    with pytest.raises(RuntimeError, match=r"exactly one student\.loss"), cross.capture():
        student.extract_feat(images)
    with pytest.raises(RuntimeError, match=r"exactly one student\.loss"), cross.capture():
        _ = [student.loss(images, samples) for _ in range(2)]


def test_half_precision_agrees() -> None:
    student, teacher = pair("mask_rcnn_r18")
    cross = crossing(student.eval(), teacher)
    seen = seen_by(cross, student)
    with torch.no_grad():
        features = teacher.extract_feat(batch(BOXES)[0])
    exact = {name: one.item() for name, one in cross.losses(seen, features).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen.pyramids = [student.extract_feat(batch(BOXES)[0])]
        losses = cross.losses(seen, features)
    assert all(one.dtype == torch.float32 for one in losses.values())
    assert {name: one.item() for name, one in losses.items()} == pytest.approx(exact, rel=0.2)


def test_masks_are_compared_where_both_have_them() -> None:
    masked, plain = two_stages("mask_rcnn_r18", 1).train(), two_stages("faster_rcnn_r18", 2)
    assert "loss_crosskd_mask" not in found(crossing(masked, freeze(plain)), masked, plain)
    teacher = freeze(two_stages("mask_rcnn_r18", 2))
    assert "loss_crosskd_mask" not in found(crossing(masked, teacher, roi={"w_mask": 0.0}), masked, teacher)


def test_the_connector_is_trained_and_left_out_of_the_student() -> None:
    student, teacher = pair("faster_rcnn_r18", 24)
    model = DistillDetector(student, teacher, Terms(heads=crossing(student, teacher)))
    named = {name for name in model.state_dict() if not name.startswith("student.")}
    assert named == {"connectors.0.weight", "connectors.0.bias"}
    equal, _ = pair("faster_rcnn_r18")
    assert crossing(equal, teacher, connector="always").connectors is not None


SIGMOID = {"type": "CrossEntropyLoss", "use_sigmoid": True}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a cascade": ("cascade_rcnn_r18", {}, "box heads in a row must be equal, but the student has 3, the teacher 1"),
    "classes": ("faster_rcnn_r18", {"num_classes": 2}, "numbers of classes must be equal, but the student has 2"),
    "strides": (
        "faster_rcnn_r18",
        {"overrides": {"roi_head.bbox_roi_extractor.featmap_strides": [4, 8, 16]}},
        r"strides of the levels that regions are read on must be equal, but the student has \[4, 8, 16\], the teacher",
    ),
    "one box of all classes": (
        "faster_rcnn_r18",
        {"overrides": {"roi_head.bbox_head.reg_class_agnostic": True}},
        r"reg_class_agnostic must be equal, but the student has \[True\], the teacher \[False\]; let both say",
    ),
    "sigmoids": (
        "faster_rcnn_r18",
        {"overrides": {"roi_head.bbox_head.loss_cls": SIGMOID}},
        r"must be between RoI heads that score with a softmax \(the student's RoI head\), but got 'CrossEntropyLoss'",
    ),
    "another RoI head": (
        "faster_rcnn_r18",
        {"overrides": {"roi_head.type": "PISARoIHead"}},
        r"must be between detectors with one of CascadeRoIHead.* \(the student's RoI head\), but got 'PISARoIHead'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_heads_are_refused(case: str) -> None:
    kind, changes, message = REFUSED[case]
    student, teacher = two_stages(kind, 1, **changes), freeze(two_stages(seed=2))
    with pytest.raises(BadInput, match=f"distill.host crosskd: {message}"):
        crossing(student, teacher)


def test_one_stage_and_two_are_refused() -> None:
    student, teacher = two_stages(seed=1), freeze(tiny("RetinaHead", 2))
    with pytest.raises(BadInput, match=r"distill\.host crosskd: must be between two one-stage or two two-stage"):
        crossing(student, teacher)


def test_weights_that_would_not_act_are_refused() -> None:
    student, teacher = pair("faster_rcnn_r18")
    with pytest.raises(BadInput, match=r"distill\.crosskd\.w_cls: must be left at 1, but got 2\.0; between two stages"):
        crossing(student, teacher, w_cls=2.0)
    dense = tiny("RetinaHead", 1), freeze(tiny("RetinaHead", 2))
    with pytest.raises(BadInput, match=r"distill\.crosskd\.roi\.w_reg: must be left at 1, but got 2\.0; between dense"):
        crossing(*dense, position=1, roi={"w_reg": 2.0})


def test_it_is_crossregions() -> None:
    assert isinstance(crossing(*pair("faster_rcnn_r18")), CrossRegions)
