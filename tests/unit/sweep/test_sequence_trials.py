"""Sweeps over teacher sequences: what is proposed, how long it trains, when it is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep import dry_run
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import ANCHOR_NAMES
from tests.marks import some
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space, with_teachers
from tests.unit.sweep.player import Death, DyingStudy, Worker, conduct, play

SEQUENCES = {
    "teachers.sequence": {"sequence": {"of": ["a", "b"]}},
    "distill.mgd.alpha": {"choice": [1e-7, 1e-6, 1e-5, 1e-4]},
}
ANCHORS = ["paper", "student_alone", "equal_budget", "epochs_per_stage", "epochs_per_stage_control"]


@pytest.fixture
def sequence_recipe(recipe: Recipe) -> Recipe:
    return with_teachers(recipe.with_values({"distill.host": "mgd"}), "a", "b")


def space_of(recipe: Recipe, **changes: Any) -> SearchSpace:
    return make_space(**{"parameters": SEQUENCES, **changes}).checked(recipe)


def test_sequences_are_proposed_as_lists(sequence_recipe: Recipe) -> None:
    space = space_of(sequence_recipe, sampler={"random": {}})
    proposals = [propose(space, sequence_recipe, [], number=number) for number in range(20)]
    sequences = {tuple(one.values["teachers.sequence"]) for one in proposals if one is not None}
    assert sequences == {("a",), ("b",), ("a", "b")}
    points = {json.dumps(one.values, sort_keys=True) for one in proposals if one is not None}
    assert len({one.recipe.fingerprint() for one in proposals if one is not None}) == len(points) > 6


def test_a_condition_on_a_sequence_holds(sequence_recipe: Recipe) -> None:
    when = {"when": {"teachers.sequence": [["a", "b"]]}}
    parameters = {"distill.mgd.mask_ratio": {"uniform": [0.1, 0.9], **when}, **SEQUENCES}
    space = space_of(sequence_recipe, parameters=parameters)
    for number in range(20):
        proposal = propose(space, sequence_recipe, [], number=number)
        assert proposal is not None
        assert ("distill.mgd.mask_ratio" in proposal.values) == (proposal.values["teachers.sequence"] == ["a", "b"])


def test_every_anchor_is_its_recipe(sequence_recipe: Recipe) -> None:
    proposals = anchor_proposals(space_of(sequence_recipe, anchors=ANCHORS), sequence_recipe)
    assert [one.anchors for one in proposals] == [(anchor,) for anchor in ANCHORS]
    assert [one.values["teachers.sequence"] for one in proposals] == [["a", "b"], [], ["b"], ["a", "b"], ["b"]]
    assert [one.recipe.total_epochs for one in proposals] == [6, 6, 6, 12, 12]
    assert [one.in_space for one in proposals] == [False, False, False, False, False], "no alpha of the choices"
    inside = space_of(sequence_recipe.with_values({"distill.mgd.alpha": 1e-5}), anchors=ANCHORS)
    proposals = anchor_proposals(inside, sequence_recipe.with_values({"distill.mgd.alpha": 1e-5}))
    assert [one.in_space for one in proposals] == [True, False, True, False, False]


def test_one_teacher_is_its_own_equal_budget(sequence_recipe: Recipe) -> None:
    recipe = sequence_recipe.with_values({"teachers.sequence": ["b"]})
    space = space_of(recipe, anchors=ANCHORS)
    assert [one.anchors for one in anchor_proposals(space, recipe)] == [
        ("paper", "equal_budget", "epochs_per_stage", "epochs_per_stage_control"),
        ("student_alone",),
    ]
    assert set(ANCHOR_NAMES) == {*ANCHORS, "inherit_alone"}, "which goes with a recipe that inherits"


def test_anchors_train_their_own_length(sequence_recipe: Recipe, open_study: OpenStudy) -> None:
    space = space_of(sequence_recipe, anchors=ANCHORS, budget={"trials": 5})
    study = open_study()
    play(conduct(space, sequence_recipe, study), sequence_recipe, Worker())
    assert [(one.name, one.epochs, one.state) for one in study.records] == [
        ("paper", 6, "finished"),
        ("student alone", 6, "finished"),
        ("equal budget", 6, "finished"),
        ("whole schedule per stage", 12, "finished"),
        ("its equal budget", 12, "finished"),
    ]
    assert [one.stage_ends for one in open_study().records] == [(3, 6), (6,), (6,), (6, 12), (12,)]


def test_a_longer_trial_that_was_all_reported_is_finished_on_resume(
    sequence_recipe: Recipe, open_study: OpenStudy
) -> None:
    """Killed after the last report of an anchor of 12 epochs; one of 6 reports is not at its end."""
    space = space_of(sequence_recipe, anchors=["epochs_per_stage"], budget={"trials": 1})
    for reported, state in ((6, "running"), (12, "finished")):
        study = open_study()
        conductor = conduct(space, sequence_recipe, study)
        conductor.next_trial()
        for epoch in range(study.records[0].epochs + 1, reported + 1):
            conductor.report(0, epoch, {"bbox_mAP": 0.1}, 1.0)
        conduct(space, sequence_recipe, study)
        assert study.records[0].state == state


def played(space: SearchSpace, recipe: Recipe, study: Any) -> dict[tuple[str, ...], set[tuple[str, int]]]:
    """Return the ends of the sampled trials by sequence."""
    play(conduct(space, recipe, study), recipe, Worker())
    found: dict[tuple[str, ...], set[tuple[str, int]]] = {}
    for one in study.records:
        if not one.anchors:
            found.setdefault(tuple(one.values["teachers.sequence"]), set()).add((one.state, one.epochs))
    return found


@pytest.mark.parametrize(
    ("asha", "two_stages", "one_stage"),
    [
        # Rungs 1 and 3: at half strength up to 3, a sequence falls at the first one.
        ({"grace_epochs": 1}, {1}, {1, 3, 6}),
        ({"grace_epochs": 1, "rungs": "stages"}, {3}, {3, 6}),
        ({"grace_epochs": 1, "rungs": "stages", "first_stage_grace": True}, {4, 6}, {4, 6}),
        ({"grace_epochs": 2, "rungs": "stages", "first_stage_grace": True}, {5, 6}, {5, 6}),
    ],
)
def test_trials_are_judged_at_their_stages(
    asha: dict[str, Any], two_stages: set[int], one_stage: set[int], sequence_recipe: Recipe, open_study: OpenStudy
) -> None:
    space = space_of(sequence_recipe, scheduler={"asha": asha}, budget={"trials": 14}, sampler={"random": {}}, seed=2)
    ends = played(space, sequence_recipe, open_study())
    assert {epochs for _, epochs in ends["a", "b"]} <= two_stages
    assert {epochs for _, epochs in ends["a",] | ends["b",]} <= one_stage
    survives = asha.get("first_stage_grace", False)
    assert (("finished", 6) in ends["a", "b"]) == survives, "what gains late goes on where the second teacher has time"
    assert any(state == "stopped" for found in ends.values() for state, _ in found)


def test_teachers_at_once_are_trials_of_one_stage(sequence_recipe: Recipe, open_study: OpenStudy) -> None:
    at_once = {"choice": [False, True], "when": {"teachers.sequence": [["a", "b"]]}}
    parameters = {"teachers.sequence": {"choice": [["a"], ["a", "b"]]}, "teachers.together": at_once}
    space = space_of(sequence_recipe, parameters=parameters, anchors=["equal_budget"], sampler={"grid": {}})
    study = open_study()
    play(conduct(space, sequence_recipe, study), sequence_recipe, Worker())
    ends = {(len(one.values["teachers.sequence"]), one.values.get("teachers.together")): one for one in study.records}
    assert {key: one.stage_ends for key, one in ends.items() if not one.anchors} == {
        (1, None): (6,),
        (2, False): (3, 6),
        (2, True): (6,),
    }


@pytest.mark.parametrize("writes", some([13, 2, 34], 1))
def test_resumed_trials_keep_their_clock(
    writes: int, sequence_recipe: Recipe, open_study: OpenStudy, tmp_path: Path
) -> None:
    """The driver dies again and again, in the middle of stages; the sweep ends as if it never had."""
    asha = {"grace_epochs": 1, "rungs": "stages", "first_stage_grace": True}
    space = space_of(sequence_recipe, scheduler={"asha": asha}, budget={"trials": 9})
    reference = open_study(tmp_path / "reference")
    play(conduct(space, sequence_recipe, reference), sequence_recipe, Worker())
    assert {one.state for one in reference.records} == {"finished", "stopped"}
    worker = Worker()
    for _ in range(200):
        study = open_study()
        DyingStudy(study, writes + 5)
        try:
            play(conduct(space, sequence_recipe, study), sequence_recipe, worker)
            break
        except Death:
            continue
    ends = [(one.values, one.state, one.metric, one.epochs, one.stage_ends) for one in study.records]
    assert ends == [(one.values, one.state, one.metric, one.epochs, one.stage_ends) for one in reference.records]


def test_a_dry_run_counts_the_epochs_of_longer_anchors(sequence_recipe: Recipe) -> None:
    space = make_space(
        parameters=SEQUENCES, anchors=ANCHORS, budget={"trials": 8},
        scheduler={"asha": {"grace_epochs": 1, "rungs": "stages", "first_stage_grace": True}},
    )  # fmt: skip
    plan = dry_run(space, recipe=sequence_recipe, runner=make_runner())
    assert (plan.configurations, plan.size, plan.epochs_bound) == (12, 17, 6 + 6 + 6 + 12 + 12 + 3 * 6)
    # Three sampled trials: 4 epochs (the first stage and one more), then of m rivals and it (m + 2) / 3 the other 2.
    assert plan.epochs_expected == pytest.approx(42 + sum(4 + 2 * (m + 2) / 3 / (m + 1) for m in (5, 6, 7)))
