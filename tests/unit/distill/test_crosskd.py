"""CrossKD against published values, a straightforward computation on mmdet's own layers, and identities."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.detectors import freeze, weights_sha256
from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.functional import Targets
from ikd.distill.losses.crosskd import CrossKD, align_scale, crosskd_classification
from tests.marks import some
from tests.unit.distill.heads import BOXES, FAMILIES, SIDE, Boxes, batch, hyperparameters, losses_of, pair, tiny, twins

PREDICTORS = {
    "RetinaHead": ("retina_cls", "retina_reg"),
    "FCOSHead": ("conv_cls", "conv_reg"),
    "GFLHead": ("gfl_cls", "gfl_reg"),
    "ATSSHead": ("atss_cls", "atss_reg"),
}


def cross_losses(student: Any, teacher: Any, boxes: Boxes = BOXES, **settings: Any) -> dict[str, Any]:
    reduction = settings.pop("reduction", "published")
    cross = CrossHeads(student, teacher, **hyperparameters(**settings), reduction=reduction)
    return losses_of(cross, student, teacher, boxes)


def maps() -> tuple[Tensor, Tensor]:
    sizes = (torch.arange(size, dtype=torch.float64) for size in (2, 4, 6, 8))
    n, c, h, w = torch.meshgrid(*sizes, indexing="ij")
    teacher = 2 * torch.sin(0.7 * n + 1.3 * c + 0.5 * h + 0.9 * w)
    return 2 * torch.cos(0.4 * n + 0.6 * c + 1.1 * h + 0.2 * w), teacher


class TestPureParts:
    def test_classification_equals_the_authors_code(self) -> None:
        assert crosskd_classification(*maps(), beta=1.0).item() == pytest.approx(145.6787298, rel=1e-9)

    def test_classification_by_hand(self) -> None:
        """p = 0 and z = ln 3 score 1/2 and 3/4, so BCE = ln 2 and the distance is 1/4."""
        student, teacher = torch.zeros(2, dtype=torch.float64), torch.full((2,), math.log(3), dtype=torch.float64)
        for beta in (0.0, 0.5, 1.0, 2.0):
            expected = 2 * math.log(2) * 0.25**beta
            assert crosskd_classification(student, teacher, beta).item() == pytest.approx(expected)
        weighted = crosskd_classification(student, teacher, 1.0, torch.tensor([3.0, 0.0]))
        assert weighted.item() == pytest.approx(3 * math.log(2) / 4)

    @pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
    def test_gradient_is_finite_at_equality(self, beta: float) -> None:
        student = torch.tensor([0.0, 3.0, -200.0, 200.0], requires_grad=True)
        loss: Any = crosskd_classification(student, student.detach().clone(), beta)
        loss.backward()
        assert student.grad is not None
        assert torch.equal(student.grad, torch.zeros(4))
        assert (loss.item() == 0) == (beta > 0)

    def test_align_scale_equals_the_published_values(self) -> None:
        student, teacher = maps()
        aligned = align_scale(student, teacher)
        assert aligned.sum().item() == pytest.approx(-5.315146276, rel=1e-9)
        assert aligned.flatten()[:4].tolist() == pytest.approx([2.06126698, 2.02185245, 1.90518018, 1.71590153])
        for statistic in (torch.mean, torch.std):
            ours, theirs = (statistic(value, dim=(0, 2, 3)) for value in (aligned, teacher))
            assert torch.allclose(ours, theirs, rtol=1e-5)

    def test_align_scale_ignores_affine_maps_of_the_student(self) -> None:
        student, teacher = maps()
        gain, shift = torch.tensor([0.5, 1, 2, 30])[:, None, None], torch.tensor([1.0, -2, 0, 5])[:, None, None]
        assert torch.allclose(align_scale(student * gain + shift, teacher), align_scale(student, teacher), atol=1e-5)

    def test_a_channel_of_one_value_becomes_the_mean_of_the_teacher(self) -> None:
        student = torch.ones(1, 2, 1, 1, requires_grad=True)
        aligned: Any = align_scale(student, torch.full((1, 2, 1, 1), 7.0))
        aligned.sum().backward()
        assert aligned.flatten().tolist() == [7.0, 7.0]
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()

    @pytest.mark.parametrize(("boxes", "divisor"), [([3, 2], 5), ([0, 0], 1)])
    def test_loss_of_a_level_is_divided_by_the_boxes(self, boxes: list[int], divisor: int) -> None:
        rows = [torch.zeros(count, 4) for count in boxes]
        targets = Targets(rows, [torch.zeros(count, dtype=torch.long) for count in boxes], (48, 64))
        assert CrossKD(w_cls=2.0, beta=1.0)(*maps(), targets).item() == pytest.approx(2 * 145.6787298 / divisor)
        mean = CrossKD(w_cls=1.0, beta=1.0, reduction="mean")(*maps(), targets).item()
        assert mean == pytest.approx(145.6787298 / (2 * 4 * 6 * 8))
        assert CrossKD(w_cls=1.0, beta=2.0)(*maps(), targets) < CrossKD(w_cls=1.0, beta=1.0)(*maps(), targets)


def tower(convolutions: Any, feature: Tensor, first: int, last: int) -> Tensor:
    """Run tower convolutions first..last - 1 and leave out the last ReLU."""
    for index in range(first, last):
        feature = convolutions[index](feature.relu() if index else feature, activate=False)
    return feature


def predictions(head: Any, scores: list[Tensor], boxes: list[Tensor]) -> tuple[list[Tensor], ...]:
    """Return scores, raw boxes in the family's own unit, and centerness, from the ends of both towers."""
    family = type(head).__name__
    classify, regress = (getattr(head, name) for name in PREDICTORS[family])
    raw = [regress(feature) for feature in boxes]
    if family != "RetinaHead":
        raw = [scale(value) for scale, value in zip(head.scales, raw, strict=True)]
    if family == "FCOSHead" and head.norm_on_bbox:
        raw = [value.clamp(min=0) * stride for value, stride in zip(raw, head.strides, strict=True)]
    elif family == "FCOSHead":
        raw = [value.exp() for value in raw]
    centerness = [head.atss_centerness(feature) for feature in boxes] if family == "ATSSHead" else []
    return [classify(feature) for feature in scores], raw, centerness


