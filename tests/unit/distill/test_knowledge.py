"""Prototypes in a training step: the response loss, sampled regions, and the hosts that they act within."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import Distill
from ikd.detectors import freeze
from ikd.distill import build_loss
from ikd.distill.detector import DistillDetector
from ikd.distill.functional import Targets
from ikd.distill.knowledge import Knowledge, SeenInstances, first_sampler, sampled_targets
from ikd.distill.losses.imitation.rkd import RKD
from ikd.distill.prototypes import Prototypes, PrototypeTerm
from ikd.distill.response import ReliableScores, ScoreHeads, between
from ikd.distill.terms import Terms
from ikd.distill.views.heads import said_by
from ikd.errors import BadInput
from tests.unit.distill.heads import BOXES, FAMILIES, batch, pair, tiny, two_stages

WIDTH = {"FasterRCNN": 16, "Cascade": 16}
NAMES = ("global_weight", "feature_weight", "background_weight", "coefficients", "strength")


def term(width: int, levels: int = 3, **options: Any) -> PrototypeTerm:
    torch.manual_seed(0)
    given = {name: getattr(Distill().prototypes, name) for name in NAMES} | options
    made = PrototypeTerm([width] * levels, [width] * levels, classes=3, count=2, over_levels="sum", **given)
    for level in range(levels):
        made.hold(level, Prototypes(torch.randn(4, width), torch.randn(4, width), torch.tensor([0, 0, 1, 2])))
    return made


def response(student: Any, teacher: Any, **changes: Any) -> ReliableScores:
    settings: dict[str, Any] = {"temperature": 2.0, "weight": 1.0, "class_reduction": "mean"} | changes
    return ReliableScores(student, teacher, **settings)


def losses(student: Any, teacher: Any, terms: Terms) -> dict[str, Tensor]:
    model = DistillDetector(student, teacher, terms)
    images, samples = batch(BOXES)
    torch.manual_seed(3)
    found = model.losses({"inputs": list(50 * images + 120), "data_samples": samples})
    return {name: value for name, value in found.items() if any(one in name for one in ("prototypes", "kd", "defeat"))}


def terms_of(kind: str, student: Any, teacher: Any, *, levels: int = 3, **changes: Any) -> Terms:
    made: dict[str, Any] = {
        "prototypes": term(WIDTH.get(kind, 32), levels),
        "response": response(student, teacher),
    } | changes
    return Terms(range(levels), range(levels), **made)


@pytest.mark.parametrize("kind", [*FAMILIES, "FasterRCNN"])
def test_every_loss_is_there_and_pulls_on_the_student(kind: str) -> None:
    student, teacher = pair(kind)
    found = losses(student, teacher, terms_of(kind, student, teacher))
    assert found.keys() == {f"loss_prototypes_{name}" for name in ("global", "feature", "response")}
    weights = [one for one in student.backbone.parameters() if one.requires_grad]
    for name, loss in found.items():
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        assert sum(float(one.abs().sum()) for one in gradients if one is not None) > 0, name


@pytest.mark.parametrize("photographs", [False, True])
def test_of_photographs_the_response_loss_counts_scores(photographs: bool) -> None:
    """Without a box it would divide by 1 there, and by that on labelled images."""
    student, teacher = pair("RetinaHead")
    lesson = DistillDetector(student, teacher, terms_of("RetinaHead", student, teacher)).lessons[0]
    images, samples = batch([[] for _ in BOXES])
    with lesson.capture(labelled=not photographs) as seen:
        student.loss(images, samples)
    made = lesson.terms.response
    assert made is not None
    assert seen.instances is not None
    assert seen.instances.scores is not None
    with torch.no_grad():
        maps = teacher.extract_feat(images)
        divisor = made._places.divergences(seen.instances.scores, maps, 2.0, "mean").divisor.item()
        scores = said_by(teacher.bbox_head, maps).logits.sigmoid().amax(dim=2).sum().item()
    assert divisor == pytest.approx(max(1.0, scores) if photographs else float(len(BOXES)))


@pytest.mark.parametrize("kind", ["RetinaHead", "FasterRCNN"])
def test_the_response_loss_is_vanilla_kd_where_everything_is_reliable_and_less_where_not(kind: str) -> None:
    student, teacher = pair(kind)
    student.eval()
    made = terms_of(kind, student, teacher)
    assert made.prototypes is not None
    plain = between("vkd", student, teacher, temperature=2.0, weight=1.0, class_reduction="mean")
    expected = losses(student, teacher, Terms(heads=plain))["loss_vkd"].item()
    doubtful = losses(student, teacher, made)["loss_prototypes_response"].item()
    assert 0 < doubtful < expected
    for level in range(3):
        nothing = torch.zeros(0, WIDTH.get(kind, 32))
        made.prototypes.hold(level, Prototypes(nothing, nothing, torch.zeros(0, dtype=torch.long)))
    student.load_state_dict(pair(kind)[0].state_dict())
    sure = losses(student.eval(), teacher, made)["loss_prototypes_response"].item()
    assert sure == pytest.approx(expected, rel=1e-5), "a class without prototypes is reliable"


def test_a_region_counts_by_its_own_reliability_and_background_whole() -> None:
    student, teacher = pair("FasterRCNN")
    student.eval()
    heads = response(student, teacher)
    images, samples = batch(BOXES)
    knowledge = Knowledge(student, term(16), heads, couples=False)
    torch.manual_seed(3)
    with knowledge.capture() as seen:
        student.loss(images, samples)
    sampled, scores = [call.result for call in seen.sampled], seen.scores
    assert scores is not None
    counts = [len(one.pos_priors) for one in sampled]
    assert len(counts) == 2
    assert min(counts) > 0
    instances = sampled_targets(sampled, Targets([torch.zeros(0, 4)] * 2, [torch.zeros(0).long()] * 2, (96, 96)))
    weights = torch.linspace(0.1, 0.9, sum(counts))
    heads.weigh(scores, instances, weights)
    assert scores.reliability is not None
    found, first = [], 0
    for one in sampled:
        positives = weights[first : first + len(one.pos_priors)]
        found += [positives, torch.ones(len(one.neg_priors))]
        first += len(one.pos_priors)
    torch.testing.assert_close(scores.reliability, torch.cat(found))
    with torch.no_grad():
        features = teacher.extract_feat(images)
        taught = teacher.roi_head._bbox_forward(features, scores.regions)["cls_score"]
        log_q, log_p = ((side / 2).log_softmax(dim=1) for side in (scores.outputs[0], taught))
        divergence = 4 * (log_p.exp() * (log_p - log_q)).mean(dim=1)
    expected = (divergence * scores.reliability).mean()
    assert heads.losses(scores, features)["loss_prototypes_response"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_cell_counts_by_the_most_reliable_box_over_it() -> None:
    student, teacher = pair("RetinaHead")
    heads = response(student, teacher)
    images, samples = batch(BOXES)
    with heads.capture() as seen:
        student.loss(images, samples)
    boxes = [torch.tensor([[0.0, 0, 40, 40], [0, 0, 10, 10]]), torch.zeros(0, 4)]
    targets = Targets(boxes, [torch.tensor([0, 1]), torch.zeros(0).long()], (96, 96))
    heads.weigh(seen, targets, torch.tensor([0.25, 0.75]))
    assert seen.reliability is not None
    finest_logits = seen.outputs[0][0][0]
    height, width = finest_logits.shape[2:]
    anchors = finest_logits.shape[1] // 3
    finest = seen.reliability[:, : height * width * anchors].view(2, height, width, anchors)
    assert (finest[0, 0, 0] == 0.75).all()
    assert (finest[0, 4, 4] == 0.25).all()
    assert (finest[0, -1, -1] == 1).all()
    assert (finest[1] == 1).all()


@pytest.mark.parametrize("name", ["faster_rcnn_r18", "cascade_rcnn_r18", "mask_rcnn_r18"])
def test_instances_of_two_stages_are_the_regions_that_the_student_samples(name: str) -> None:
    student = two_stages(name, seed=1).train()
    images, samples = batch(BOXES)
    if student.with_mask:
        for sample in samples:
            _with_masks(sample)
    knowledge = Knowledge(student, term(16), None, couples=False)
    with knowledge.capture() as seen:
        student.loss(images, samples)
    truth = Targets(
        [one.gt_instances.bboxes for one in samples], [one.gt_instances.labels for one in samples], (96, 96)
    )
    found = sampled_targets([call.result for call in seen.sampled], truth)
    assert [len(one) for one in found.boxes] >= [len(one) for one in truth.boxes]
    assert all(len(boxes) == len(labels) for boxes, labels in zip(found.boxes, found.labels, strict=True))
    assert all(set(labels.tolist()) <= {0, 1, 2} for labels in found.labels)
    assert "sample" not in vars(first_sampler(student)), "mmdet's own is back"


def _with_masks(sample: Any) -> None:
    import numpy as np
    from mmdet.structures.mask import BitmapMasks

    count = len(sample.gt_instances.bboxes)
    sample.gt_instances.masks = BitmapMasks(np.ones((count, 96, 96), dtype=np.uint8), 96, 96)


def test_a_detector_of_one_stage_has_the_boxes_of_the_truth() -> None:
    student, _ = pair("RetinaHead")
    assert first_sampler(student) is None
    targets = Targets([torch.rand(2, 4)], [torch.tensor([0, 1])], (96, 96))
    assert sampled_targets([], targets) is targets
    known = Knowledge(student, term(32), None, couples=False).learn(
        SeenInstances(), ([torch.randn(1, 32, 8, 8)] * 3, [torch.randn(1, 32, 8, 8)] * 3), targets
    )
    assert known.instances is targets
    assert ((known.reliability >= 0) & (known.reliability <= 1)).all()


class TestRefusals:
    @pytest.mark.parametrize(
        ("student", "teacher", "why"),
        [
            (lambda: tiny("RetinaHead"), lambda: two_stages(), "must be between two one-stage or two two-stage"),
            (lambda: tiny("RetinaHead"), lambda: tiny("FCOSHead"), "RetinaHead"),
            (lambda: two_stages(), lambda: two_stages("cascade_rcnn_r18"), "in 3 steps that move them"),
            (lambda: two_stages(), lambda: two_stages(num_classes=4), "numbers of classes must be equal"),
        ],
    )
    def test_heads_that_do_not_score_the_same_places(self, student: Any, teacher: Any, why: str) -> None:
        with pytest.raises(BadInput, match=r"^distill[.]prototypes[.]response_weight above 0: .*" + re.escape(why)):
            response(student(), freeze(teacher()))


class TestWithinHosts:
    @pytest.mark.parametrize("kind", ["RetinaHead", "FasterRCNN"])
    def test_vanilla_kd_weighs_places(self, kind: str) -> None:
        student, teacher = pair(kind)
        student.eval()
        heads = between("vkd", student, teacher, temperature=2.0, weight=1.0, class_reduction="sum")
        assert isinstance(heads, ScoreHeads)
        apart, within = (
            losses(student, teacher, terms_of(kind, student, teacher, coupled=couples, heads=heads))
            for couples in (False, True)
        )
        assert 0 < within["loss_vkd"].item() < apart["loss_vkd"].item()
        assert within["loss_prototypes_response"] == apart["loss_prototypes_response"], "the same scores, read twice"

    @pytest.mark.parametrize("kind", ["RetinaHead", "FasterRCNN"])
    @pytest.mark.parametrize("host", ["defeat", "rkd"])
    def test_hosts_between_maps_are_told(self, host: str, kind: str) -> None:
        student, teacher = pair(kind)
        student.eval()
        width, levels = WIDTH.get(kind, 32), (0, 1, 2)
        more = {"level": 0, "levels": levels} if host == "defeat" else {}
        torch.manual_seed(0)
        modules = [build_loss(host, width, width, **more) for _ in levels]
        off: dict[str, Any] = {"global_weight": 0.0, "feature_weight": 0.0}
        terms = [
            Terms(levels, levels, host=(host, modules), prototypes=term(width, **off), coupled=couples)
            for couples in (False, True)
        ]
        found = [losses(copy.deepcopy(student), teacher, one) for one in terms]
        assert all(one.keys() == {f"loss_{host}"} for one in found)
        assert found[0][f"loss_{host}"].item() != found[1][f"loss_{host}"].item()
        assert found[1][f"loss_{host}"].requires_grad


def test_rkd_compares_with_prototypes_by_hand() -> None:
    """One object at the origin, two prototypes on the axes: distances 1 and 3 over their mean, and a right angle."""
    student = torch.zeros(1, 2, 4, 4, requires_grad=True)
    teacher = torch.zeros(1, 2, 4, 4)
    partners = (torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    targets = Targets([torch.tensor([[0.0, 0, 31, 31]])], [torch.tensor([0])], (32, 32), partners=partners)
    distance = RKD(w_distance=1.0, w_angle=0.0, normalise=False, most=64)(student, teacher, targets)
    assert distance.item() == pytest.approx(0.5 * 0.5**2), "1/2 and 3/2 against 1 and 1"
    angle = RKD(w_distance=0.0, w_angle=1.0, normalise=False, most=64)(student, teacher, targets)
    assert angle.item() == pytest.approx(0)
    slanted = (torch.tensor([[1.0, 0.0], [1.0, 1.0]]), partners[1])
    found = RKD(w_distance=0.0, w_angle=1.0, normalise=False, most=64)(
        student, teacher, Targets(targets.boxes, targets.labels, (32, 32), partners=slanted)
    )
    assert found.item() == pytest.approx(2 * 0.5 * 0.5 / 4), "two of four cosines are 1/sqrt 2 for 0"


@pytest.mark.parametrize("left", ["objects", "prototypes"])
def test_rkd_without_an_object_or_two_prototypes_is_zero(left: str) -> None:
    student, teacher = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(1, 2, 4, 4)
    count = 1 if left == "prototypes" else 4
    boxes = torch.zeros(0, 4) if left == "objects" else torch.tensor([[0.0, 0, 31, 31]])
    partners = (torch.randn(count, 2), torch.randn(count, 2))
    targets = Targets([boxes], [torch.zeros(len(boxes)).long()], (32, 32), partners=partners)
    loss = RKD(w_distance=1.0, w_angle=1.0, normalise=True, most=64)(student, teacher, targets)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, student)
    assert (gradient == 0).all()


def test_rkd_takes_the_students_prototypes_through_its_adapter() -> None:
    """An adapter is linear: that of a mean is the mean of what is adapted, so that an object is where its map is."""
    torch.manual_seed(0)
    loss = build_loss("rkd", 3, 2, w_distance=1.0, w_angle=0.0, normalise=False)
    student = torch.randn(1, 3, 4, 4)
    rows = torch.randn(4, 3)
    adapted = loss.adapter(rows[..., None, None]).flatten(1)
    box = [torch.tensor([[0.0, 0, 31, 31]])]
    targets = Targets(box, [torch.tensor([0])], (32, 32), partners=(rows, adapted.detach()))
    assert loss(student, loss.adapter(student).detach(), targets).item() == pytest.approx(0, abs=1e-6)


def test_defeat_weighs_objects_by_hand() -> None:
    """Errors of 1 in one box and 4 in the other: their mean by reliability, over 2."""
    torch.manual_seed(0)
    loss = build_loss("defeat", 1, 1, w_object=1.0, w_background=0.0)
    inner: Any = loss.loss
    torch.nn.init.zeros_(inner.imitator.weight)
    torch.nn.init.zeros_(inner.imitator.bias)
    teacher = torch.ones(1, 1, 4, 4)
    teacher[..., 2:] = 2.0
    boxes = [torch.tensor([[0.0, 0, 7, 31], [24.0, 0, 31, 31]])]
    known = Targets(boxes, [torch.tensor([0, 1])], (32, 32))
    assert loss(torch.zeros(1, 1, 4, 4), teacher, known).item() == pytest.approx((1 + 1 + 4) / 3 / 2)
    told = Targets(boxes, known.labels, (32, 32), reliability=[torch.tensor([0.5, 0.0])])
    assert loss(torch.zeros(1, 1, 4, 4), teacher, told).item() == pytest.approx(1 / 2)
