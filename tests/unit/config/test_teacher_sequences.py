"""Teacher sequences in a recipe: stages, anchors, what acts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikd.config import ANCHORS, Recipe, load_recipe
from ikd.errors import ConfigError

R18 = {"config": "ikd::retinanet_r18", "checkpoint": "r18.pth"}
TEACHERS = {"weak": R18, "strong": {**R18, "arguments": {"base_channels": 32}}, "third": R18}


def recipe(**changes: Any) -> Recipe:
    values = {
        "teachers.available": TEACHERS,
        "teachers.sequence": ["weak", "strong"],
        "distill.host": "dfmsd",
        "schedule.epochs": 24,
    }
    return load_recipe("drawn_r18", values | {name.replace("__", "."): value for name, value in changes.items()})


def spans(of: Recipe) -> list[tuple[str | None, int, int]]:
    return [(stage.teacher, stage.first, stage.last) for stage in of.stages]


def shared(*pairs: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"teacher": name, "share": share} for name, share in pairs]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("weak", 1, 12), ("strong", 13, 24)]),
        ({"schedule__epochs": 5}, [("weak", 1, 2), ("strong", 3, 5)]),
        ({"schedule__epochs_per_stage": 24}, [("weak", 1, 24), ("strong", 25, 48)]),
        ({"teachers__sequence": shared(("weak", 0.25), ("strong", 0.75))}, [("weak", 1, 6), ("strong", 7, 24)]),
        (
            {"teachers__sequence": shared(("weak", 0.333), ("strong", 0.333), ("third", 0.334))},
            [("weak", 1, 8), ("strong", 9, 16), ("third", 17, 24)],
        ),
        ({"teachers__sequence": ["strong"]}, [("strong", 1, 24)]),
        ({"teachers__sequence": ["strong"], "schedule__epochs_per_stage": 3}, [("strong", 1, 3)]),
    ],
)
def test_stages_share_the_epochs(changes: dict[str, Any], expected: list[tuple[str, int, int]]) -> None:
    made = recipe(**changes)
    assert spans(made) == expected
    assert made.total_epochs == expected[-1][2]


def test_a_stage_is_a_recipe_with_one_teacher_and_its_own_terms() -> None:
    second = {"teacher": "strong", "set": {"distill.dfmsd.alpha": 0.5, "augment.noise.sigma": 0.2}}
    first, last = recipe(teachers__sequence=["weak", second]).stages
    assert (first.recipe.distill.dfmsd.alpha, last.recipe.distill.dfmsd.alpha) == (2e-5, 0.5)
    assert last.recipe.augment.noise.sigma == 0.2
    assert [stage.recipe.teachers.sequence for stage in (first, last)] == [("weak",), ("strong",)]
    assert [stage.recipe.student.inherit for stage in (first, last)] == [True, False], "the student carries over"


@pytest.mark.parametrize(
    ("stages", "enhanced", "sources"),
    [
        ("first", [True, False, False], ["weak", None, None]),
        ("last", [False, False, True], [None, None, "strong"]),
        ("both", [True, True, True], ["weak", "weak", "strong"]),
    ],
)
def test_masking_enhancement_by_stage(stages: str, enhanced: list[bool], sources: list[str | None]) -> None:
    plans = recipe(
        teachers__sequence=["weak", "strong", "third"], distill__me={"enabled": True, "stages": stages}
    ).stages
    assert [plan.recipe.distill.me.enabled for plan in plans] == enhanced
    assert [plan.boxes_from for plan in plans] == sources


def test_anchors() -> None:
    base = recipe(distill__me__enabled=True)
    made = {name: base.anchor(name) for name in ANCHORS}
    assert made["paper"] == base
    assert spans(made["student_alone"]) == [(None, 1, 24)]
    assert spans(made["equal_budget"]) == [("strong", 1, 24)]
    assert spans(made["epochs_per_stage"]) == [("weak", 1, 24), ("strong", 25, 48)]
    assert spans(made["epochs_per_stage_control"]) == [("strong", 1, 48)]
    assert made["equal_budget"].stages[0].recipe.distill.me.enabled, "the control differs in the sequence alone"
    alone = recipe(schedule__epochs_per_stage=24).student_alone()
    assert alone.total_epochs == 48, "the control of a longer training is as long"


def test_a_control_needs_a_teacher() -> None:
    with pytest.raises(ConfigError, match=r"teachers\.sequence: must hold a teacher for anchor equal_budget"):
        recipe().student_alone().anchor("equal_budget")


@pytest.mark.parametrize(
    "same",
    [
        {"teachers__sequence": shared(("weak", 0.5), ("strong", 0.5))},
        {"schedule__epochs_per_stage": 12},
        {"distill__fgd__alpha": 1.0},
        {"distill__dfmsd__beta": 1.0},
        {"distill__me__theta": 0.1},
        {"distill__me__form": "added"},
        {"distill__me__stop_fraction": 0.5},
        {"distill__sfa__levels": [0]},
        {"teachers__available": {**TEACHERS, "weak": {**R18, "ap": 30.0}}},
    ],
)
def test_what_does_not_act_is_no_other_recipe(same: dict[str, Any]) -> None:
    assert recipe(**same).fingerprint() == recipe().fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        {"teachers__sequence": ["strong", "weak"]},
        {"teachers__sequence": ["strong"]},
        {"teachers__sequence": shared(("weak", 0.25), ("strong", 0.75))},
        {"teachers__sequence": ["weak", {"teacher": "strong", "set": {"distill.dfmsd.alpha": 1.0}}]},
        {"teachers__restart_losses": False},
        {"schedule__epochs_per_stage": 24},
        {"schedule__policy__span": "stage"},
        {"distill__me__enabled": True},
        {"distill__me": {"enabled": True, "stages": "both"}},
        {"distill__me": {"enabled": True, "theta": 0.1}},
        {"distill__me": {"enabled": True}, "distill__dfmsd__beta": 1.0},
        {"distill__me": {"enabled": True, "form": "added"}, "distill__host": "dfmsd"},
        {"distill__me": {"enabled": True, "stop_fraction": 0.5}},
        {"distill__sfa__enabled": True},
        {"distill__sfa": {"enabled": True, "levels": [0]}},
        {"distill__sfa": {"enabled": True, "mode": "standardise_inputs"}},
    ],
)
def test_what_acts_is_another_recipe(other: dict[str, Any]) -> None:
    assert recipe(**other).fingerprint() != recipe().fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers__sequence": ["weak", "strnog"]}, r"teachers\.sequence\[1\]: must be a name under .*'strnog'"),
        (
            {"teachers__sequence": [{"teacher": "x101"}]},
            r"teachers\.sequence\[0\]\.teacher: must be a name under teachers\.available \(weak, strong, third\)",
        ),
        ({"teachers__sequence": shared(("weak", 0.5), ("strong", 0.6))}, r"shares that sum to 1, and they sum to 1\.1"),
        (
            {"teachers__sequence": ["weak", {"teacher": "strong", "share": 0.5}]},
            r"teachers\.sequence: must give a share to every stage, or to none",
        ),
        ({"teachers__sequence": shared(("weak", 0.01), ("strong", 0.99))}, "must give every stage an epoch of the 24"),
        (
            {"teachers__sequence": shared(("weak", 0.5), ("strong", 0.5)), "schedule__epochs_per_stage": 2},
            r"schedule\.epochs_per_stage: goes only with stages without shares, but got 2",
        ),
        (
            {"teachers__sequence": [{"teacher": "weak", "set": {"seed": 3}}]},
            r"teachers\.sequence\[0\]\.set\.seed: is not a stage's own; a stage may set fields under distill, adv",
        ),
        (
            {"teachers__sequence": [{"teacher": "weak", "set": {"distill.mgd.alhpa": 3}}]},
            r"set\.distill\.mgd\.alhpa: .*is no recipe field; did you mean 'distill\.mgd\.alpha'",
        ),
        (
            {"teachers__sequence": [{"teacher": "weak", "set": {"distill.mgd.alpha": -3}}]},
            r"set\.distill\.mgd\.alpha: .*should be greater than or equal to 0, but got -3",
        ),
        ({"distill__sfa": {"enabled": True, "levels": []}}, r"distill\.sfa\.levels: must list at least one level"),
        (
            {"distill__host": "crosskd", "distill__sfa": {"enabled": True, "mode": "standardise_inputs"}},
            r"distill\.sfa\.mode: must be extra_loss where the host reads no feature maps \(host crosskd\)",
        ),
        (
            {"distill__host": "mgd", "distill__me": {"enabled": True, "form": "added"}},
            r"distill\.me\.form: must be replaced where no beta weighs the second pass \(host mgd\)",
        ),
        ({"distill__me__form": "both"}, r"distill\.me\.form: should be 'replaced' or 'added', but got 'both'"),
        ({"distill__me__stop_fraction": 1.5}, r"distill\.me\.stop_fraction: should be less than or equal to 1"),
        ({"distill__dfmsd__beta": -1.0}, r"distill\.dfmsd\.beta: should be greater than or equal to 0, but got -1"),
        (
            {"distill__me__enabled": True, "augment__noise__enabled": False, "augment__crop__enabled": False},
            r"distill\.me\.enabled: needs augment\.noise\.enabled or augment\.crop\.enabled",
        ),
        (
            {
                "teachers__sequence": [],
                "distill__host": "none",
                "distill__sfa__enabled": True,
                "adversarial__enabled": False,
                "student__inherit": False,
            },
            r"distill\.sfa\.enabled: needs a teacher in teachers\.sequence, or must be false",
        ),
        ({"distill__host": "dfsmd"}, r"distill\.host: should be 'none', 'fgd'.*but got 'dfsmd'"),
        ({"distill__dmkd__rho": 1}, r"distill\.dmkd\.rho: is no recipe field"),
        (
            {"teachers__sequence": ["weak", {"teacher": "strong", "set": {"distill.me.stages": "both"}}]},
            r"sequence\[1\]\.set\.distill\.me\.stages: is not a stage's own, as it says which stages",
        ),
    ],
)
def test_bad_input_is_refused_with_field_and_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)


def test_faults_in_a_file_have_lines(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: drawn_r18\nteachers:\n  sequence:\n    - r18x16\n    - {teacher: x}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:5: teachers\.sequence\[1\]\.teacher: must be a name"):
        load_recipe(file)
