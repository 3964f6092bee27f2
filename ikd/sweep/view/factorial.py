"""The table of a full factorial with repeats: mean and spread of each configuration, as an ablation table shows it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from rich.table import Table

from ikd.config import Domain, SearchSpace
from ikd.sweep.records.text import percent, readable
from ikd.sweep.records.trials import RANKED_BY, TrialRecord, counting

SIZES = ("bbox_mAP", "bbox_APs", "bbox_APm", "bbox_APl")
"""Metrics shown beside the objective, as in the papers' ablation tables."""


def factorial_table(records: Sequence[TrialRecord], space: SearchSpace) -> Table | None:
    """Return one row per configuration in the order of the space, or None where nothing is repeated.

    Only trials trained to their last epoch count. The spread is the standard deviation of a sample (n - 1).
    """
    grid = space.sampler.grid
    if grid is None or grid.repeats < 2:
        return None
    objective = space.objective
    metrics = list(dict.fromkeys([objective.metric, *SIZES]))
    title = f"x100, mean ± spread over {grid.repeats} seeds, each by {RANKED_BY[objective.value]}"
    title += f" of {objective.metric}" if objective.value == "best" else ""
    others = {name: pick for name, pick in _OTHERS.items() if name != objective.value}
    table = Table(title=title, title_justify="left", highlight=False)
    for name, domain in space.parameters.items():
        table.add_column(" + ".join(_short(field) for field in (name, *domain.also)), overflow="fold")
    table.add_column("done", justify="right", no_wrap=True)
    for title in [*(metric.removeprefix("bbox_") for metric in metrics), *others]:
        table.add_column(title, justify="right", no_wrap=True)
    finished = [record for record in records if record.in_space and record.state == "finished"]
    for values in space.settings(space.parameters):
        own = [one for one in finished if {k: v for k, v in one.values.items() if k in space.parameters} == values]
        figures = [_figure([_counted(one, space, metric) for one in own]) for metric in metrics]
        figures += [_figure([pick(one, objective.metric) for one in own]) for pick in others.values()]
        cells = [
            _cell(domain, values[name], name) if name in values else "-" for name, domain in space.parameters.items()
        ]
        table.add_row(*cells, f"{len(own)} of {grid.repeats}", *figures)
    return table


def _best(record: TrialRecord, metric: str) -> float:
    return math.nan if record.best is None else record.best


_OTHERS: dict[str, Callable[[TrialRecord, str], float]] = {"best": _best, "last": lambda one, name: one.last(name)}
"""What papers print of the objective, by the `value` of which it is what trials are ranked by."""


def _counted(record: TrialRecord, space: SearchSpace, metric: str) -> float:
    """Return a metric over the validations that a trial counts with the mean of."""
    values = [one.metrics.get(metric, math.nan) for one in counting(record.reports, space.objective)]
    return statistics.fmean(values) if values else math.nan


def _figure(values: Sequence[float]) -> str:
    """Write mean and spread; `-` when there is nothing, no spread with a single value."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "-"
    spread = f" ± {percent(statistics.stdev(finite))}" if len(finite) > 1 else ""
    return percent(statistics.fmean(finite)) + spread


def _cell(domain: Domain, value: object, field: str) -> str:
    yes_or_no = ("yes" if value else "no") if isinstance(value, bool) else None
    return domain.alias(value) or yes_or_no or readable(value, field)


def _short(field: str) -> str:
    owner, _, leaf = field.rpartition(".")
    return owner.rpartition(".")[2] if leaf == "enabled" else leaf
