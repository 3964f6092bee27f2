"""Class scores of two detectors at the same places: vanilla KD, and what the other hosts read of heads."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor
from torch.nn import functional as F

from ikd.config import HOSTS
from ikd.detectors import build_detector, freeze, weights_sha256
from ikd.distill.losses.vkd import sigmoid_divergence, softmax_divergence
from ikd.distill.recording import Call, recorded
from ikd.distill.response import ResponseTerms, between
from ikd.distill.response.instances import disputed, reassigned
from ikd.distill.response.objects import positives_of, rank_divergence
from ikd.distill.views.heads import ROWS, assignment, locations
from ikd.errors import BadInput
from tests.unit.detectors.kinds.mmdets import CROWD, small
from tests.unit.distill.dense import CONFIGS, detector_of
from tests.unit.distill.heads import BOXES, FAMILIES, KINDS, SIDE, Boxes, batch, pair, tiny, twins, two_stages
from tests.unit.distill.maps import maps

pytestmark = pytest.mark.filterwarnings("ignore:DeprecationWarning. pos_bboxes")  # DDOD asks its sampler so


@pytest.fixture(autouse=True)
def late_epoch() -> None:
    """Be past the first epochs, in which TOOD assigns as ATSS."""
    MessageHub.get_current_instance().update_info("epoch", 100)


def found(host: str, student: Any, teacher: Any, boxes: Boxes = BOXES, **settings: Any) -> dict[str, Tensor]:
    """Return what a host says of one batch; the regions are the same in every call."""
    reduction = settings.pop("reduction", "published")
    section = HOSTS[host](**settings)
    heads = between(host, student, teacher, **section.model_dump(), reduction=reduction)
    images, samples = batch(boxes)
    torch.manual_seed(3)
    with heads.capture() as seen:
        student.loss(images, samples)
    with torch.no_grad():
        features = teacher.extract_feat(images)
    return heads.losses(seen, features)


class TestDivergences:
    @pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.003579633985), (2.0, 0.003578340886)])
    def test_softmax_equals_the_reference(self, temperature: float, expected: float) -> None:
        torch.set_default_dtype(torch.float64)
        student, teacher = (side.mean(dim=(2, 3)) for side in maps())
        torch.set_default_dtype(torch.float32)
        divergence = softmax_divergence(student, teacher, temperature).sum(dim=1).mean()
        assert divergence.item() == pytest.approx(expected, rel=1e-9)

    def test_sigmoid_by_hand(self) -> None:
        """Scores 1/2 and 3/4: 3/4 log(3/2) + 1/4 log(1/2), also of logits twice as large at temperature 2."""
        expected = 0.75 * torch.log(torch.tensor(1.5)) + 0.25 * torch.log(torch.tensor(0.5))
        ours, theirs = torch.zeros(1), torch.log(torch.tensor([3.0]))
        assert sigmoid_divergence(ours, theirs, 1.0).item() == pytest.approx(expected.item(), rel=1e-5)
        assert sigmoid_divergence(ours, 2 * theirs, 2.0).item() == pytest.approx(4 * expected.item(), rel=1e-5)

    def test_extreme_logits_stay_finite(self) -> None:
        ours = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
        theirs = torch.tensor([[-200.0, 200.0, 0.0]])
        for divergence in (softmax_divergence, sigmoid_divergence):
            total = divergence(ours, theirs, 1.0).sum()
            (gradient,) = torch.autograd.grad(total, ours)
            assert total.isfinite()
            assert gradient.isfinite().all()


def labelled(student: Any, shapes: list[torch.Size]) -> tuple[Tensor, Tensor, int]:
    """Return labels and weights of every anchor, by mmdet's own assignment, and the head's count of positives."""
    _, samples = batch(BOXES)
    head, objects = student.bbox_head, [sample.gt_instances for sample in samples]
    if type(head).__name__ == "FCOSHead":
        points = head.prior_generator.grid_priors(shapes, device="cpu")
        labels = torch.cat(head.get_targets(points, objects)[0])
        return labels, torch.ones(len(labels)), max(int((labels < 3).sum()), 1)
    metas = [sample.metainfo for sample in samples]
    anchors, flags = head.get_anchors(shapes, metas, device="cpu")
    targets = head.get_targets(anchors, flags, objects, metas)
    labels, weights = (torch.cat([part.flatten() for part in kind]) for kind in targets[-5:-3])
    return labels, weights, int(targets[-1])


def rows(levels: list[Tensor]) -> Tensor:
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, 3) for level in levels])


class TestScores:
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("reduction", ["published", "mean"])
    def test_one_stage_equals_the_straightforward_computation(self, family: str, reduction: str) -> None:
        student, teacher = pair(family)
        student.eval()
        images, _ = batch(BOXES)
        ours, theirs = (one.bbox_head(one.extract_feat(images))[0] for one in (student, teacher))
        _, weights, count = labelled(student, [level.shape[2:] for level in ours])
        p, q = (rows(side).double().div(2).sigmoid() for side in (theirs, ours))
        divergence = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(dim=1)
        divisor = count if reduction == "published" else int((weights > 0).sum())
        expected = (divergence * (weights > 0)).sum() / divisor
        result = found("vkd", student, teacher, reduction=reduction)
        assert result.keys() == {"loss_vkd"}
        assert result["loss_vkd"].item() == pytest.approx(expected.item(), rel=1e-4)
        halved = found("vkd", student, teacher, reduction=reduction, weight=0.5, class_reduction="mean")
        assert halved["loss_vkd"].item() == pytest.approx(expected.item() / 6, rel=1e-4)

    def test_two_stages_compare_the_same_regions(self) -> None:
        student, teacher = pair("FasterRCNN")
        student.eval()
        regions: list[Tensor] = []
        hook = student.roi_head.bbox_roi_extractor.register_forward_pre_hook(lambda _, given: regions.append(given[1]))
        result = found("vkd", student, teacher, temperature=2.0)["loss_vkd"]
        hook.remove()
        images, _ = batch(BOXES)
        scores = [
            one.roi_head._bbox_forward(one.extract_feat(images), regions[0])["cls_score"] for one in (student, teacher)
        ]
        log_q, log_p = ((side / 2).log_softmax(dim=1) for side in scores)
        expected = 4 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
        assert scores[0].shape[1] == 4, "three classes and the background"
        assert result.item() == pytest.approx(expected.item(), rel=1e-4)
        assert result.item() > 1e-3
        by_class = found("vkd", student, teacher, temperature=2.0, class_reduction="mean")["loss_vkd"]
        assert by_class.item() == pytest.approx(expected.item() / 4, rel=1e-4)

    def test_masks_are_no_obstacle(self) -> None:
        """A Mask R-CNN scores regions as a Faster R-CNN does; its mask branch plays no part."""
        student, teacher = two_stages(seed=1).train(), freeze(two_stages("mask_rcnn_r18", seed=2))
        assert found("vkd", student, teacher)["loss_vkd"].item() > 1e-3


TERMS = {
    "defeat": {"loss_defeat_head"},
    "frs": {"loss_frs_cls"},
    "gid": {"loss_gid_response"},
    "rmpfi": {"loss_rmpfi_rank"},
    "vkd": {"loss_vkd"},
}
"""What each host says of heads."""


def any_pair(kind: str) -> tuple[Any, Any]:
    """Return a student in training mode and another, frozen detector, each with that head."""
    if kind not in CONFIGS:
        return pair(kind)
    return detector_of(kind, 1).train(), freeze(detector_of(kind, 2))


def any_twins(kind: str) -> tuple[Any, Any]:
    """Return a student and a teacher of equal weights, both normalising by running statistics."""
    if kind not in CONFIGS:
        return twins(kind)
    return with_running_statistics(detector_of(kind, 2).train()), freeze(detector_of(kind, 2))


def with_running_statistics(student: Any) -> Any:
    """Return a student that trains but normalises as in use, so that a second loss of it is the first."""
    for one in student.modules():
        one.training = one.training and not isinstance(one, torch.nn.modules.batchnorm._BatchNorm)
    return student


def enlarge(head: Any) -> None:
    """Let a head whose boxes are of one cell before training draw those of a few, and YOLOX's see something."""
    convs: Any = getattr(head, "rtm_reg", getattr(head, "multi_level_conv_reg", ()))
    with torch.no_grad():
        for conv in list(convs) if isinstance(convs, (torch.nn.ModuleList, tuple)) else [convs]:
            conv.bias[2 if type(head).__name__ == "YOLOXHead" else 0 :] += 1
        for conv in getattr(head, "multi_level_conv_cls", ()):
            conv.bias += 4


