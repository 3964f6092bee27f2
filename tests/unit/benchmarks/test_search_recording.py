"""Recordings: what is kept of a sweep, and that a file gives it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.search.recording import load, recorded, repeats
from ikd.config import load_recipe
from ikd.errors import BadInput
from ikd.sweep import Report, TrialRecord
from tests.unit.benchmarks.synthetic_recording import SPACE, made

VALUES = {"distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.area_threshold": 1024}


def record(number: int, state: Any = "finished", epochs: int = 2, **values: Any) -> TrialRecord:
    reports = tuple(
        Report(epoch, {"bbox_mAP": 0.1 * epoch, "seconds/train": 4.0, "seconds/val": 0.5 * epoch}, 0.0, epoch)
        for epoch in range(1, epochs + 1)
    )
    return TrialRecord(number, str(number), (), {**VALUES, **values}, True, "", Path(), state, 0.2, 2, reports=reports)


def files(**recipe: Any) -> dict[str, Any]:
    old = {"scheduler": {"asha": None}, "sampler": {"random": {}}, "anchors": ["paper"], "constraints": []}
    parameters = {name: {"uniform": None, "when": {}, **one} for name, one in SPACE["parameters"].items()}
    return {"space": {**SPACE, **old, "parameters": parameters}, "recipe": load_recipe("drawn_r18", recipe).as_dict()}


def test_only_whole_trainings_are_kept_with_their_curves() -> None:
    trials = [record(0), record(1, "stopped", 1), record(2, "diverged"), record(3, seed=4)]
    kept = recorded("x", files(), trials)
    assert [one.curve for one in kept.trainings] == [(0.1, 0.2)] * 2
    assert kept.trainings[0].seconds == (4.5, 5.0)
    assert [(one.seed, one.values) for one in kept.trainings] == [(0, VALUES), (4, VALUES)]


def test_the_space_stays_and_who_searched_it_goes() -> None:
    kept = recorded("x", files(), [record(0)])
    assert kept.space == SPACE
    space = kept.searched(sampler={"random": {}}, seed=3)
    assert (space.seed, list(space.parameters)) == (3, list(SPACE["parameters"]))


def test_what_differs_from_the_shipped_recipe_is_kept_but_not_where_it_ran() -> None:
    kept = recorded("x", files(**{"schedule.epochs": 4, "data.root": "/somewhere", "seed": 7}), [record(0)])
    assert kept.changes == {"schedule.epochs": 4}
    assert [one.seed for one in kept.trainings] == [7]
    assert kept.recipe(5).total_epochs == 4
    assert kept.recipe(5).seed == 5


def test_a_file_gives_the_recording_back(tmp_path: Path) -> None:
    recording = made()
    recording.save(tmp_path)
    assert load("made", tmp_path) == recording
    with pytest.raises(BadInput, match="must be one of made, but got 'mad'"):
        load("mad", tmp_path)


def test_a_sweep_without_whole_trainings_is_refused() -> None:
    with pytest.raises(BadInput, match="but has none"):
        recorded("x", files(), [record(1, "stopped", 1)])


def test_repeats_are_trainings_of_equal_values() -> None:
    groups = repeats(made(count=5, repeated=2).trainings)
    assert [len(group) for group in groups] == [3, 3]
    assert all(one.values == group[0].values for group in groups for one in group)
