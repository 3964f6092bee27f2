"""Several teachers at once as something to search, beside sequences and single teachers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.config import ANCHORS, Recipe, load_recipe, sequence_text
from tests.unit.config.test_space_sequences import load, refusal

ORDERS = "  teachers.sequence: {choice: [[weak], [mid], [weak, mid]]}\n"
BOTH = ORDERS + "  teachers.together: {choice: [false, true], when: {teachers.sequence: [[weak, mid]]}}\n"


def test_at_once_is_a_choice_beside_sequences(tmp_path: Path) -> None:
    files = load(tmp_path, BOTH)
    space, recipe = files.space, files.recipe
    settings = list(space.settings(["teachers.sequence", "teachers.together"]))
    made = [recipe.with_values(space.expanded(values)) for values in settings]
    found = {(one.stages[0].teachers, len(one.stages)) for one in made}
    assert found == {(("weak",), 1), (("mid",), 1), (("weak",), 2), (("weak", "mid"), 1)}
    assert len({one.fingerprint() for one in made}) == len(made) == space.num_configurations() == 4
    assert set(space.stage_ends(recipe)) == {(recipe.total_epochs,), (recipe.total_epochs // 2, recipe.total_epochs)}


def test_rungs_at_stage_ends_need_teachers_one_after_the_other(tmp_path: Path) -> None:
    rungs = "scheduler: {asha: {rungs: stages}}"
    load(tmp_path, BOTH, rungs)
    said = refusal(tmp_path, ORDERS, f"set: {{teachers.together: true}}\n{rungs}")
    assert "scheduler.asha.rungs: needs a sequence of at least two teachers" in said


def test_a_sequence_that_cannot_be_at_once_is_refused_where_nothing_else_is_searched(tmp_path: Path) -> None:
    twice = "  teachers.sequence: {choice: [[weak, mid], [mid, mid]]}\n"
    said = refusal(tmp_path, twice, "set: {teachers.together: true}")
    assert "parameters.teachers.sequence: must name no teacher twice with teachers.together" in said
    load(tmp_path, twice + "  teachers.together: {choice: [false, true]}\n", "set: {teachers.together: true}")


def test_a_value_that_goes_with_no_value_of_the_others_is_refused(tmp_path: Path) -> None:
    """The second teacher, at its stage, does not take what the first one does."""
    sequence = "teachers.sequence: [weak, {teacher: mid, set: {distill.host: pkd}}]"
    bckd = "distill.response.bckd.enabled"
    rest = f"set: {{{sequence}, attack.loss: feature_distance, teachers.available.mid.checkpoint: w.pth, {bckd}: true}}"
    own = "  teachers.available.mid.classes: {choice: [data, own]}\n"
    said = refusal(tmp_path, own, rest)
    assert "parameters.teachers.available.mid.classes: can never be drawn, as no configuration with it goes: " in said
    assert f"{bckd}: must be false where teacher mid knows other classes (classes: own)" in said
    load(tmp_path, f"{own}  {bckd}: {{choice: [true, false]}}\n", rest)


def test_epochs_per_stage_are_the_same_in_all_trials(tmp_path: Path) -> None:
    space = "  teachers.together: {choice: [false, true]}\n"
    said = refusal(tmp_path, space, "set: {schedule.epochs_per_stage: 3}")
    assert "parameters.teachers.together: must not change the number of epochs" in said
    assert "the recipe trains 6 and True trains 3" in said


@pytest.mark.parametrize(("together", "epochs"), [(True, 3), (False, 6)])
def test_teachers_at_once_have_the_epochs_of_one_stage(*, together: bool, epochs: int) -> None:
    values = {"teachers.together": together, "schedule.epochs_per_stage": 3, "distill.me.enabled": False}
    recipe = load_recipe("small_dfmsd", values)
    assert [recipe.total_epochs, recipe.stages[-1].last] == [epochs, epochs]
    control = recipe.anchor("equal_budget")
    assert [control.total_epochs, control.stages[0].teachers] == [epochs, ("r18x32",)]


def test_the_anchors_of_teachers_at_once_are_those_of_one_stage() -> None:
    recipe = load_recipe("small_together")
    made: dict[str, Recipe] = {name: recipe.anchor(name) for name in ANCHORS}
    last = recipe.taught_by("r18x16").fingerprint()
    expected = {"paper": recipe.fingerprint(), "epochs_per_stage": recipe.fingerprint()}
    expected |= dict.fromkeys(("equal_budget", "epochs_per_stage_control"), last)
    assert {name: made[name].fingerprint() for name in expected} == expected
    assert [made["inherit_alone"].student.inherit, made["student_alone"].teachers.together] == [True, False]


def test_they_are_written_side_by_side() -> None:
    shared = [{"teacher": "a", "share": 0.3}, {"teacher": "b", "share": 0.7}]
    assert sequence_text(["a", "b"], together=True) == "a + b"
    assert sequence_text(shared, together=True) == "a (0.3) + b (0.7)"


def test_shares_are_weights_and_shares_of_the_loss_are_told_apart() -> None:
    recipe = load_recipe("small_together")
    uneven = recipe.with_values(
        {"teachers.sequence": [{"teacher": "r18x32", "share": 0.75}, {"teacher": "r18x16", "share": 0.25}]}
    )
    assert [one.weight for one in recipe.stages[0].each] == [0.5, 0.5]
    assert [one.weight for one in uneven.stages[0].each] == [0.75, 0.25]
    others = [recipe, uneven, recipe.with_values({"teachers.together": False}), recipe.anchor("equal_budget")]
    assert len({one.fingerprint() for one in others}) == len(others)
