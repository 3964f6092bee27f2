"""What every scheduler of the registry does: a new one is in all of these tests by its key."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.sweep.schedulers.judges import JUDGES, Judge, build_judge, expected_epochs
from tests.unit.sweep.conftest import make_space

EPOCHS = 12
NOBODY = ("pbt", "none")
"""Keys under which nothing is stopped early."""
SETTINGS: dict[str, list[dict[str, Any]]] = {"asha": [{}, {"by": "nondominated", "brackets": 2}]}
"""Of the kinds that need more than their defaults to be seen whole."""
MAKERS = [{kind: one} for kind in JUDGES if kind not in NOBODY for one in SETTINGS.get(kind, [{}])]


@pytest.fixture(params=MAKERS, ids=lambda scheduler: "-".join(map(str, next(iter(scheduler.items())))))
def make(request: pytest.FixtureRequest, recipe: Recipe) -> Callable[[], Judge]:
    space, base = make_space(scheduler=request.param), recipe.with_values({"schedule.epochs": EPOCHS})

    def made() -> Judge:
        judge = build_judge(space, base)
        assert judge is not None
        return judge

    return made


def test_replaying_the_reports_rebuilds_every_verdict(make: Callable[[], Judge]) -> None:
    """At any moment a judge that was told the reports so far says of the next one what the first judge said."""
    draw, judge = random.Random(3), make()
    reports: list[tuple[int, int, float, tuple[float, ...]]] = []
    verdicts: list[str | None] = []
    alive = {number: 0 for number in range(30)}
    while alive:
        number = draw.choice(list(alive)[:4])
        alive[number] += 1
        reports.append((number, alive[number], draw.random(), (draw.random(),)))
        verdicts.append(judge.judge(*reports[-1][:3], (EPOCHS,), reports[-1][3]))
        if verdicts[-1] is not None or alive[number] == EPOCHS:
            del alive[number]
    assert 5 < sum(verdict is not None for verdict in verdicts) < 30
    for cut in range(0, len(reports), 7):
        again = make()
        for number, epoch, value, costs in reports[:cut]:
            again.judge(number, epoch, value, (EPOCHS,), costs)
        rest = [again.judge(number, epoch, value, (EPOCHS,), costs) for number, epoch, value, costs in reports[cut:]]
        assert rest == verdicts[cut:]


def test_the_first_trial_goes_on_whatever_it_is_worth(make: Callable[[], Judge]) -> None:
    judge = make()
    assert [judge.judge(0, epoch, 0.0, (EPOCHS,), (1.0,)) for epoch in range(1, EPOCHS + 1)] == [None] * EPOCHS


def test_a_trial_at_its_end_is_not_stopped(make: Callable[[], Judge]) -> None:
    judge = make()
    for number in range(6):
        judge.judge(number, EPOCHS, 0.9, (EPOCHS,), (1.0,))
    assert judge.judge(6, EPOCHS - 1, 0.9, (EPOCHS,), (1.0,)) is None
    assert judge.judge(6, EPOCHS, 0.0, (EPOCHS,), (9.0,)) is None


def test_a_forecast_is_a_distribution_over_epochs(make: Callable[[], Judge]) -> None:
    judge = make()
    for number in range(20):
        epochs, shares = zip(*judge.expected_share(number, (EPOCHS,)), strict=True)
        assert list(epochs) == sorted(set(epochs))
        assert epochs[-1] == EPOCHS
        assert math.fsum(shares) == pytest.approx(1)
        assert 1 <= expected_epochs(judge, number, (EPOCHS,)) <= EPOCHS


@pytest.mark.parametrize("kind", NOBODY)
def test_nothing_is_stopped_without_a_judge(kind: str, recipe: Recipe) -> None:
    judge = build_judge(make_space(scheduler={kind: {}}), recipe)
    assert judge is None
    assert expected_epochs(judge, 0, (12, 24)) == 24