def rows(levels: list[Tensor], size: int) -> Tensor:
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, size) for level in levels])


def straightforward(student: Any, teacher: Any, position: int, beta: float = 1.0) -> dict[str, Tensor]:
    """Compute CrossKD as written, anchor by anchor in rows, with mmdet's own loss modules."""
    from mmdet.models.losses import GIoULoss, IoULoss

    images, samples = batch(BOXES)
    head, upper = student.bbox_head, teacher.bbox_head
    family, depth = type(head).__name__, upper.stacked_convs
    student_features, teacher_features = student.extract_feat(images), teacher.extract_feat(images)
    ends: dict[str, list[list[Tensor]]] = {"crossed": [], "taught": []}
    for name in ("cls_convs", "reg_convs"):
        crossed: list[Tensor] = []
        taught: list[Tensor] = []
        for ours, theirs in zip(student_features, teacher_features, strict=True):
            held = tower(getattr(upper, name), theirs, 0, position)
            aligned = align_scale(tower(getattr(head, name), ours, 0, position), held)
            for start, into in ((aligned, crossed), (held, taught)):
                end = tower(getattr(upper, name), start, position, depth)
                into.append(end.relu() if depth else end)
        ends["crossed"].append(crossed)
        ends["taught"].append(taught)
    p, b, centerness = predictions(upper, *ends["crossed"])
    z, b_teacher, centerness_teacher = predictions(upper, *ends["taught"])

    sizes = [value.shape[2:] for value in z]
    if family == "FCOSHead":
        priors = head.prior_generator.grid_priors(sizes, device="cpu")
        labels = torch.cat(head.get_targets(priors, [sample.gt_instances for sample in samples])[0])
        weights, count = torch.ones(len(labels)), max((labels < 3).sum().item(), 1)
    else:
        anchors, flags = head.get_anchors(sizes, [sample.metainfo for sample in samples], device="cpu")
        priors = list(anchors[0])
        targets = head.get_targets(
            anchors, flags, [sample.gt_instances for sample in samples], [sample.metainfo for sample in samples]
        )
        labels, weights = (torch.cat([part.flatten() for part in kind]) for kind in targets[-5:-3])
        count = targets[-1]
    z_rows, p_rows = rows(z, 3), rows(p, 3)
    score = z_rows.sigmoid()
    entropy = F.binary_cross_entropy(p_rows.sigmoid(), score, reduction="none")
    losses = {"loss_crosskd_cls": ((entropy * (p_rows.sigmoid() - score).abs() ** beta).sum(1) * weights).sum() / count}
    confidence = score.max(dim=1).values * (weights > 0)
    if family == "GFLHead":
        bins = [torch.distributions.Categorical(logits=rows(value, 68).view(-1, 4, 17)) for value in (b_teacher, b)]
        divergence = torch.distributions.kl_divergence(*bins).mean(dim=1)
        return losses | {"loss_crosskd_reg": (divergence * confidence).sum() / confidence.sum().clamp(min=1)}
    points = torch.cat([level.repeat(2, 1) for level in priors])
    ours, theirs = (head.bbox_coder.decode(points, rows(value, 4)) for value in (b, b_teacher))
    kept = ((theirs[:, 2:] - theirs[:, :2]) > 0).all(dim=1)
    measure = IoULoss() if family == "FCOSHead" else GIoULoss()
    losses["loss_crosskd_reg"] = measure(ours[kept], theirs[kept], weight=confidence[kept], avg_factor=count)
    if family == "ATSSHead":
        positive = labels < 3
        mine, goal = rows(centerness, 1)[positive], rows(centerness_teacher, 1)[positive].sigmoid()
        losses["loss_crosskd_centerness"] = F.binary_cross_entropy(mine.sigmoid(), goal, reduction="sum") / count
    return losses


