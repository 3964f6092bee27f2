"""Which trial of a population goes on from whose weights, by hand and by its statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep.records.trials import Exploit, Report, TrialRecord
from ikd.sweep.schedulers.population import next_exploit
from tests.unit.sweep.conftest import make_space

WEIGHT = "adversarial.weight"
PARAMETERS = {
    WEIGHT: {"log_uniform": [1e-6, 1e-2]},
    "distill.host": {"choice": ["fgd"]},  # fixed on the command line
}
KEPT = {"interval_epochs": 2, "quantile": 0.25, "perturbation": 2.0, "resample_probability": 0.0}


def population(space: dict[str, Any] | None = None, **pbt: Any) -> SearchSpace:
    return make_space(**{"parameters": PARAMETERS, "anchors": [], "scheduler": {"pbt": KEPT | pbt}, **(space or {})})


def trial(number: int, curve: list[float], order: int, **changes: Any) -> TrialRecord:
    values = {WEIGHT: 1e-5 * (1 + number), "distill.host": "fgd"}
    reports = tuple(Report(epoch, {"bbox_mAP": value}, 1.0, order + epoch) for epoch, value in enumerate(curve, 1))
    record = TrialRecord(number, "", (), values, True, str(number), Path(), reports=reports)
    return replace(record, **{"proposed": changes.get("values", values), **changes})


def eight() -> list[TrialRecord]:
    """Trials 0 to 7, better by number at epoch 2; trial N has reported as the N-th."""
    return [trial(number, [0.5, number / 10], 10 * number) for number in range(8)]


def asked_last(records: list[TrialRecord], number: int) -> list[TrialRecord]:
    """Let the latest report of a trial be the latest of all."""
    last = records[number].reports[-1]
    reports = (*records[number].reports[:-1], replace(last, order=1000))
    return [*records[:number], replace(records[number], reports=reports), *records[number + 1 :]]


def test_the_lowest_quarter_takes_over_from_the_highest(recipe: Recipe) -> None:
    found = {n: next_exploit(population(), recipe, asked_last(eight(), n), n) for n in range(8)}
    assert [n for n, exploit in found.items() if exploit is not None] == [0, 1]
    for exploit in (found[0], found[1]):
        assert exploit is not None
        assert exploit.epoch == 2
        assert exploit.source in (6, 7)
        source = eight()[exploit.source].values
        assert exploit.values["distill.host"] == "fgd"
        ratio = exploit.values[WEIGHT] / source[WEIGHT]
        assert ratio in (pytest.approx(2.0), pytest.approx(0.5))


def test_all_of_the_top_are_taken_from_and_both_directions_come(recipe: Recipe) -> None:
    found = [next_exploit(population({"seed": seed}), recipe, asked_last(eight(), 0), 0) for seed in range(40)]
    sources = [one.source for one in found if one is not None]
    assert len(sources) == 40
    assert 8 <= sources.count(6) <= 32, "four standard deviations of a fair coin are 12.6"
    ups = sum(one.values[WEIGHT] > eight()[one.source].values[WEIGHT] for one in found if one is not None)
    assert 8 <= ups <= 32


def test_in_min_mode_the_highest_values_take_over(recipe: Recipe) -> None:
    space = population({"objective": {"mode": "min"}})
    taken = [n for n in range(8) if next_exploit(space, recipe, asked_last(eight(), n), n)]
    assert taken == [6, 7]


@pytest.mark.parametrize(("quantile", "count"), [(0.1, 1), (0.25, 2), (0.26, 3), (0.5, 4)])
def test_the_quantile_says_how_many(quantile: float, count: int, recipe: Recipe) -> None:
    space = population(quantile=quantile)
    assert sum(next_exploit(space, recipe, asked_last(eight(), n), n) is not None for n in range(8)) == count


def test_trials_are_compared_at_exactly_the_epoch(recipe: Recipe) -> None:
    """Trial 1 is behind trial 0 now but was ahead of it at epoch 2; the others have not come to epoch 2."""
    records = [trial(0, [0.5, 0.2], 100), trial(1, [0.5, 0.3, 0.1, 0.1], 10), trial(2, [0.9], 20)]
    exploit = next_exploit(population(), recipe, records, 0)
    assert exploit is not None
    assert (exploit.source, exploit.epoch) == (1, 2)
    alone = next_exploit(population(), recipe, [records[0], trial(1, [0.5], 10), records[2]], 0)
    assert alone is None, "there is nobody to compare with"


def test_what_is_reported_later_changes_nothing(recipe: Recipe) -> None:
    """Asked again after a crash, with more known of the others, the answer is the same."""
    records = asked_last(eight(), 1)
    before = next_exploit(population(), recipe, records, 1)
    late = [trial(number, [0.5, 0.01 * number, 0.9], 2000 + 10 * number) for number in range(8, 20)]
    assert next_exploit(population(), recipe, [*records, *late], 1) == before


def test_a_trial_that_has_not_diverged_is_never_behind_one_that_has(recipe: Recipe) -> None:
    records = [trial(0, [0.5, 0.2], 100), trial(1, [0.5, float("nan")], 10), trial(2, [0.5, 0.3], 20)]
    exploit = next_exploit(population(), recipe, records, 0)
    assert exploit is not None
    assert exploit.source == 2


def test_anchors_are_taken_from_but_never_changed(recipe: Recipe) -> None:
    records = [trial(0, [0.5, 0.1], 100, anchors=("paper",)), trial(1, [0.5, 0.3], 10)]
    assert next_exploit(population(), recipe, records, 0) is None
    records = [trial(0, [0.5, 0.4], 10, anchors=("paper",)), trial(1, [0.5, 0.3], 100)]
    exploit = next_exploit(population(), recipe, records, 1)
    assert exploit is not None
    assert exploit.source == 0
    outside = [replace(records[0], in_space=False), records[1]]
    assert next_exploit(population(), recipe, outside, 1) is None


def test_a_source_gives_what_it_was_trained_with_at_that_epoch(recipe: Recipe) -> None:
    """Trial 1 took over other weights after epoch 1, and again after epoch 4: its checkpoint of 2 is of the first."""
    first = {WEIGHT: 3e-4, "distill.host": "fgd"}
    later = {WEIGHT: 9e-3, "distill.host": "fgd"}
    exploits = (Exploit(1, 5, first), Exploit(4, 5, later))
    records = [trial(0, [0.5, 0.1], 100), trial(1, [0.5, 0.9, 0.9, 0.9], 10, exploits=exploits, values=later)]
    exploit = next_exploit(population(), recipe, records, 0)
    assert exploit is not None
    assert exploit.values[WEIGHT] in (pytest.approx(6e-4), pytest.approx(1.5e-4))
    since = replace(records[1], exploits=(Exploit(4, 5, later),), proposed=first)
    assert next_exploit(population(), recipe, [records[0], since], 0) == exploit, "what it was proposed with"


def test_a_weight_stays_in_its_range(recipe: Recipe) -> None:
    parameters = {WEIGHT: {"log_uniform": [1.9e-5, 2.1e-5]}}
    records = [trial(0, [0.5, 0.1], 100), trial(1, [0.5, 0.3], 10, values={WEIGHT: 2e-5})]
    space = population({"parameters": parameters})
    found = next_exploit(space, recipe, [replace(records[0], proposed={WEIGHT: 2e-5}), records[1]], 0)
    assert found is not None
    assert found.values[WEIGHT] in (1.9e-5, 2.1e-5)


@pytest.mark.parametrize(("perturbation", "steps"), [(1.25, 1), (2.0, 1), (4.5, 2)])
def test_a_weight_moves_on_its_grid_and_at_least_one_step(perturbation: float, steps: int, recipe: Recipe) -> None:
    grid = {WEIGHT: {"log_uniform": [1e-6, 64e-6], "factor": 2.0}}
    values = {WEIGHT: 8e-6}
    records = [trial(0, [0.5, 0.1], 100, values=values), trial(1, [0.5, 0.3], 10, values=values)]
    spaces = [population({"parameters": grid, "seed": seed}, perturbation=perturbation) for seed in range(20)]
    found = {next_exploit(space, recipe, records, 0).values[WEIGHT] for space in spaces}  # type: ignore[union-attr]
    assert sorted(found) == [pytest.approx(8e-6 / 2**steps), pytest.approx(8e-6 * 2**steps)]


def test_resampling_draws_from_the_whole_range(recipe: Recipe) -> None:
    records = [trial(0, [0.5, 0.1], 100), trial(1, [0.5, 0.3], 10)]
    found = [
        next_exploit(population({"seed": seed}, resample_probability=1.0), recipe, records, 0) for seed in range(60)
    ]
    weights = [one.values[WEIGHT] for one in found if one is not None]
    assert len(set(weights)) == 60
    assert 14 <= sum(weight < 1e-4 for weight in weights) <= 46, "half in the lower half of the logarithm"


def test_constraints_hold_after_a_move(recipe: Recipe) -> None:
    rule = {"constraints": ["adversarial.weight <= 2.0e-5"]}
    records = [trial(0, [0.5, 0.1], 100), trial(1, [0.5, 0.3], 10)]
    for seed in range(12):
        found = next_exploit(population({"seed": seed, **rule}), recipe, records, 0)
        assert found is not None
        assert found.values[WEIGHT] == pytest.approx(1e-5), "doubled from 2e-5 it would break the constraint"
