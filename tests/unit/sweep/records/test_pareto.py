"""Several objectives: the front, its knee, and which checkpoints stay."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep import TrialRecord, knee, pareto_front, ranking, wide_console
from ikd.sweep.records.pareto import fronts
from ikd.sweep.records.trials import Report
from ikd.sweep.storage.keeping import most_checkpoints, tidied, without_place
from tests.unit.sweep.conftest import make_space


def trial(number: int, value: float, gflops: float = 1.0, state: Any = "finished", **fields: Any) -> TrialRecord:
    report = Report(6, {"bbox_mAP": value, "cost/gflops": gflops}, 1.0, number)
    record = TrialRecord(number, f"{number} x", (), {}, True, str(number), Path(), state, value, 6, reports=(report,))
    return dataclasses.replace(record, **fields)


@pytest.fixture
def space() -> SearchSpace:
    return make_space(costs=["gflops"])


def test_fronts_by_hand() -> None:
    points = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [2.0, 3.0], [4.0, 4.0], [np.nan, 0.0], [2.0, 2.0]])
    assert fronts(points) == [[0, 1, 2, 6], [3], [4]]
    assert fronts(np.zeros((0, 2))) == []


def test_a_front_has_what_nothing_finished_beats(space: SearchSpace) -> None:
    records = [
        trial(0, 0.40, 9.0),
        trial(1, 0.35, 3.0),
        trial(2, 0.30, 4.0),
        trial(3, 0.10, 1.0),
        trial(4, 0.5, 0.1, "stopped"),
    ]
    assert [one.number for one in pareto_front(records, space)] == [0, 1, 3]
    # distances to the ideal (0.40, 1): trial 1 is a sixth off in the objective and a quarter in the cost
    found = knee(records, space)
    assert found is not None
    assert found.number == 1
    assert knee([trial(0, 0.4, float("nan"))], space) is None
    assert knee([trial(0, 0.4)], space) == trial(0, 0.4), "a front of one"


def test_the_table_shows_costs_and_marks_the_front(space: SearchSpace) -> None:
    console = wide_console()
    with console.capture() as capture:
        console.print(ranking([trial(0, 0.4, 9.0), trial(1, 0.3, 9.5), trial(2, 0.2, 2.25)], space))
    lines = capture.get().splitlines()
    assert "GFLOPs" in "".join(lines)
    marked = [line.split()[1] for line in lines if re.match(r" *\d+◆", line)]
    assert marked == ["0", "2"]
    assert any("2.25" in line for line in lines)


def test_the_best_keep_their_checkpoints(space: SearchSpace) -> None:
    anchor = trial(0, 0.01, anchors=("paper",))
    running = trial(1, 0.02, state="running")
    others = [trial(2, 0.3, 1.0), trial(3, 0.5, 3.0), trial(4, 0.4, 3.0), trial(5, 0.2, 9.0, "failed")]
    records = [anchor, running, *others]
    plain = make_space()
    assert [one.number for one in without_place(records, plain, 2)] == [2, 5]
    assert [one.number for one in without_place(records, space, 2)] == [4, 5], "the front before the others"
    assert without_place(records, plain, None) == []


def test_a_trial_that_falls_out_is_removed_once(tmp_path: Path) -> None:
    space = make_space()
    removed: list[int] = []
    tidy = tidied(space, 1, removed.append)
    records = [trial(0, 0.1, directory=tmp_path)]
    (tmp_path / "previous.pth").touch()
    tidy(records)
    assert not (tmp_path / "previous.pth").exists()
    records.append(trial(1, 0.2))
    tidy(records)
    tidy(records)
    assert removed == [0]


def test_the_bound_counts_everything_at_once(recipe: Recipe) -> None:
    asha, pbt = make_space(budget={"trials": 50}), make_space(scheduler={"pbt": {"interval_epochs": 2}})
    assert most_checkpoints(asha, recipe, keep_top=5, slots=2, anchors=2) == 2 * 7 + 3 * 2
    assert most_checkpoints(asha, recipe, keep_top=None, slots=2, anchors=2) == 2 * 50 + 3 * 2
    assert most_checkpoints(asha, recipe, keep_top=60, slots=2, anchors=2) == 2 * 50 + 3 * 2
    assert most_checkpoints(pbt, recipe, keep_top=1, slots=1, anchors=0) == 2 + 3 + 8 * 2, "epochs 2 and 4 of 8 trials"