@pytest.mark.parametrize("position", some([1, 0, 2], 1))
@pytest.mark.parametrize("family", FAMILIES)
class TestAcrossFamiliesAndPositions:
    def test_equals_the_straightforward_computation(self, family: str, position: int) -> None:
        student, teacher = pair(family)
        student.eval()  # batch statistics must not move between the two
        found = cross_losses(student, teacher, position=position)
        expected = straightforward(student, teacher, position)
        assert all(value.item() > 1e-3 for value in found.values())
        assert {name: value.item() for name, value in found.items()} == pytest.approx(
            {name: value.item() for name, value in expected.items()}, rel=1e-4
        )

    def test_is_zero_for_a_student_with_the_weights_of_the_teacher(self, family: str, position: int) -> None:
        losses = cross_losses(*twins(family), position=position)
        other = cross_losses(*pair(family), position=position)
        for name in ("loss_crosskd_cls", "loss_crosskd_reg"):
            assert losses[name].item() == pytest.approx(0, abs=2e-5)
            assert other[name].item() > 0.01

    def test_gradient_reaches_only_what_the_student_has_below(self, family: str, position: int) -> None:
        student, teacher = pair(family)
        before = weights_sha256(teacher)
        sum(cross_losses(student, teacher, position=position).values()).backward()
        below = ["backbone.conv1.weight", "neck.fpn_convs.0.conv.weight"]
        below += [
            f"bbox_head.{name}.{index}.conv.weight" for name in ("cls_convs", "reg_convs") for index in range(position)
        ]
        gradients = {name: parameter.grad for name, parameter in student.named_parameters()}
        for name in below:
            gradient = gradients[name]
            assert gradient is not None, name
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, name
        above = [
            name
            for name in gradients
            if name.startswith("bbox_head.")
            and not name.startswith(
                tuple(
                    f"bbox_head.{tower_name}.{index}."
                    for tower_name in ("cls_convs", "reg_convs")
                    for index in range(position)
                )
            )
        ]
        assert len(above) >= 4
        assert all(gradients[name] is None for name in above)
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert weights_sha256(teacher) == before
        assert not any(module.training for module in teacher.modules())


