"""What the searches found: tables of real quality, paired gains with their intervals, and a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.comparing import Figures, Results
from benchmarks.search.methods import NEW_DEFAULT, OLD_DEFAULT
from benchmarks.search.surrogate import Quality

Array = NDArray[np.float64]
COLOURS = {
    NEW_DEFAULT: "#d55e00",
    OLD_DEFAULT: "#0072b2",
    "plain Tune, best seen": "#009e73",
    "random, best seen": "#777777",
}
NORMAL = 1.96
"""Half width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: in points of mAP.
        half: half width of its 95 % interval.
        count: seeds.
    """

    value: float
    half: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of one figure a seed."""
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), NORMAL * error, len(values))

    @classmethod
    def over(cls, means: Sequence[Mean]) -> Mean:
        """Return the mean of several worlds, each counting the same; the interval is over seeds, these worlds given."""
        half = math.sqrt(sum(one.half**2 for one in means)) / len(means)
        return cls(float(np.mean([one.value for one in means])), half, sum(one.count for one in means))

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.half:.2f}"

    @property
    def signed(self) -> str:
        """With its sign, as a gain."""
        return f"{self.value:+.2f} ± {self.half:.2f}"


def quality(results: Results, method: str, trainings: int) -> Mean:
    """Return what a method's choice is worth."""
    return Mean.of([figures[trainings][0] for figures in _with(results, method, trainings).values()])


def excess(results: Results, method: str, trainings: int) -> Mean:
    """Return by how much a method says that its choice is better than it is."""
    return Mean.of([figures[trainings][1] for figures in _with(results, method, trainings).values()])


def gain(results: Results, method: str, trainings: int, other: str, others: int) -> Mean:
    """Return by how much a method's choice is better than another's, over the seeds that both have."""
    mine, its = _with(results, method, trainings), _with(results, other, others)
    return Mean.of([mine[seed][trainings][0] - its[seed][others][0] for seed in sorted(set(mine) & set(its))])


def _with(results: Results, method: str, trainings: int) -> Mapping[int, Figures]:
    return {seed: figures for seed, figures in results.figures.get(method, {}).items() if trainings in figures}


def table(results: Results, methods: Sequence[str], trainings: Sequence[int]) -> str:
    """Return the figures of one world as Markdown: real quality, gain over the old default, what is said too much."""
    heads = [f"{one} trainings" for one in trainings] + [f"gain at {one}" for one in trainings]
    heads += [f"says too much at {one}" for one in trainings]
    lines = [f"| {results.name} | seeds | {' | '.join(heads)} |", "|---|---:|" + "---:|" * len(heads)]
    for method in methods:
        cells = [str(quality(results, method, one)) for one in trainings]
        cells += ["" if method == OLD_DEFAULT else _gain(results, method, one) for one in trainings]
        cells += [f"{excess(results, method, one).value:+.1f}" for one in trainings]
        lines.append(f"| {method} | {quality(results, method, trainings[0]).count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(results: Results, method: str, trainings: int) -> str:
    return gain(results, method, trainings, OLD_DEFAULT, trainings).signed


def summary(every: Sequence[Results], methods: Sequence[str], trainings: Sequence[int]) -> str:
    """Return gains over the old default by world and over all of them, and the new default at half the budget."""
    pairs = [(method, one, one) for method in methods if method != OLD_DEFAULT for one in trainings]
    pairs += [(NEW_DEFAULT, few, many) for few, many in itertools.pairwise(trainings)]
    names = [results.name for results in every]
    lines = [f"| gain over {OLD_DEFAULT} | {' | '.join(names)} | all |", "|---|" + "---:|" * (len(names) + 1)]
    for method, mine, its in pairs:
        means = [gain(results, method, mine, OLD_DEFAULT, its) for results in every]
        title = f"{method}, {mine}" if mine == its else f"{method} at {mine}, the old at {its}"
        lines.append(f"| {title} | {' | '.join(one.signed for one in [*means, Mean.over(means)])} |")
    return "\n".join(lines)


def quality_table(name: str, quality: Quality) -> str:
    """Return how well a surrogate predicts what it has not seen, as Markdown."""
    epochs = range(1, len(quality.r2) + 1)
    lines = [f"| {name}, {quality.configurations} configurations, epoch | {' | '.join(map(str, epochs))} |"]
    lines.append("|---|" + "---:|" * len(quality.r2))
    lines.append(f"| R2 | {' | '.join(f'{one:.2f}' for one in quality.r2)} |")
    rows = {"mean absolute error": quality.mae, "the same of the mean": quality.mean_mae}
    for title, values in {**rows, "standard deviation over seeds": quality.noise}.items():
        lines.append(f"| {title} | {' | '.join(f'{100 * one:.1f}' for one in values)} |")
    return "\n".join(lines)


def draw(every: Sequence[Results], methods: Sequence[str], trainings: Sequence[int], file: Path) -> None:
    """Draw one panel a world: what the choice is worth against the trainings of the search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(every), figsize=(3.4 * len(every), 3.6), squeeze=False)
    for axis, results in zip(axes[0], every, strict=True):
        _panel(axis, results, methods, trainings)
    axes[0][0].set_ylabel("mAP of the choice, without the luck of a seed")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, results: Results, methods: Sequence[str], trainings: Sequence[int]) -> None:
    places = np.arange(len(trainings))
    for index, method in enumerate(methods):
        means = [quality(results, method, one) for one in trainings]
        beside = places + 0.05 * (index - (len(methods) - 1) / 2)  # so that intervals do not hide each other
        values, halves = [one.value for one in means], [one.half for one in means]
        axis.errorbar(beside, values, halves, color=COLOURS[method], marker="o", markersize=4, label=method)
    axis.set_title(results.name, loc="left", fontsize=11)
    axis.set_xticks(places, [str(one) for one in trainings])
    axis.set_xlabel("trainings", loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.15)
