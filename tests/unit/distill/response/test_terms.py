"""Losses between heads against reference values, most of which the authors' own code gave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ikd.distill.response import TERMS, Assignment, Level, Locations
from ikd.distill.views import joint_logits, unassigned
from ikd.errors import BadInput
from tests.unit.distill.response import reference


def found(name: str, assigned: Assignment | None = None, **hyperparameters: Any) -> dict[str, float]:
    given = reference.assigned() if assigned is None else assigned
    losses = TERMS[name](**hyperparameters)(reference.head("student"), reference.head("teacher"), given)
    return {key: float(value) for key, value in losses.items()}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-8)


def of_level(level: int) -> Assignment:
    """Return the whole assignment with what is off one level ignored."""
    whole = reference.assigned()
    on = torch.zeros_like(whole.weight)
    on[:, :48] = 1.0 - level
    on[:, 48:] = level
    return whole._replace(weight=whole.weight * on, positive=whole.positive & (on > 0))


def test_first_box() -> None:
    first = reference.head("student").boxes[0, 0]
    expected = torch.tensor([-17.53604797, -7.881447002, 12.41238388, 35.70878583], dtype=torch.float64)
    torch.testing.assert_close(first, expected, rtol=1e-9, atol=0)
    assert int(reference.assigned().count) == 24


def test_bckd() -> None:
    losses = found("bckd")
    assert losses == {"cls": near(0.7601151941), "loc": near(2.449596382)}
    assert found("bckd", of_level(0)) == {"cls": near(0.5545547765), "loc": near(1.760523710)}
    assert found("bckd", of_level(1)) == {"cls": near(0.2055604176), "loc": near(0.6890726718)}
    assert found("bckd", gamma=0.0)["cls"] == near(6.867882463)
    assert found("logits")["cls"] == near(6.867882463)
    assert found("bckd", gamma=2.0)["cls"] == near(0.1607613458)


def test_levels_without_positives() -> None:
    bare = reference.assigned(bare=(1,))
    assert found("bckd", bare) == {"cls": near(0.9121382329), "loc": near(2.939515658)}
    assert found("bckd", bare, published=True) == {"cls": near(0.6654657318), "loc": near(2.112628452)}


def test_gradient_of_bckd_goes_through_the_factor() -> None:
    student = reference.head("student")
    logits = student.logits.requires_grad_()
    loss = TERMS["bckd"](w_loc=0.0)(student, reference.head("teacher"), reference.assigned())["cls"]
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == near(1.557951160)


def test_ld() -> None:
    published: dict[str, Any] = {"w": 0.25, "w_vlr": 0.25, "reduction": "published", "published": True}
    losses = found("ld", **published)
    assert losses == {"main": near(1.180799381), "vlr": near(0.5087541694)}
    assert found("ld", of_level(0), **published)["main"] == near(0.9738486441)
    assert found("ld", **published | {"vlr_weight": "mask"})["vlr"] == near(1.935927917)
    true = published | {"published": False}
    assert found("ld", **true)["vlr"] == near(0.5196806075)
    assert found("ld", **true | {"vlr_weight": "mask"})["vlr"] == near(1.903489490)
    assert found("ld", w=1.0, w_vlr=1.0) == {"main": near(3.085353244), "vlr": near(3.055198319)}


def test_classes_of_ld() -> None:
    losses = found("ld", w_kd=10.0, w_vlr=0.0)
    assert losses["kd"] == near(0.3838285185 + 0.7439593218)
    assert "vlr" not in losses


def test_dense_teacher() -> None:
    losses = found("dense_teacher", ratio=0.1, w_cls=1.0)
    assert losses == {"cls": near(3.989777391), "box": near(0.8217405610)}
    assert float(unassigned(reference.head("teacher")).count) == near(48.51062929)


def test_joint_scores() -> None:
    sides = [joint_logits(reference.head(side, quality=True)) for side in ("student", "teacher")]
    wanted = sides[1].sigmoid()
    entropy = F.binary_cross_entropy_with_logits(sides[0], wanted, reduction="none")
    assert float(entropy.sum()) == near(139.2406621)
    assert float((entropy * (sides[0].sigmoid() - wanted).abs()).sum()) == near(28.95463368)


@pytest.mark.parametrize("name", ["dense_teacher", "vkd"])
def test_scores_of_a_head_whose_classes_are_conditional_are_joint_ones(name: str) -> None:
    """Where no object is, YOLOX's class logits are untrained: they alone say nothing of how sure a place is."""
    sides = [replace(reference.head(side, quality=True), conditional=True) for side in ("student", "teacher")]
    joint = [replace(side, logits=joint_logits(side), quality=None, conditional=False) for side in sides]
    apart = [replace(side, conditional=False) for side in sides]

    def losses(pair: list[Locations]) -> dict[str, float]:
        terms = TERMS[name]()(pair[0], pair[1], reference.assigned())
        return {key: float(value) for key, value in terms.items() if key != "quality"}

    assert losses(sides) == {key: near(value) for key, value in losses(joint).items()}
    assert losses(sides)["cls"] != near(losses(apart)["cls"])
    torch.testing.assert_close(unassigned(sides[1]).count, unassigned(joint[1]).count)


