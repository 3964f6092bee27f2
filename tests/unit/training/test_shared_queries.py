"""KD-DETR in the model of a trial: what two DETRs say of the same queries."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.detectors import freeze, loss_mode
from ikd.distill.detector import DistillDetector
from ikd.distill.response import QueryTerm
from ikd.distill.terms import Terms
from ikd.errors import BadInput
from ikd.training.optim import TrialOptimWrapper
from tests.unit.distill.detrs import FAMILIES, data, detr
from tests.unit.distill.heads import tiny

PARTS = [f"loss_kd_detr_{one}_{part}" for one in ("specific", "general") for part in ("cls", "l1", "giou")]
QUERIES = ("query_embedding", "reference_points_fc", "pos_trans", "dn_query_generator", "patterns")
DEFAULTS: dict[str, Any] = {"seed": 0, "specific": True, "general": 7}


def pair(student: Any, teacher: Any, **changes: Any) -> DistillDetector:
    term = QueryTerm(student, freeze(teacher), **DEFAULTS | changes)
    return DistillDetector(student, teacher, Terms(queries=term))


def terms(model: DistillDetector) -> dict[str, Tensor]:
    found = model.losses(data())
    return {name: value for name, value in found.items() if name.startswith("loss_kd_detr_")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_detr_learns_from_a_wider_one_of_its_family(family: str) -> None:
    student = detr(family, 1).train()
    model = pair(student, detr(family, 2, num_queries=15, encoder__num_layers=2))
    found = terms(model)
    assert list(found) == PARTS
    assert all(one.isfinite() and one > 0 for one in found.values())
    total: Any = torch.stack(list(found.values())).sum()
    total.backward()
    reached = {name for name, one in student.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    assert {"backbone", "neck", "encoder", "decoder", "bbox_head"} == {name.split(".")[0] for name in reached} - {
        "level_embed"
    }
    assert all(one.grad is None for one in model.teacher.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_in_the_last_layer(family: str) -> None:
    student = detr(family, 1, decoder__num_layers=1).eval()
    kind = {"class_loss": "kl"} if family == "detr" else {}
    with loss_mode(student):
        found = terms(pair(student, copy.deepcopy(student).eval(), **kind))
    assert list(found) == PARTS
    assert all(abs(one.item()) < 2e-4 for one in found.values()), found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_that_of_itself(family: str) -> None:
    student = detr(family, 1).eval()
    with loss_mode(student):
        found = terms(pair(student, copy.deepcopy(student).eval(), layer="same"))
    assert all(abs(one.item()) < 2e-4 for one in found.values()), found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_students_own_queries_learn_from_the_labels_alone(family: str) -> None:
    student = detr(family, 1).train()
    total: Any = torch.stack(list(terms(pair(student, detr(family, 2))).values())).sum()
    total.backward()
    own = [one for name, one in student.named_parameters() if name.startswith(QUERIES)]
    assert own or family == "two_stage", "which takes its own from what the encoder says"
    assert all(one.grad is None or not one.grad.any() for one in own)


@pytest.mark.parametrize(
    ("changes", "acts_on"),
    [
        ({"w_cls": 3.0}, {"cls"}),
        ({"w_l1": 1.0}, {"l1"}),
        ({"w_giou": 1.0}, {"giou"}),
        ({"gamma": 0.0}, {"cls"}),
        ({"class_loss": "kl"}, {"cls"}),
        ({"class_loss": "kl", "temperature": 2.0}, {"cls"}),
        ({"layer": "same"}, {"cls", "l1", "giou"}),
        ({"published": True}, {"cls", "l1", "giou"}),  # weights that sum to less than 1 divide all the same
    ],
)
def test_every_hyperparameter_acts(changes: dict[str, Any], acts_on: set[str]) -> None:
    student, teacher = detr("dab", 1).train(), detr("dab", 2)
    against = {"class_loss": "kl"} if "temperature" in changes else {}
    plain, changed = terms(pair(student, teacher, **against)), terms(pair(student, teacher, **changes))
    differs = {name for name in plain if not torch.isclose(plain[name], changed[name], rtol=1e-3, atol=0)}
    assert differs == {name for name in PARTS if name.rsplit("_", 1)[1] in acts_on}


def test_either_set_can_be_left_out() -> None:
    student, teacher = detr("dab", 1).train(), detr("dab", 2)
    both = terms(pair(student, teacher))
    assert list(terms(pair(student, teacher, general=0))) == PARTS[:3]
    alone = terms(pair(student, teacher, specific=False))
    assert list(alone) == PARTS[3:]
    torch.testing.assert_close(alone, {name: both[name] for name in PARTS[3:]})
    assert not torch.isclose(terms(pair(student, teacher, general=30))[PARTS[3]], both[PARTS[3]])


def test_drawn_queries_follow_seed_epoch_and_step_and_disturb_no_generator() -> None:
    student, teacher = detr("dino", 1).train(), freeze(detr("dino", 2))
    term = QueryTerm(student, teacher, **DEFAULTS)
    like = {"query": torch.zeros(2, 3, 8), "reference_points": torch.zeros(2, 3, 4)}
    state = torch.get_rng_state()
    first = term._sets(like, (1, 1))["general"]
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: one.shape for name, one in first.items()} == {"query": (2, 7, 8), "reference_points": (2, 7, 4)}
    assert torch.equal(first["query"][0], first["query"][1]), "the same for all images"
    assert ((first["reference_points"] > 0) & (first["reference_points"] < 1)).all()
    again = QueryTerm(student, teacher, **DEFAULTS)._sets(like, (1, 1))["general"]
    assert torch.equal(again["query"], first["query"])
    others = [term._sets(like, (1, 2)), term._sets(like, (2, 1))]
    others.append(QueryTerm(student, teacher, **DEFAULTS | {"seed": 1})._sets(like, (1, 1)))
    assert all(not torch.equal(one["general"]["query"], first["query"]) for one in others)


def test_drawn_queries_of_places_are_empty_at_first() -> None:
    like = {"query": torch.zeros(1, 3, 8), "query_pos": torch.zeros(1, 3, 4)}
    for changes, empty in (({}, True), ({"num_patterns": 2}, False)):
        term = QueryTerm(detr("dab", 1, **changes), freeze(detr("dab", 2, **changes)), **DEFAULTS)
        drawn = term._sets(like, (1, 1))["general"]
        assert bool((drawn["query"] == 0).all()) == empty
        assert drawn["query_pos"].any()


def test_padding_and_other_pyramids_do_not_matter() -> None:
    """Each side decodes its own memory, and images may end before their batch does."""
    levels: dict[str, Any] = {
        "num_feature_levels": 3,
        "neck__num_outs": 3,
        "encoder__layer_cfg__self_attn_cfg__num_levels": 3,
        "decoder__layer_cfg__cross_attn_cfg__num_levels": 3,
    }
    student, teacher = detr("deformable", 1).train(), detr("deformable", 2, **levels)
    given = data()
    given["inputs"][1] = given["inputs"][1][:, :70, :60]
    given["data_samples"][1].set_metainfo({"img_shape": (70, 60)})
    found = pair(student, teacher).losses(given)
    assert all(found[name].isfinite() for name in PARTS)


@pytest.mark.parametrize(
    ("student", "teacher", "rule"),
    [
        (lambda: detr("dab"), lambda: detr("conditional"), "between detectors of one class"),
        (lambda: detr("deformable"), lambda: detr("two_stage"), "equal embed_dims .*32, 256"),
        (lambda: detr("dab", classes=4), lambda: detr("dab"), "equal classes .*4, 3"),
        (lambda: detr("ddq"), lambda: detr("ddq"), "the student.*DDQDETR.*inside the decoder"),
        (lambda: tiny("GFLHead"), lambda: detr("dab"), "the student.*GFL"),
        (lambda: detr("dab"), lambda: tiny("GFLHead"), "the teacher.*GFL"),
    ],
)
def test_pairs_that_share_no_queries_are_refused(student: Any, teacher: Any, rule: str) -> None:
    with pytest.raises(BadInput, match=rf"distill\.response\.kd_detr: must be .*{rule}"):
        QueryTerm(student(), freeze(teacher()), **DEFAULTS)


def test_the_same_layers_need_as_many_on_both_sides() -> None:
    pairs = detr("dab"), freeze(detr("dab", decoder__num_layers=1))
    QueryTerm(*pairs, **DEFAULTS)
    with pytest.raises(BadInput, match=r"kd_detr\.layer: must be last .*\[2, 1\]"):
        QueryTerm(*pairs, **DEFAULTS, layer="same")


def test_a_record_takes_one_loss() -> None:
    student = detr("dab", 1).train()
    term = QueryTerm(student, freeze(detr("dab", 2)), **DEFAULTS)
    with pytest.raises(RuntimeError, match="exactly one"), term.capture():
        pass
    assert "forward_decoder" not in vars(student)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_of_each_family_is_finite(family: str) -> None:
    student = detr(family, 1).train()
    model = pair(student, detr(family, 2))
    before = {name: one.detach().clone() for name, one in student.named_parameters()}
    wrapper: Any = TrialOptimWrapper(torch.optim.AdamW(model.parameters(), 1e-3), model, max_norm=0.1)
    losses = model.train_step(data(), wrapper)
    assert {name.removeprefix("loss_") for name in PARTS} <= set(losses)
    assert all(one.isfinite().all() for one in student.parameters())
    assert any(not torch.equal(one, before[name]) for name, one in student.named_parameters())
