"""What is said of early stopping: promotions, and rank correlations of rungs with the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from ikd.config import Recipe, SearchSpace, load_recipe
from ikd.sweep.records.ranks import spearman
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.schedulers.rungs import rungs_of, said_of_stopping
from tests.unit.sweep.conftest import make_space

EPOCHS = 6


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("drawn_r18")


def trial(number: int, values: list[float], state: Any = "finished", **changes: Any) -> TrialRecord:
    reports = tuple(Report(epoch, {"bbox_mAP": value}, 1.0, epoch) for epoch, value in enumerate(values, 1))
    known = TrialRecord(number, "", (), {}, True, str(number), Path(), state, reports=reports, stage_ends=(EPOCHS,))
    return replace(known, **changes)


def curve(early: float, late: float, epochs: int = EPOCHS) -> list[float]:
    """Two epochs at one level, the others at another."""
    return [early if epoch <= 2 else late for epoch in range(1, epochs + 1)]


LATE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
EARLY = [0.1, 0.3, 0.2, 0.4, 0.6, 0.5]
CROSSED = [0.3, 0.6, 0.2, 0.5, 0.1, 0.4]


def finished(early: list[float]) -> list[TrialRecord]:
    return [trial(number, curve(*pair)) for number, pair in enumerate(zip(early, LATE, strict=True))]


@pytest.mark.parametrize(
    ("one", "other"), [(EARLY, LATE), (CROSSED, LATE), ([1, 1, 2, 3, 3, 3], LATE), ([0.5, 0.5, 0.1], [2, 3, 3])]
)
def test_the_correlation_is_spearmans(one: list[float], other: list[float]) -> None:
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)


@pytest.mark.parametrize(
    ("one", "other"), [([1.0, 1.0, 1.0], [1, 2, 3]), ([1, 2, 3], [2.0, 2.0, 2.0]), ([], []), ([1], [2])]
)
def test_what_ranks_nothing_has_none(one: list[float], other: list[float]) -> None:
    assert spearman(one, other) is None


def said(recipe: Recipe, records: list[TrialRecord], **changes: Any) -> list[str]:
    return said_of_stopping(make_space(**changes).checked(recipe), recipe, records)


def test_a_rung_says_who_went_on_and_whether_its_ranks_held(recipe: Recipe) -> None:
    records = [*finished(EARLY), *(trial(6 + n, curve(0.1, 0, 2), "stopped") for n in range(8))]
    line = "stopping: asha at epoch 2 6 of 14 went on, ranks there and at the last agree by 0.89 (6 finished trials)"
    assert said(recipe, records) == [line]
    low = [*finished(CROSSED), *records[6:]]
    assert said(recipe, low) == [
        "stopping: asha at epoch 2 6 of 14 went on, ranks there and at the last agree by -0.20 (6 finished trials); "
        "below 0.6 stopping costs more than it saves: scheduler: none"
    ]


def test_where_nothing_stops_it_says_whether_it_could(recipe: Recipe) -> None:
    none: dict[str, Any] = {"scheduler": {"none": {}}}
    assert said(recipe, finished(CROSSED), **none) == [
        "stopping: nothing was stopped; ranks at epoch 2 and the last agree by -0.20 (6 finished trials): "
        "ASHA at epoch 2 would have cost more than it saves"
    ]
    assert said(recipe, finished(EARLY), **none)[0].endswith(
        "0.89 (6 finished trials): ASHA at epoch 2 would have saved epochs"
    )
    assert said(recipe, finished(EARLY)[:5], **none) == []


def test_few_trials_have_no_correlation(recipe: Recipe) -> None:
    records = [*finished(CROSSED)[:5], trial(5, curve(0.1, 0, 2), "stopped")]
    assert said(recipe, records) == ["stopping: asha at epoch 2 5 of 6 went on"]
    assert said(recipe, []) == []


def test_who_does_not_count(recipe: Recipe) -> None:
    """Nobody judges anchors, repeats and what is kept apart; what failed, diverged or still runs has no end."""
    records = finished(EARLY)
    others = [
        trial(6, curve(0.9, 0.1), anchors=("paper",)),
        trial(7, curve(0.9, 0.1, 4), "running"),
        trial(8, curve(0.9, 0.1, 4), "failed"),
        trial(9, curve(0.9, 0.1, 4), "diverged"),
        trial(10, curve(0.9, 0.1, 4), "stopped"),
        trial(11, curve(0.9, 0.1), role="repeat", of=0),
        trial(12, curve(0.9, 0.1), role="apart", of=0),
    ]
    (rung,) = rungs_of(make_space().checked(recipe), recipe, [*records, *others])
    assert (rung.epoch, rung.came, rung.stopped, rung.finished) == (2, 8, 0, 6)
    assert rung.correlation == pytest.approx(spearman(EARLY, LATE))


def test_a_rung_between_two_validations_is_the_later_one(recipe: Recipe) -> None:
    records = [replace(one, reports=one.reports[2::3]) for one in finished(EARLY)]  # at epochs 3 and 6
    records += [trial(6, curve(0.1, 0.1, 3), "stopped")]
    (rung,) = rungs_of(
        make_space().checked(recipe), recipe, [replace(one, reports=one.reports[-2:]) for one in records]
    )
    assert (rung.epoch, rung.stopped, rung.correlation) == (2, 0, 1.0)
    records[-1] = replace(records[-1], reports=records[-1].reports[2:])
    (rung,) = rungs_of(make_space().checked(recipe), recipe, records)
    assert (rung.epoch, rung.stopped, rung.correlation) == (2, 1, 1.0)


@pytest.mark.parametrize(
    ("scheduler", "epochs", "rungs"),
    [
        ({"asha": {"grace_epochs": 1, "reduction_factor": 2}}, 6, [1, 2, 4]),
        ({"hyperband": {"grace_epochs": 1}}, 9, [1, 3]),
        ({"median": {"grace_epochs": 2}}, 6, [2]),
        ({"hopeless": {"grace_epochs": 3}}, 6, [3]),
        ({"none": {}}, 9, [2, 6]),
        ({"none": {}}, 24, [12]),
        ({"none": {}}, 2, []),
    ],
)
def test_each_scheduler_has_its_rungs(scheduler: dict[str, Any], epochs: int, rungs: list[int], recipe: Recipe) -> None:
    recipe = recipe.with_values({"schedule.epochs": epochs})
    records = [trial(number, [0.1] * epochs, stage_ends=(epochs,)) for number in range(20)]
    assert [one.epoch for one in rungs_of(make_space(scheduler=scheduler).checked(recipe), recipe, records)] == rungs


def test_a_population_has_none(recipe: Recipe) -> None:
    space = SearchSpace.model_validate(
        {
            "recipe": "drawn_r18",
            "parameters": {"adversarial.weight": {"log_uniform": [1e-6, 1e-4]}},
            "scheduler": {"pbt": {}},
        }
    )
    assert rungs_of(space.checked(recipe), recipe, finished(EARLY)) == []