@pytest.mark.parametrize("family", FAMILIES)
class TestAcrossFamilies:
    def test_every_setting_acts(self, family: str) -> None:
        student, teacher = pair(family)
        student.eval()
        base = cross_losses(student, teacher)
        heavier = cross_losses(student, teacher, w_cls=3.0, w_reg=5.0)
        assert heavier["loss_crosskd_cls"].item() == pytest.approx(3 * base["loss_crosskd_cls"].item())
        assert heavier["loss_crosskd_reg"].item() == pytest.approx(5 * base["loss_crosskd_reg"].item())
        focused = cross_losses(student, teacher, beta=2.0)
        expected = straightforward(student, teacher, 1, beta=2.0)["loss_crosskd_cls"].item()
        assert focused["loss_crosskd_cls"].item() == pytest.approx(expected, rel=1e-4)
        assert focused["loss_crosskd_cls"].item() < 0.8 * base["loss_crosskd_cls"].item()
        assert focused["loss_crosskd_reg"].item() == base["loss_crosskd_reg"].item()
        higher = cross_losses(student, teacher, position=2)
        assert all(
            abs(higher[name].item() - base[name].item()) > 1e-4 for name in ("loss_crosskd_cls", "loss_crosskd_reg")
        )

    def test_without_boxes(self, family: str) -> None:
        student, teacher = pair(family)
        losses = cross_losses(student, teacher, [[], []])
        sum(losses.values()).backward()
        assert all(torch.isfinite(value) for value in losses.values())
        assert losses["loss_crosskd_cls"].item() > 0.01
        assert losses.get("loss_crosskd_centerness", torch.tensor(0.0)).item() == 0
        gradients = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)

    def test_half_precision_agrees(self, family: str) -> None:
        student, teacher = pair(family)
        exact = cross_losses(student, teacher)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = cross_losses(student, teacher)
        assert all(value.dtype == torch.float32 for value in losses.values())
        assert {name: value.item() for name, value in losses.items()} == pytest.approx(
            {name: value.item() for name, value in exact.items()}, rel=0.1
        )
        sum(losses.values()).backward()
        gradient = student.bbox_head.cls_convs[0].conv.weight.grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0

    def test_capture_changes_nothing_and_runs_the_head_once(self, family: str) -> None:
        student, teacher = pair(family)
        student.eval()
        images, samples = batch(BOXES)
        plain = student.loss(images, samples)
        runs: list[int] = []
        counter = student.bbox_head.register_forward_hook(lambda *_: runs.append(1))
        for position in (0, 2):
            cross = CrossHeads(student, teacher, **hyperparameters(position=position))
            with cross.capture() as seen:
                captured = student.loss(images, samples)
            cross.losses(seen, teacher.extract_feat(images))
            same = torch.stack(_values(captured)), torch.stack(_values(plain))
            assert torch.equal(*same)
        counter.remove()
        assert len(runs) == 2
        for detector in (student, teacher):
            assert "get_targets" not in vars(detector.bbox_head)
            assert not any(module._forward_pre_hooks or module._forward_hooks for module in detector.modules())
            assert len(detector.bbox_head.cls_convs) == 2


def _values(losses: dict[str, Any]) -> list[Tensor]:
    return [part for value in losses.values() for part in (value if isinstance(value, list) else [value])]