def near_pair(kind: str) -> tuple[Any, Any]:
    """Return a pair whose heads draw boxes of some cells.

    ATSS gives no place to one that fills the image, and those who look at overlaps give an object one that fits none.
    """
    student, teacher = any_pair(kind)
    for one in (student, teacher) if kind == "GFLHead" else ():
        with torch.no_grad():
            one.bbox_head.gfl_reg.bias.view(4, -1)[:, :2] += 6
    for one in (student, teacher) if kind in CONFIGS else ():
        enlarge(one.bbox_head)
    return student, teacher


EVERY = [
    pytest.param(host, kind, marks=[pytest.mark.slow] if (one + other) % len(TERMS) else [])
    for one, host in enumerate(TERMS)
    for other, kind in enumerate([*KINDS, *CONFIGS])
    if (host, kind) != ("gid", "PAAHead")
]
"""Every host on every kind of head; each of them in some always runs."""


@pytest.mark.parametrize(("host", "kind"), EVERY)
class TestEveryHost:
    def test_every_term_is_there(self, host: str, kind: str) -> None:
        assert found(host, *any_pair(kind)).keys() == TERMS[host]

    def test_is_zero_for_equal_weights(self, host: str, kind: str) -> None:
        if host == "frs":
            pytest.skip("a cross-entropy keeps the teacher's own entropy")
        values = found(host, *any_twins(kind))
        assert all(value.item() == pytest.approx(0, abs=1e-5) for value in values.values())
        assert all(value.item() > 1e-4 for value in found(host, *near_pair(kind)).values())

    def test_gradient_reaches_the_student_alone(self, host: str, kind: str) -> None:
        student, teacher = near_pair(kind)
        before = weights_sha256(teacher)
        for name, value in found(host, student, teacher).items():
            student.zero_grad()
            value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            gradients = [one.grad for one in student.parameters() if one.grad is not None]
            assert gradients, name
            assert all(one.isfinite().all() for one in gradients)
            first = next(iter(student.backbone.parameters()))
            assert first.grad is not None
            assert first.grad.abs().sum() > 0, name
        assert all(one.grad is None for one in teacher.parameters())
        assert weights_sha256(teacher) == before

    def test_without_boxes_it_stays_finite(self, host: str, kind: str) -> None:
        student, teacher = any_pair(kind)
        values = found(host, student, teacher, [[], []])
        total: Any = sum(values.values(), torch.zeros(()))
        total.backward()
        assert all(value.isfinite() for value in values.values())
        gradients = [one.grad for one in student.parameters() if one.grad is not None]
        assert all(one.isfinite().all() for one in gradients)

    def test_half_precision_agrees(self, host: str, kind: str) -> None:
        """Of heads that assign by what they predict, in type alone."""
        if kind == "VFNetHead":
            pytest.skip("mmdet's own loss of it takes no half precision on a CPU")
        student, teacher = any_pair(kind)
        exact = found(host, student, teacher)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            values = found(host, student, teacher)
        assert all(value.dtype == torch.float32 for value in values.values())
        assert all(value.isfinite() for value in values.values())
        if kind in CONFIGS:
            return
        expected = {name: value.item() for name, value in exact.items()}
        assert {name: value.item() for name, value in values.items()} == pytest.approx(expected, rel=0.2)

    def test_the_heads_are_left_as_they_were(self, host: str, kind: str) -> None:
        student, teacher = any_pair(kind)
        found(host, student, teacher)
        for detector in (student, teacher):
            modules = list(detector.modules())
            assert not any(one._forward_pre_hooks or one._forward_hooks for one in modules)
            methods = {row.targets for row in ROWS.values()}
            assert not any(methods & vars(one).keys() for one in modules)

    def test_a_capture_takes_one_loss(self, host: str, kind: str) -> None:
        student, teacher = any_pair(kind)
        heads = between(host, student, teacher, **HOSTS[host]().model_dump(), reduction="published")
        images, samples = batch(BOXES)
        with pytest.raises(RuntimeError, match=r"exactly one student\.loss"), heads.capture():
            student.extract_feat(images)
        with pytest.raises(RuntimeError, match=r"exactly one student\.loss"), heads.capture():
            _ = [student.loss(images, samples) for _ in range(2)]


