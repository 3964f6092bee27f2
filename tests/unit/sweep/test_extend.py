"""More trials for a complete sweep, and what another sweep has learnt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.errors import BadInput
from ikd.sweep.extend import budgeted, warm_up
from ikd.sweep.proposals.search import propose
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play


def test_trials_are_counted_from_where_the_sweep_was_complete(open_study: OpenStudy, recipe: Recipe) -> None:
    study, space = open_study(), make_space(budget={"trials": 3})
    assert budgeted(space, recipe, study, None) is space
    assert budgeted(space, recipe, study, "12").budget.trials == 12
    with pytest.raises(BadInput, match=r"--trials: [+]4 extends a sweep that is complete, and this one is not"):
        budgeted(space, recipe, study, "+4")
    play(conduct(space, recipe, study), recipe, Worker())
    study.note(COMPLETE, len(study.records))
    larger = budgeted(space, recipe, study, "+4")
    assert larger.budget.trials == 7
    conductor = conduct(larger, recipe, study)
    conductor.next_trial()  # the driver dies here
    again = budgeted(space, recipe, open_study(), "+4")
    assert again.budget.trials == 7, "the same command goes on with the same extension"


@pytest.mark.parametrize("text", ["0", "-3", "+0", "many", "1.5", "+", ""])
def test_what_is_no_number_of_trials_is_refused(text: str, open_study: OpenStudy, recipe: Recipe) -> None:
    with pytest.raises(BadInput, match=r"--trials: must be a number above 0, or [+]N"):
        budgeted(make_space(), recipe, open_study(), text)


def test_trials_are_no_fewer_than_the_sweep_has_had(open_study: OpenStudy, recipe: Recipe) -> None:
    study, space = open_study(), make_space(budget={"trials": 4})
    play(conduct(space, recipe, study), recipe, Worker())
    with pytest.raises(BadInput, match="--trials: must be at least the 4 trials that the sweep has had, but got '3'"):
        budgeted(space, recipe, study, "3")
    assert budgeted(space, recipe, study, "4").budget.trials == 4


def test_what_the_space_says_of_confirming_must_fit(open_study: OpenStudy, recipe: Recipe) -> None:
    space, study = make_space(budget={"trials": 30, "confirm": {"apart": 4}}), open_study()
    rule = (
        "--trials: 10 does not go with budget.confirm.apart 4, which must leave at least 3 of the 10 trials .* takes 8"
    )
    with pytest.raises(BadInput, match=rule):
        budgeted(space, recipe, study, "10")
    assert budgeted(space, recipe, study, "11").budget.trials == 11
    play(conduct(budgeted(space, recipe, study, "11"), recipe, study), recipe, Worker())
    study.note(COMPLETE, len(study.records))
    assert budgeted(space, recipe, study, "+2").budget.trials == 13, "an extension may be too short to confirm anything"


def test_anchors_must_fit(open_study: OpenStudy, recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="must cover at least the 2 anchors, but got '1'"):
        budgeted(make_space(), recipe, open_study(), "1")


@pytest.fixture
def old(open_study: OpenStudy, recipe: Recipe) -> str:
    """A sweep of eight trials, whose alpha reaches from 1e-7 to 1e-3."""
    folder, space = sweep_folder("old"), make_space()
    study = open_study(folder.path, name="old")
    play(conduct(space, recipe, study), recipe, Worker())
    write_files(folder, SweepFiles(space, recipe, make_runner()))
    return "old"


def narrower(**changes: Any) -> Any:
    parameters = make_space().model_dump(mode="json", by_alias=True, exclude_defaults=True)["parameters"]
    parameters["distill.mgd.alpha"]["log_uniform"] = [1e-7, 1e-5]
    return make_space(parameters=parameters, **changes)


def test_a_warm_start_teaches_and_counts_as_no_trial(
    old: str, open_study: OpenStudy, recipe: Recipe, ikd_home: Path, tmp_path: Path
) -> None:
    space, cold = narrower(budget={"trials": 4}), open_study(tmp_path / "cold")
    study = open_study(tmp_path / "warm")
    said = warm_up(study, space, old, ikd_home)
    assert re.fullmatch(rf"warm start: {len(study.earlier)} of the \d+ trials of {old} teach the sampler", said)
    theirs = open_study(sweep_folder("old").path, name="old").records
    fitting = [one for one in theirs if one.in_space and 1e-7 <= one.values.get("distill.mgd.alpha", 1e-6) <= 1e-5]
    assert 0 < len(fitting) < len(theirs), "some lie outside the new range"
    assert [one.values for one in study.earlier] == [one.values for one in fitting]
    assert [one.state for one in study.earlier] == [one.state for one in fitting]
    assert [one.metric for one in study.earlier] == [one.metric for one in fitting]
    assert open_study(tmp_path / "warm").earlier == study.earlier, "the study itself keeps them"
    again = warm_up(study, space, old, ikd_home)  # the same command again
    assert again.startswith(f"warm start: {len(study.earlier)} trials of {old} teach the sampler")
    assert study.records == []
    proposals = [propose(space, recipe, [], earlier=one.earlier) for one in (cold, study)]
    assert proposals[0] != proposals[1], "what was learnt changes what is proposed"
    tried = {one.fingerprint for one in study.earlier}
    play(conduct(space, recipe, study), recipe, Worker())
    assert len(study.records) == 4
    assert not tried & {one.fingerprint for one in study.records if not one.anchors}, "nothing is trained twice"


def test_a_warm_start_that_cannot_be_is_refused(
    old: str, open_study: OpenStudy, recipe: Recipe, ikd_home: Path, tmp_path: Path
) -> None:
    study, space = open_study(tmp_path / "new"), narrower()
    with pytest.raises(BadInput, match="did you mean 'old'"):
        warm_up(study, space, "odl", ikd_home)
    with pytest.raises(BadInput, match="must be a sweep with objective bbox_AP50 max, but old has bbox_mAP max"):
        warm_up(study, narrower(objective={"metric": "bbox_AP50"}), old, ikd_home)
    elsewhere = make_space(parameters={"attack.steps": {"choice": [1, 3]}})
    with pytest.raises(BadInput, match=r"must share a parameter .*, but distill.host.* only in old; attack.steps only"):
        warm_up(study, elsewhere, old, ikd_home)
    with pytest.raises(BadInput, match="must name each sweep once, but got old, old"):
        warm_up(study, space, [old, old], ikd_home)
    conduct(space, recipe, study).next_trial()
    with pytest.raises(BadInput, match="must be given at the first start, and this sweep began without one"):
        warm_up(study, space, old, ikd_home)
    assert open_study(tmp_path / "new").earlier == []


def test_several_sweeps_and_those_that_share_some_parameters_teach_the_effects_model(
    old: str, open_study: OpenStudy, recipe: Recipe, ikd_home: Path, tmp_path: Path
) -> None:
    parameters = narrower().model_dump(mode="json", by_alias=True, exclude_defaults=True)["parameters"]
    parameters |= {"attack.steps": {"choice": [1, 3, 5]}, "seed": {"int": [50, 60]}}
    space = make_space(parameters=parameters, sampler={"effects": {"with_tpe": False}}, budget={"trials": 9})
    study = open_study(tmp_path / "warm")
    said = warm_up(study, space.checked(recipe), old, ikd_home)
    assert "of them lack parameters: the effects model alone learns from those" in said
    known = study.earlier[-1].values
    assert known["attack.steps"] == recipe.attack.steps, "the value of its own recipe, which lies in the domain"
    assert "seed" not in known, "that of the recipe does not"
    assert {one.name for one in study.earlier} == {old}
    assert not any(one.in_space for one in study.earlier)
    play(conduct(space.checked(recipe), recipe, study), recipe, Worker())
    cold = open_study(tmp_path / "cold")
    play(conduct(space.checked(recipe), recipe, cold), recipe, Worker())
    pairs = [(a.values == b.values) for a, b in zip(study.records, cold.records, strict=True)]
    assert pairs[:3] == [True] * 3, "anchors, and the start"
    assert not all(pairs), "what was learnt changes what is proposed, before the tenth trial"
    tpe = make_space(parameters=parameters).checked(recipe)
    with pytest.raises(
        BadInput, match="a value in range for every parameter of this space, with sampler tpe, but none"
    ):
        warm_up(open_study(tmp_path / "tpe"), tpe, old, ikd_home)


def test_two_sweeps_teach_together(
    old: str, open_study: OpenStudy, recipe: Recipe, ikd_home: Path, tmp_path: Path
) -> None:
    """Both count, each by its name; the same command again takes them once, and another order is another command."""
    folder, other = sweep_folder("other"), make_space(seed=7, budget={"trials": 5})
    play(conduct(other, recipe, open_study(folder.path, name="other")), recipe, Worker())
    write_files(folder, SweepFiles(other, recipe, make_runner()))
    space, study = (
        narrower(budget={"trials": 4}, sampler={"effects": {"with_tpe": False}}),
        open_study(tmp_path / "warm"),
    )
    said = warm_up(study, space, [old, "other"], ikd_home)
    taken = {name: [one for one in study.earlier if one.name == name] for name in (old, "other")}
    assert all(taken.values())
    assert sum(map(len, taken.values())) == len(study.earlier)
    assert said.startswith(
        f"warm start: {len(taken[old])} of the 8 trials of old, {len(taken['other'])} of the 5 trials"
    )
    alone = open_study(tmp_path / "alone")
    warm_up(alone, space, old, ikd_home)
    assert [one.values for one in alone.earlier] == [one.values for one in taken[old]]
    numbers = range(4, 16)
    proposals = [[propose(space, recipe, [], number=n, earlier=one.earlier) for n in numbers] for one in (alone, study)]
    assert proposals[0] != proposals[1], "the second one teaches something too"
    count = len(study.earlier)
    assert f"{count} trials of old, other teach the sampler" in warm_up(study, space, [old, "other"], ikd_home)
    assert len(study.earlier) == count
    with pytest.raises(BadInput, match="this sweep began with old, other; got 'other', 'old'"):
        warm_up(study, space, ["other", old], ikd_home)
