"""Several objectives: the front, its knee, and which checkpoints stay."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep import Configuration, Standing, TrialRecord, knee, pareto_front, ranking, wide_console
from ikd.sweep.records.pareto import fronts
from ikd.sweep.records.trials import Report
from ikd.sweep.storage.keeping import MAY_WIN, SPARE, most_checkpoints, tidied, without_place
from tests.unit.sweep.conftest import make_space


def trial(number: int, value: float, gflops: float = 1.0, state: Any = "finished", **fields: Any) -> TrialRecord:
    report = Report(6, {"bbox_mAP": value, "cost/gflops": gflops}, 1.0, number)
    record = TrialRecord(number, f"{number} x", (), {}, True, str(number), Path(), state, value, 6, reports=(report,))
    return dataclasses.replace(record, **fields)


def believed(space: SearchSpace, *groups: tuple[Any, ...]) -> Standing:
    """Return a standing: of each configuration what is expected of it, as the metric has it, and its trainings."""
    found = [Configuration(trainings, 0, 100 * mean, 1e-4) for mean, *rest in groups for trainings in [tuple(rest)]]
    return Standing(space, tuple(sorted(found, key=lambda one: (-one.mean, one.number))), 1.0, 1.0)


def as_seen(space: SearchSpace, *records: TrialRecord) -> Standing:
    """Return a standing in which every trial has what is expected of it."""
    return believed(space, *((one.metric or 0.0, one) for one in records))


@pytest.fixture
def space() -> SearchSpace:
    return make_space(costs=["gflops"])


def test_fronts_by_hand() -> None:
    points = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [2.0, 3.0], [4.0, 4.0], [np.nan, 0.0], [2.0, 2.0]])
    assert fronts(points) == [[0, 1, 2, 6], [3], [4]]
    assert fronts(np.zeros((0, 2))) == []


def test_a_front_has_what_nothing_else_beats(space: SearchSpace) -> None:
    known = as_seen(space, trial(0, 0.40, 9.0), trial(1, 0.35, 3.0), trial(2, 0.30, 4.0), trial(3, 0.10, 1.0))
    assert [one.number for one in pareto_front(known)] == [0, 1, 3]
    # distances to the ideal (0.40, 1): trial 1 is a sixth off in the objective and a quarter in the cost
    found = knee(known)
    assert found is not None
    assert found.number == 1
    assert knee(as_seen(space, trial(0, 0.4, float("nan")))) is None
    alone = knee(as_seen(space, trial(0, 0.4)))
    assert alone is not None
    assert alone.number == 0, "a front of one"


def test_a_front_is_of_what_is_expected_and_not_of_what_was_seen(space: SearchSpace) -> None:
    """Trial 1 was lucky: seen it would beat trial 0 in everything."""
    known = believed(space, (0.38, trial(0, 0.36, 3.0)), (0.30, trial(1, 0.40, 2.0)), (0.31, trial(2, 0.31, 2.0)))
    assert [one.number for one in pareto_front(known)] == [0, 2]
    assert known.seen.number == 1


def test_a_cost_is_the_mean_over_the_trainings_of_a_configuration(space: SearchSpace) -> None:
    again = trial(5, 0.4, 4.0, role="repeat", of=0)
    known = believed(space, (0.4, trial(0, 0.4, 2.0), again, trial(6, 0.4, float("nan"))), (0.3, trial(1, 0.3, 2.5)))
    assert known.chosen.costs(["gflops"]) == (3.0,)
    assert [one.number for one in pareto_front(known)] == [0, 1]


def test_less_is_better_where_the_objective_says_so() -> None:
    space = make_space(costs=["gflops"], objective={"metric": "bbox_mAP", "mode": "min"})
    known = believed(space, (-0.1, trial(0, 0.1, 9.0)), (-0.3, trial(1, 0.3, 1.0)), (-0.4, trial(2, 0.4, 2.0)))
    assert [one.number for one in pareto_front(known)] == [0, 1]


def test_the_table_shows_costs_and_marks_the_front(space: SearchSpace) -> None:
    console = wide_console()
    records = [trial(0, 0.4, 9.0), trial(1, 0.3, 9.5), trial(2, 0.2, 2.25)]
    with console.capture() as capture:
        console.print(ranking(records, space, as_seen(space, *records)))
    lines = capture.get().splitlines()
    assert "GFLOPs" in "".join(lines)
    marked = [line.split()[1].rstrip("▲") for line in lines if re.match(r" *\d+◆", line)]
    assert marked == ["0", "2"]
    assert any("2.25" in line for line in lines)


def test_the_best_keep_their_checkpoints(space: SearchSpace) -> None:
    anchor = trial(0, 0.01, anchors=("paper",))
    running = trial(1, 0.02, state="running")
    others = [trial(2, 0.3, 1.0), trial(3, 0.5, 3.0), trial(4, 0.4, 3.0), trial(5, 0.2, 9.0, "failed")]
    records, plain = [anchor, running, *others], make_space()

    def gone(space: SearchSpace, keep_top: int | None) -> list[int]:
        return [one.number for one in without_place(records, as_seen(space, *others[:3]), "max", keep_top)]

    assert gone(plain, 2) == [2, 5]
    assert gone(space, 2) == [4, 5], "the front before the others"
    assert gone(plain, None) == []


def test_what_may_still_prove_the_best_keeps_its_checkpoints() -> None:
    """At most five beyond the places: what is expected changes, and what has gone does not come back."""
    space, trials = make_space(), [trial(number, 0.40 - 0.0001 * number) for number in range(9)]
    sure = as_seen(space, *trials)
    wide = Standing(space, tuple(dataclasses.replace(one, variance=1.0) for one in sure.configurations), 1.0, 1.0)
    assert len(without_place(trials, sure, "max", 1)) == 8 - sum(
        sure.chances[number] >= MAY_WIN for number in range(1, 9)
    )
    assert len(without_place(trials, wide, "max", 1)) == 9 - 1 - SPARE
    assert 0 not in {one.number for one in without_place(trials, wide, "max", 1)}


def test_the_trainings_of_a_configuration_stay_together() -> None:
    """Which of them is exported may change with every trial; those kept apart are never exported."""
    space = make_space()
    first, again = trial(0, 0.40), trial(2, 0.39, role="repeat", of=0)
    apart, bad = trial(3, 0.9, role="apart", of=0), trial(1, 0.2)
    known = believed(space, (0.395, first, again), (0.2, bad))
    assert [one.number for one in without_place([first, bad, again, apart], known, "max", 1)] == [1, 3]


def test_the_knee_keeps_its_checkpoint(space: SearchSpace) -> None:
    trials = [trial(0, 0.40, 9.0), trial(1, 0.395, 8.9), trial(2, 0.35, 3.0), trial(3, 0.10, 1.0), trial(4, 0.09, 5.0)]
    known = as_seen(space, *trials)
    found = knee(known)
    assert found is not None
    assert found.number == 2
    assert [one.number for one in without_place(trials, known, "max", 1)] == [1, 3, 4]


def test_a_trial_that_falls_out_is_removed_once(tmp_path: Path) -> None:
    space = make_space()
    removed: list[int] = []
    tidy = tidied(space, 1, removed.append, lambda records: as_seen(space, *records))
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
    repeats = 5
    assert most_checkpoints(asha, recipe, keep_top=5, slots=2, anchors=2) == 2 * (5 + SPARE + 2 + repeats) + 3 * 2
    assert most_checkpoints(asha, recipe, keep_top=None, slots=2, anchors=2) == 2 * 50 + 3 * 2
    assert most_checkpoints(asha, recipe, keep_top=60, slots=2, anchors=2) == 2 * 50 + 3 * 2
    epochs = 40 * recipe.total_epochs
    limited = make_space(budget={"trials": 100_000, "epochs": epochs})
    assert most_checkpoints(limited, recipe, keep_top=5, slots=2, anchors=2) == 2 * (5 + SPARE + 2 + 4) + 3 * 2
    assert most_checkpoints(limited, recipe, keep_top=None, slots=2, anchors=2) == 2 * epochs + 3 * 2, "one epoch each"
    assert most_checkpoints(pbt, recipe, keep_top=1, slots=1, anchors=0) == 2 * (1 + SPARE) + 3 + 8 * 2, (
        "epochs 2 and 4 of 8 trials"
    )