def test_zero_boxes_are_normalised_as_by_the_head() -> None:
    """Without positives the anchor heads count one an image, FCOS one in all."""
    for family, count in (("RetinaHead", 2), ("FCOSHead", 1)):
        student, teacher = pair(family)
        student.eval()
        published = cross_losses(student, teacher, [[], []])
        mean = cross_losses(student, teacher, [[], []], reduction="mean")
        strides = (8, 16, 32) if family == "RetinaHead" else (8, 16, 32, 64, 128)
        anchors = 2 * sum(math.ceil(SIDE / stride) ** 2 for stride in strides) * (9 if family == "RetinaHead" else 1)
        for name, elements in (("loss_crosskd_cls", 3 * anchors), ("loss_crosskd_reg", anchors)):
            assert published[name].item() == pytest.approx(mean[name].item() * elements / count, rel=1e-5)


def test_the_mean_reduction_leaves_what_is_a_mean_already() -> None:
    student, teacher = pair("GFLHead")
    student.eval()
    published, mean = cross_losses(student, teacher), cross_losses(student, teacher, reduction="mean")
    assert published["loss_crosskd_reg"].item() == mean["loss_crosskd_reg"].item()
    assert mean["loss_crosskd_cls"] < 0.1 * published["loss_crosskd_cls"]


@pytest.mark.parametrize("family", ["RetinaHead", "GFLHead"])
def test_normalisers_are_averaged_over_devices(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other devices with more positives make the normaliser larger; GFL's box loss has one of its own."""
    student, teacher = pair(family)
    student.eval()
    alone = cross_losses(student, teacher)
    monkeypatch.setattr("mmdet.utils.reduce_mean", lambda value: value * 4)
    together = cross_losses(student, teacher)
    for name in alone:
        assert together[name].item() == pytest.approx(alone[name].item() / 4, rel=1e-5)


def test_the_first_head_of_fcos() -> None:
    """Distances as exponentials in pixels and the centerness on the other tower, as the published teachers have it."""
    plain = {"bbox_head.norm_on_bbox": False, "bbox_head.centerness_on_reg": False}
    student, teacher = tiny("FCOSHead", 1, overrides=plain).eval(), freeze(tiny("FCOSHead", 2, overrides=plain))
    found, expected = cross_losses(student, teacher), straightforward(student, teacher, 1)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-4
    )


def test_an_empty_box_of_the_teacher_does_not_count() -> None:
    """No prediction overlaps it: it would add -log(1e-6) an anchor, and no gradient."""
    student, teacher = pair("FCOSHead")
    torch.nn.init.zeros_(teacher.bbox_head.conv_reg.weight)
    torch.nn.init.constant_(teacher.bbox_head.conv_reg.bias, -1.0)  # distances are clamped to 0
    losses = cross_losses(student, teacher)
    assert losses["loss_crosskd_reg"].item() == 0
    assert losses["loss_crosskd_cls"].item() > 0


def test_towers_may_differ_above_the_crossing() -> None:
    """A student with one tower convolution and a narrow neck learns from a teacher with two."""
    narrow = {"neck.out_channels": 16, "bbox_head.in_channels": 16}
    student = tiny("RetinaHead", 3, tower_convs=1, overrides=narrow)
    teacher = freeze(tiny("RetinaHead", 2))
    losses = cross_losses(student, teacher, position=1)
    losses["loss_crosskd_cls"].backward()
    assert student.bbox_head.cls_convs[0].conv.weight.grad.abs().sum() > 0


def test_a_capture_takes_one_loss() -> None:
    student, teacher = pair("RetinaHead")
    cross = CrossHeads(student, teacher, **hyperparameters(position=1))
    images, samples = batch(BOXES)
    with pytest.raises(RuntimeError, match=r"takes exactly one student\.loss"), cross.capture():
        student.extract_feat(images)
    with pytest.raises(RuntimeError, match=r"takes exactly one student\.loss"), cross.capture():
        _ = [student.loss(images, samples) for _ in range(2)]
    with pytest.raises(KeyError, match="stop"), cross.capture():
        raise KeyError("stop")
    assert "get_targets" not in vars(student.bbox_head)
    assert not any(module._forward_pre_hooks for module in student.modules())