def seen_of(host: str, kind: str) -> tuple[Any, Any, list[Any]]:
    """Return a student's head, what a host collected of one loss, and what its assigners said of each image."""
    student, teacher = near_pair(kind)
    heads = between(host, student, teacher, **HOSTS[host]().model_dump(), reduction="published")
    images, samples = batch(BOXES)
    said: list[Call] = []
    with contextlib.ExitStack() as stack:
        for name in ("assigner", "alignment_assigner", "cls_assigner"):
            if hasattr(student.bbox_head, name):
                stack.enter_context(recorded(getattr(student.bbox_head, name), "assign", said))
        seen = stack.enter_context(heads.capture())
        student.loss(images, samples)
    # DDOD assigns for boxes by the first of two that it has, and YOLOX and the others once
    return student.bbox_head, seen, [one.result.gt_inds for one in said[: len(samples)]]


@pytest.mark.parametrize("kind", CONFIGS)
def test_objects_of_places_are_those_of_the_assigner(kind: str) -> None:
    head, seen, numbers = seen_of("rmpfi", kind)
    positives = positives_of(head, seen.calls, locations(head, seen.outputs[0]))
    every = torch.cat([(row + image * 100) * (row > 0) for image, row in enumerate(numbers)])
    theirs = every[positives.places]
    assert (theirs > 0).all()
    if kind != "PAAHead":  # which takes some away again
        assert len(positives.places) == int((every > 0).sum())
    pairs = set(zip(theirs.tolist(), positives.objects.tolist(), strict=True))
    assert len(pairs) == positives.count == len({one for one, _ in pairs}) >= 2, "one to one"
    truth = [sample.gt_instances.labels for sample in batch(BOXES)[1]]
    wanted = [truth[one // 100][one % 100 - 1] for one in theirs.tolist()]
    torch.testing.assert_close(positives.labels, torch.stack(wanted))


@pytest.mark.parametrize("kind", [one for one in (*FAMILIES, *CONFIGS) if one != "PAAHead"])
def test_places_labelled_again_for_the_same_objects_are_the_same(kind: str) -> None:
    head, seen, _ = seen_of("gid", kind)
    first = assignment(head, seen.calls, 2)
    again = assignment(head, reassigned(head, seen.calls, [one.gt_instances for one in batch(BOXES)[1]]), 2)
    for one, other in zip(first[:3], again[:3], strict=True):
        torch.testing.assert_close(one, other)
    assert first.positive.any()
    moved = [one.gt_instances.clone() for one in batch(BOXES)[1]]
    for one in moved:
        one.bboxes = one.bboxes * 0.5
    other_places = assignment(head, reassigned(head, seen.calls, moved), 2).positive
    assert (other_places != first.positive).any()


def test_paa_labels_no_places_for_other_objects() -> None:
    student, teacher = any_pair("PAAHead")
    message = r"^distill\.host gid: must be between heads that label places for any boxes \(the student\).*PAAHead"
    with pytest.raises(BadInput, match=message):
        between("gid", student, teacher, **HOSTS["gid"]().model_dump())


@pytest.mark.parametrize("kind", ["RTMDetSepBNHead", "YOLOXHead", "TOODHead"])
def test_vanilla_kd_as_host_and_as_term_is_one_loss(kind: str) -> None:
    student, teacher = near_pair(kind)
    given: dict[str, Any] = {"temperature": 2.0, "weight": 1.0, "class_reduction": "sum"}
    term = ResponseTerms(student, teacher, {"vkd": given})
    images, samples = batch(BOXES)
    with_running_statistics(student)
    with term.capture() as seen:
        student.loss(images, samples)
    with torch.no_grad():
        features = teacher.extract_feat(images)
    value = term.losses(seen, features, [one.gt_instances.bboxes for one in samples])["loss_vkd_cls"].item()
    assert found("vkd", student, teacher, **given)["loss_vkd"].item() == pytest.approx(value, rel=1e-5)
    assert value > 1e-4


class TestDecoupled:
    def test_objects_and_background_are_averaged_apart(self) -> None:
        """Two stages, whose labels mmdet puts first in each image's sample."""
        student, teacher = pair("FasterRCNN")
        student.eval()
        kept: dict[str, Any] = {}
        hooks = [
            student.roi_head.bbox_roi_extractor.register_forward_pre_hook(lambda _, given: kept.update(r=given[1]))
        ]
        original = student.roi_head.bbox_head.get_targets
        student.roi_head.bbox_head.get_targets = lambda *args, **kw: kept.setdefault("t", original(*args, **kw))
        result = found("defeat", student, teacher, temperature=2.0, w_head=3.0)["loss_defeat_head"]
        for hook in hooks:
            hook.remove()
        images, _ = batch(BOXES)
        scores = [
            one.roi_head._bbox_forward(one.extract_feat(images), kept["r"])["cls_score"] for one in (student, teacher)
        ]
        divergence = softmax_divergence(scores[0], scores[1], 2.0).sum(dim=1)
        object_ = kept["t"][0] < 3
        assert 0 < object_.sum() < len(object_)
        expected = 3 * (divergence[object_].mean() + divergence[~object_].mean())
        assert result.item() == pytest.approx(expected.item(), rel=1e-4)

    def test_without_a_weight_any_two_heads_go(self) -> None:
        student, teacher = tiny("RetinaHead", seed=1), freeze(two_stages(seed=2))
        assert found("defeat", student, teacher, w_head=0.0) == {}


class TestRichness:
    @pytest.mark.parametrize("reduction", ["published", "mean"])
    @pytest.mark.parametrize("kind", ["RetinaHead", "FasterRCNN"])
    def test_equals_the_straightforward_computation(self, kind: str, reduction: str) -> None:
        student, teacher = pair(kind)
        student.eval()
        images, _ = batch(BOXES)
        heads = [one.rpn_head if kind == "FasterRCNN" else one.bbox_head for one in (student, teacher)]
        ours, theirs = (head(one.extract_feat(images))[0] for head, one in zip(heads, (student, teacher), strict=True))
        expected = 0.0
        for z, wanted in zip(ours, theirs, strict=True):
            entropy = -(wanted.sigmoid() * z.sigmoid().log() + (1 - wanted.sigmoid()) * (1 - z.sigmoid()).log())
            m = wanted.sigmoid().amax(dim=1, keepdim=True)
            channels = 1 if reduction == "published" else z.shape[1]
            expected += (m * entropy).sum().item() / m.sum().item() / channels
        result = found("frs", student, teacher, w_cls=2.0, reduction=reduction)["loss_frs_cls"]
        assert result.item() == pytest.approx(2 * expected, rel=1e-4)

    def test_maps_are_told_how_rich_their_cells_are(self) -> None:
        """Also by a teacher of another kind, where no class scores are compared."""
        student, teacher = tiny("RetinaHead", seed=1), tiny("GFLHead", seed=2)
        freeze(teacher)
        heads = between("frs", student, teacher, w_cls=0.0, w_feature=1.0, reduction="published")
        images, _ = batch(BOXES)
        with torch.no_grad(), heads.capture() as seen:
            features = teacher.extract_feat(images)
        assert heads.losses(seen, features) == {}
        wanted = [level.sigmoid().amax(dim=1) for level in teacher.bbox_head(features)[0]]
        torch.testing.assert_close(list(seen.importance), wanted)


class TestInstances:
    def test_the_highest_that_overlap_no_higher_one(self) -> None:
        """Two images: of three boxes at one place one is left; one thinner than a pixel and one of score 0 never."""
        places = [[0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60], [20.0, 20, 20.5, 40], [80.0, 80, 90, 90]]
        rows = torch.tensor([places, places])
        scores = torch.tensor([[0.5, 0.6, 0.1, 0.9, 0.0], [0.2, 0.1, 0.3, 0.9, 0.0]])
        assert [one.tolist() for one in disputed(scores, rows, 5, 0.3)] == [[1, 2], [2, 0]]
        assert [len(one) for one in disputed(scores, rows, 1, 0.3)] == [1, 1]
        assert [len(one) for one in disputed(scores, rows, 5, 0.9)] == [3, 3]
        assert [len(one) for one in disputed(scores, rows, 0, 0.3)] == [0, 0]

    @pytest.mark.parametrize("kind", KINDS)
    def test_they_are_those_of_a_plain_computation(self, kind: str) -> None:
        """Boxes as mmdet's own prediction decodes them, one image after the other, by its own NMS."""
        from mmcv.ops import nms

        student, teacher = near_pair(kind)
        student.eval()
        images, samples = batch(BOXES)
        heads = between("gid", student, teacher, **HOSTS["gid"]().model_dump())
        torch.manual_seed(3)
        with heads.capture() as seen:
            student.loss(images, samples)
        with torch.no_grad():
            heads.losses(seen, teacher.extract_feat(images))
        sides = [predicted(one, images) for one in (student, teacher)]
        for image, found_boxes in enumerate(seen.instances):
            scores, boxes = ([side[image][part] for side in sides] for part in (0, 1))
            difference = scores[1] - scores[0]
            disagreement, label = difference.abs().max(dim=1)
            surer = difference[torch.arange(len(label)), label] > 0
            candidates = torch.where(surer[:, None], boxes[1], boxes[0]).clamp(0, SIDE)
            wide = (candidates[:, 2:] - candidates[:, :2] > 1).all(dim=1)
            kept, _ = nms(candidates[wide], disagreement[wide], 0.3)
            torch.testing.assert_close(found_boxes, kept[:10, :4], rtol=1e-4, atol=1e-2)
            assert len(found_boxes) >= 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_predictions_are_compared_where_the_instances_are(self, kind: str) -> None:
        """Of each share alone, linear in its weight; without instances there is nothing to compare."""
        parts = {}
        for name in ("cls_share", "box_share"):
            shares: dict[str, Any] = {"cls_share": 0.0, "box_share": 0.0, name: 1.0}
            parts[name] = found("gid", *near_pair(kind), **shares)["loss_gid_response"].item()
        whole = found("gid", *near_pair(kind), cls_share=2.0, box_share=3.0, w_response=0.5)["loss_gid_response"].item()
        assert all(value > 0 for value in parts.values())
        assert whole == pytest.approx(parts["cls_share"] + 1.5 * parts["box_share"], rel=1e-4)
        assert found("gid", *near_pair(kind), count=0)["loss_gid_response"].item() == 0


def predicted(detector: Any, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return scores and boxes of all places of each image, by mmdet's own decoding."""
    head = detector.rpn_head if hasattr(detector, "rpn_head") else detector.bbox_head
    outputs = head(detector.extract_feat(images))
    shapes = [level.shape[2:] for level in outputs[0]]
    priors = torch.cat(head.prior_generator.grid_priors(shapes, device="cpu"))
    strides = [one[0] if isinstance(one, tuple) else one for one in head.prior_generator.strides]
    found = []
    for image in range(len(images)):
        scores, boxes = [], []
        for logits, said, stride in zip(*outputs[:2], strides, strict=True):
            scores.append(logits[image].permute(1, 2, 0).reshape(-1, head.num_classes).sigmoid())
            one = said[image].permute(1, 2, 0)
            if type(head).__name__ == "GFLHead":
                one = head.integral(one.reshape(-1, one.shape[2])) * stride
            boxes.append(one.reshape(-1, 4))
        at = head.anchor_center(priors) if type(head).__name__ == "GFLHead" else priors
        found.append((torch.cat(scores), head.bbox_coder.decode(at, torch.cat(boxes))))
    return found


class TestRanks:
    def test_places_of_an_object_by_hand(self) -> None:
        """Shares 3/4, 1/4 against 1/2, 1/2 for one object; an object with one place has no ranks: mean of the two."""
        ours, theirs = torch.zeros(3), torch.log(torch.tensor([3.0, 5.0, 1.0]))
        expected = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2
        found = rank_divergence(ours, theirs, torch.tensor([0, 1, 0]), 2)
        assert found.item() == pytest.approx(expected, rel=1e-5)
        assert rank_divergence(ours[:0], ours[:0], torch.zeros(0, dtype=torch.long), 0).item() == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_the_computation_object_by_object(self, kind: str) -> None:
        """Objects are told apart by mmdet's own sampling, and by the boxes that FCOS's points have to predict."""
        student, teacher = pair(kind)
        student.eval()
        images, _ = batch(BOXES)
        heads = [one.rpn_head if kind == "FasterRCNN" else one.bbox_head for one in (student, teacher)]
        classes = heads[0].num_classes
        ours, theirs = (head(one.extract_feat(images))[0] for head, one in zip(heads, (student, teacher), strict=True))
        flat = [
            torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, classes) for level in side], dim=1)
            for side in (ours, theirs)
        ]
        divergences = []
        for image, places, labels, objects in objects_of(heads[0], ours, kind):
            for one in set(objects.tolist()):
                mine = places[objects == one]
                scores = [side[image, mine, labels[objects == one]] for side in flat]
                log_q, log_p = (side.log_softmax(dim=0) for side in scores)
                divergences.append((log_p.exp() * (log_p - log_q)).sum())
        assert len(divergences) >= 2
        result = found("rmpfi", student, teacher, w_rank=2.0)["loss_rmpfi_rank"]
        assert result.item() == pytest.approx(2 * torch.stack(divergences).mean().item(), rel=1e-3)

    def test_maps_are_told_where_the_heads_disagree(self) -> None:
        student, teacher = pair("RetinaHead")
        student.eval()
        heads = between("rmpfi", student, teacher, w_rank=1.0)
        images, samples = batch(BOXES)
        with heads.capture() as seen:
            student.loss(images, samples)
        features = teacher.extract_feat(images)
        heads.losses(seen, features)
        ours, theirs = student.bbox_head(student.extract_feat(images))[0], teacher.bbox_head(features)[0]
        for z, wanted, importance in zip(ours, theirs, seen.importance, strict=True):
            expected = (z.sigmoid() - wanted.sigmoid()).square().mean(dim=1)
            torch.testing.assert_close(importance, expected.detach())
            assert not importance.requires_grad


