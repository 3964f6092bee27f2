"""Population-based training: which trial goes on from another one's weights, and with which loss weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ikd.config import Recipe, SearchSpace
from ikd.errors import ConfigError
from ikd.sweep.records.domains import at, place
from ikd.sweep.records.trials import Exploit, Report, TrialRecord

DRAWS = 50
"""Draws of new weights before the source's own are kept, where constraints refuse the others."""


@dataclass(frozen=True)
class _Standing:
    """A trial at the epoch of comparison: how bad it was (the smaller the better), and its values up to there."""

    loss: float
    number: int
    values: Mapping[str, Any]


def next_exploit(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], number: int) -> Exploit | None:
    """Return whose weights a trial goes on from after its latest report, None when it keeps its own.

    Truncation selection (Jaderberg et al. 2017, section 4.1.1): among all trials that have reported this epoch, one in
    the lowest `quantile` takes over the weights and values of a random one in the highest, and then each loss weight is
    drawn anew with `resample_probability`, else multiplied or divided by `perturbation`. Trials are compared by their
    values at exactly this epoch, as reported up to the trial's own report: asked again, the answer is the same, however
    far the others have come since. Anchors are not touched; one inside the space may be taken from.

    Args:
        space: checked; its scheduler is `pbt`, so it varies loss weights only.
        recipe: the base.
        records: every trial of the study, in order of number.
        number: of the trial; its latest report is at a multiple of `interval_epochs`, before its last epoch.
    """
    pbt, record = space.scheduler.pbt, records[number]
    assert pbt is not None
    if not record.reports or record.anchors:
        return None
    now = record.reports[-1]
    standing = sorted(_standings(space, records, now), key=lambda one: (one.loss, one.number))
    share = min(math.ceil(pbt.quantile * len(standing)), len(standing) // 2)
    if number not in [one.number for one in standing[len(standing) - share :]]:
        return None
    random = np.random.default_rng([space.seed, number, now.epoch])
    source = standing[int(random.integers(share))]
    return Exploit(now.epoch, source.number, _explored(space, recipe, source.values, random))


def _standings(space: SearchSpace, records: Sequence[TrialRecord], now: Report) -> list[_Standing]:
    sign = -1.0 if space.objective.mode == "max" else 1.0
    found = []
    for record in records:
        report = next((one for one in record.reports if one.epoch == now.epoch and one.order <= now.order), None)
        value = report.metrics.get(space.objective.metric, math.nan) if report is not None else math.nan
        if record.in_space and math.isfinite(value):
            found.append(_Standing(sign * value, record.number, _values_at(record, now.epoch)))
    return found


def _values_at(record: TrialRecord, epoch: int) -> Mapping[str, Any]:
    """Return what a trial was trained with up to `epoch`."""
    before = [one for one in record.exploits if one.epoch < epoch]
    return before[-1].values if before else record.proposed


def _explored(
    space: SearchSpace, recipe: Recipe, values: Mapping[str, Any], random: np.random.Generator
) -> dict[str, Any]:
    """Return values with every loss weight drawn anew or moved, within ranges, grids and constraints."""
    own = {name: value for name, value in values.items() if name in space.parameters}
    for _ in range(DRAWS):
        changed = {name: _moved(space, name, value, random) for name, value in own.items()}
        candidate = {**values, **space.expanded(changed)}
        try:
            if space.allows(recipe.with_values(candidate)):
                return candidate
        except ConfigError:  # a combination that fields of the recipe exclude
            continue
    return dict(values)


def _moved(space: SearchSpace, name: str, value: Any, random: np.random.Generator) -> Any:
    """Return another value of a range; in a space checked for `pbt` each one weighs a loss, and choices are fixed."""
    domain, pbt = space.parameters[name], space.scheduler.pbt
    assert pbt is not None
    if domain.bounds is None:
        return value
    if random.random() < pbt.resample_probability:
        return at(domain, float(random.random()))
    up = bool(random.random() < 0.5)
    low, high = domain.bounds
    target = min(max(value * pbt.perturbation if up else value / pbt.perturbation, low), high)
    grid = domain.grid()
    if grid is None:
        return target
    # the value of the grid nearest to the target, but at least the neighbour in that direction, or it would not move
    index, near = (int(place(domain, one) * len(grid)) for one in (value, target))
    near = max(near, index + 1) if up else min(near, index - 1)
    return grid[min(max(near, 0), len(grid) - 1)]