def test_queries() -> None:
    ours, theirs = reference.queries("student"), reference.queries("teacher")

    def losses(**hyperparameters: Any) -> dict[str, float]:
        one = {"w_l1": 1.0, "w_giou": 1.0} | hyperparameters
        return {key: float(value) for key, value in TERMS["kd_detr"](**one)(ours, theirs, reference.assigned()).items()}

    published = losses(published=True)
    assert published["cls"] == near(7.322159369)
    assert published["l1"] == near(0.2553807327)
    assert published["giou"] == near(3.523579882)
    assert sum(losses(published=True, w_l1=5.0, w_giou=2.0).values()) == near(15.64622280)
    assert losses()["l1"] == near(published["l1"])
    assert losses()["giou"] == near(published["giou"])
    assert losses(w_l1=3.0)["l1"] == near(3 * losses()["l1"])
    assert losses(gamma=0.0)["cls"] == near(11.40225286)
    assert losses()["cls"] == near(5.068002413)
    assert losses(class_loss="kl")["cls"] == near(5.568925528)
    assert losses(layer="same")["giou"] != pytest.approx(losses()["giou"])


def test_regions() -> None:
    ours, theirs = reference.regions("student"), reference.regions("teacher")
    every = Assignment(torch.ones(1, 6), torch.ones(1, 6, dtype=torch.bool), torch.tensor(6.0))
    losses = TERMS["crosskd_roi"]()(ours, theirs, every)
    assert float(losses["cls"]) == near(0.1723884232)
    assert float(losses["reg"]) == near(0.2663093914)


def test_soft_labels() -> None:
    student, teacher = reference.head("student", levels=(0, 1)), reference.detections()
    losses = TERMS["soft_labels"](w_box=1.0)(student, teacher, reference.assigned())
    assert float(losses["cls"]) == near(2.371022888)
    assert float(losses["box"]) == near(0.5150791638)
    surer = TERMS["soft_labels"](w_box=1.0, tau=0.6)(student, teacher, reference.assigned())
    assert float(surer["cls"]) == near(1.419053134)
    assert float(surer["box"]) == near(0.5003186677)


def test_crosskd_is_bckd_on_classes() -> None:
    assert found("crosskd")["cls"] == near(0.7601151941)
    student, teacher = (replace(reference.head(side), bins=None) for side in ("student", "teacher"))
    losses = TERMS["crosskd"]()(student, teacher, reference.assigned())
    assert float(losses["reg"]) > 0


def test_anchors_of_one_side_pair_by_score_or_overlap() -> None:
    one, several = (reference.head(side, levels=(0,)) for side in ("student", "teacher"))
    shaped: dict[str, Any] = {"levels": [Level(8.0, 6, 8, 2)], "bins": None, "centres": None}
    doubled = replace(
        several,
        logits=torch.stack([several.logits - 1, several.logits], dim=2).flatten(1, 2),
        boxes=torch.stack([several.boxes + 500, several.boxes], dim=2).flatten(1, 2),
        **shaped,
    )
    given = reference.assigned(levels=(0,))
    expected = TERMS["bckd"]()(one, several, given)
    found = TERMS["bckd"]()(one, doubled, given)
    assert {key: float(value) for key, value in found.items()} == {k: near(float(v)) for k, v in expected.items()}
    twice = Assignment(given.weight.repeat_interleave(2, 1), given.positive.repeat_interleave(2, 1), given.count)
    swapped = TERMS["bckd"]()(doubled, several, twice)
    assert float(swapped["loc"]) == pytest.approx(0, abs=1e-9)


def test_levels_pair_by_stride() -> None:
    expected = TERMS["bckd"]()(
        reference.head("student", levels=(1,)), reference.head("teacher", levels=(1,)), reference.assigned(levels=(1,))
    )
    found = TERMS["bckd"]()(reference.head("student"), reference.head("teacher", levels=(1,)), reference.assigned())
    ratio = float(reference.assigned().count) / float(reference.assigned(levels=(1,)).count)
    assert float(found["cls"]) * ratio == near(float(expected["cls"]))


@pytest.mark.parametrize("change", [{"levels": [Level(4.0, 6, 8, 1)]}, {"levels": [Level(8.0, 5, 8, 1)]}])
def test_what_has_no_partner_is_refused(change: dict[str, Any]) -> None:
    student, teacher = reference.head("student", levels=(0,)), reference.head("teacher", levels=(0,))
    with pytest.raises(BadInput, match=r"distill\.response: must be between (heads with a stride|maps of one size)"):
        TERMS["bckd"]()(student, replace(teacher, **change), reference.assigned(levels=(0,)))


@pytest.mark.parametrize("name", ["bckd", "ld", "dense_teacher", "crosskd", "logits", "vkd"])
def test_without_positives_and_objects_all_is_finite(name: str) -> None:
    nothing = [torch.zeros(0, 4).double()] * 2
    bare = reference.assigned(bare=(0, 1))._replace(objects=nothing)
    student = reference.head("student")
    logits = student.logits.requires_grad_()
    total = torch.stack(list(TERMS[name]()(student, reference.head("teacher"), bare).values())).sum()
    assert torch.isfinite(total)
    if name != "ld":
        assert torch.isfinite(torch.autograd.grad(total, logits)[0]).all()


@pytest.mark.parametrize("name", ["bckd", "ld", "crosskd", "vkd"])
def test_a_teacher_learns_nothing_from_itself(name: str) -> None:
    side = reference.head("teacher")
    found = TERMS[name]()(side, side, reference.assigned())
    assert all(float(value) == pytest.approx(0, abs=1e-9) for value in found.values())


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("bckd", {"w": 1.0}, "has no hyperparameter 'w'; it has w_cls, w_loc, gamma, scores, published"),
        ("bckd", {"gamma": -1.0}, "gamma: must be greater than or equal to 0, but got -1.0"),
        ("ld", {"reduction": "sum"}, "reduction: must be 'mean' or 'published', but got 'sum'"),
    ],
)
def test_hyperparameters_are_checked(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"response term {name}: {words}"):
        TERMS[name](**given)