def objects_of(head: Any, logits: list[Tensor], kind: str) -> list[tuple[int, Tensor, Tensor, Tensor]]:
    """Return image, places, labels and objects of the positives of each image, places in the order of its levels."""
    _, samples = batch(BOXES)
    shapes, metas = [level.shape[2:] for level in logits], [sample.metainfo for sample in samples]
    objects = [sample.gt_instances for sample in samples]
    if kind == "FCOSHead":
        points = head.prior_generator.grid_priors(shapes, device="cpu")
        labels, distances = head.get_targets(points, objects)
        rows = []
        for image, owner in enumerate(objects):
            of_image = [level.view(2, -1, *level.shape[1:])[image] for level in labels]
            boxes = torch.cat(
                [
                    head.bbox_coder.decode(at, level.view(2, -1, 4)[image] * stride)
                    for at, level, stride in zip(points, distances, head.strides, strict=True)
                ]
            )
            label = torch.cat(of_image)
            places = (label < 3).nonzero().squeeze(1)
            apart = (boxes[places][:, None] - owner.bboxes).abs().amax(dim=2)
            rows.append((image, places, label[places], apart.argmin(dim=1)))
        return rows
    if kind == "FasterRCNN":
        for one in objects:
            one.labels = torch.zeros_like(one.labels)
    anchors, flags = head.get_anchors(shapes, metas, device="cpu")
    sampled: list[Any] = []
    compute = head._get_targets_single

    def record(*args: Any, **kwargs: Any) -> Any:
        result = compute(*args, **kwargs)
        sampled.append(result[-1])
        return result

    head._get_targets_single = record
    head.get_targets(anchors, flags, objects, metas)
    del head._get_targets_single
    return [(image, one.pos_inds, one.pos_gt_labels, one.pos_assigned_gt_inds) for image, one in enumerate(sampled)]


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "stages": (
        lambda: tiny("RetinaHead"),
        two_stages,
        "must be between two one-stage or two two-stage detectors.* the student is a RetinaNet and the teacher a F",
    ),
    "stages, the other way": (
        two_stages,
        lambda: tiny("FCOSHead"),
        "the student is a FasterRCNN and the teacher a FCOS",
    ),
    "families": (
        lambda: tiny("GFLHead"),
        lambda: tiny("FCOSHead"),
        "head families must be equal, but the student has GFLHead, the teacher FCOSHead; pick a teacher",
    ),
    "classes": (
        lambda: tiny("RetinaHead", num_classes=2),
        lambda: tiny("RetinaHead"),
        "numbers of classes must be equal, but the student has 2, the teacher 3",
    ),
    "classes of regions": (
        lambda: two_stages(num_classes=2),
        two_stages,
        "numbers of classes must be equal, but the student has 2, the teacher 3; train both on the same classes",
    ),
    "anchors": (lambda: tiny("RetinaHead", anchor_scale=8.0), lambda: tiny("RetinaHead"), "anchors must be equal"),
    "levels": (lambda: tiny("RetinaHead", levels=4), lambda: tiny("RetinaHead"), "strides of the levels must be equal"),
    "softmax": (
        lambda: tiny(
            "RetinaHead", overrides={"bbox_head.loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}
        ),
        lambda: tiny("RetinaHead"),
        "the student, a RetinaNet, has a RetinaHead with a softmax; class scores are read from one of ATSSHead, DDOD",
    ),
    "other head": (
        lambda: tiny("RetinaHead", overrides={"bbox_head.type": "PISARetinaHead"}),
        lambda: tiny("RetinaHead"),
        "has a PISARetinaHead; class scores are read from one of ATSSHead",
    ),
    "cascade": (
        two_stages,
        lambda: two_stages("cascade_rcnn_r18"),
        "the teacher, a CascadeRCNN, scores regions in 3 steps that move them; .*take one as teacher, or a loss",
    ),
    "two objects a region": (
        lambda: build_detector(small(CROWD, ["a"])),
        lambda: two_stages(num_classes=1),
        r"the student, a CrowdDet, (scores 2 objects in each region|has a RPNHead with a softmax)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("host", TERMS)
def test_unfit_heads_are_refused(host: str, case: str) -> None:
    student, teacher, message = REFUSED[case]
    if host in ("frs", "gid", "rmpfi") and case in ("cascade", "classes of regions"):
        pytest.skip("it compares the scores of proposals")
    with pytest.raises(BadInput, match=rf"^distill\.host {host}( \(distill\..* above 0\))?: .*{message}") as caught:
        between(host, student(), freeze(teacher()), **HOSTS[host]().model_dump(), reduction="published")
    assert "\n" not in str(caught.value)


def test_a_divergence_of_one_place_is_kl_div() -> None:
    student, teacher = (torch.randn(1, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="sum")
    assert softmax_divergence(student, teacher, 1.0).sum().item() == pytest.approx(expected.item(), rel=1e-5)
