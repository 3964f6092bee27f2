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

from benchmarks.search.methods import NEW_DEFAULT, OLD_DEFAULT
from benchmarks.search.results import Results
from benchmarks.search.surrogate import Quality
from ikd.errors import BadInput
from ikd.files import write_text

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
        value: in points of mAP; NaN where there is no seed.
        half: half width of its 95 % interval; NaN with fewer than two.
        count: seeds.
    """

    value: float
    half: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of one figure a seed."""
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)) if values else math.nan, NORMAL * error, len(values))

    @classmethod
    def over(cls, means: Sequence[Mean]) -> Mean:
        """Return the mean of several worlds, each counting the same; the interval is over seeds, these worlds given."""
        half = math.sqrt(sum(one.half**2 for one in means)) / len(means)
        return cls(float(np.mean([one.value for one in means])), half, sum(one.count for one in means))

    def text(self, sign: str = "") -> str:
        """Return it for a table, with its sign where it is a gain (`+`); empty where there is none."""
        if math.isnan(self.value):
            return ""
        return f"{self.value:{sign}.2f}" + ("" if math.isnan(self.half) else f" ± {self.half:.2f}")


def quality(results: Results, world: str, method: str, trainings: int) -> Mean:
    """Return what a method's choice is worth."""
    return Mean.of([one[0] for one in _with(results, world, method, trainings).values()])


def excess(results: Results, world: str, method: str, trainings: int) -> Mean:
    """Return by how much a method says that its choice is better than it is."""
    return Mean.of([one[1] for one in _with(results, world, method, trainings).values()])


def gain(results: Results, world: str, method: str, trainings: int, other: str, others: int) -> Mean:
    """Return by how much a method's choice is better than another's, over the seeds that both have."""
    mine, its = _with(results, world, method, trainings), _with(results, world, other, others)
    return Mean.of([mine[seed][0] - its[seed][0] for seed in sorted(set(mine) & set(its))])


def _with(results: Results, world: str, method: str, trainings: int) -> Mapping[int, tuple[float, float]]:
    every = results.of(world, method).items()
    return {seed: figures[trainings] for seed, figures in every if trainings in figures}


def table(results: Results, world: str, methods: Sequence[str], trainings: Sequence[int]) -> str:
    """Return the figures of one world as Markdown: real quality, gain over the old default, what is said too much."""
    heads = [f"{one} trainings" for one in trainings] + [f"gain at {one}" for one in trainings]
    heads += [f"says too much at {one}" for one in trainings]
    lines = [f"| {world} | seeds | {' | '.join(heads)} |", "|---|---:|" + "---:|" * len(heads)]
    for method in methods:
        found = [quality(results, world, method, one) for one in trainings]
        cells = [one.text() for one in found]
        cells += ["" if method == OLD_DEFAULT else _gain(results, world, method, one) for one in trainings]
        cells += [excess(results, world, method, one).text("+") for one in trainings]
        lines.append(f"| {method} | {min(one.count for one in found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(results: Results, world: str, method: str, trainings: int) -> str:
    return gain(results, world, method, trainings, OLD_DEFAULT, trainings).text("+")


def summary(results: Results, worlds: Sequence[str], methods: Sequence[str], trainings: Sequence[int]) -> str:
    """Return gains over the old default by world and over all of them, and the new default at half the budget."""
    pairs = [(method, one, one) for method in methods if method != OLD_DEFAULT for one in trainings]
    pairs += [(NEW_DEFAULT, few, many) for few, many in itertools.pairwise(trainings)]
    lines = [f"| gain over {OLD_DEFAULT} | {' | '.join(worlds)} | all |", "|---|" + "---:|" * (len(worlds) + 1)]
    for method, mine, its in pairs:
        means = [gain(results, world, method, mine, OLD_DEFAULT, its) for world in worlds]
        title = f"{method}, {mine}" if mine == its else f"{method} at {mine}, the old at {its}"
        lines.append(f"| {title} | {' | '.join(one.text('+') for one in [*means, Mean.over(means)])} |")
    return "\n".join(lines)


BEFORE, AFTER = "<!-- python -m benchmarks.search table --into docs/figures.md -->\n", "<!-- until here -->"
"""Around the tables in a page."""


def write_into(page: Path, tables: str) -> None:
    """Put tables into a page, in place of those that are there.

    Raises:
        BadInput: the page has no place for them.
    """
    text = page.read_text() if page.is_file() else ""
    before, found, rest = text.partition(BEFORE)
    _, ends, after = rest.partition(AFTER)
    if not found or not ends:
        raise BadInput(
            f"into: must be a page with a line {BEFORE.strip()!r} and {AFTER!r} behind it, but got {str(page)!r}"
        )
    write_text(page, f"{before}{BEFORE}\n{tables}\n\n{AFTER}{after}")


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


def draw(results: Results, worlds: Sequence[str], methods: Sequence[str], trainings: Sequence[int], file: Path) -> None:
    """Draw one panel a world: what the choice is worth against the trainings of the search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(worlds), figsize=(3.4 * len(worlds), 3.6), squeeze=False)
    for axis, world in zip(axes[0], worlds, strict=True):
        _panel(axis, results, world, methods, trainings)
    axes[0][0].set_ylabel("mAP of the choice, without the luck of a seed")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, results: Results, world: str, methods: Sequence[str], trainings: Sequence[int]) -> None:
    places = np.arange(len(trainings))
    for index, method in enumerate(methods):
        means = [quality(results, world, method, one) for one in trainings]
        beside = places + 0.05 * (index - (len(methods) - 1) / 2)  # so that intervals do not hide each other
        values, halves = [one.value for one in means], [one.half for one in means]
        axis.errorbar(beside, values, halves, color=COLOURS[method], marker="o", markersize=4, label=method)
    axis.set_title(world, loc="left", fontsize=11)
    axis.set_xticks(places, [str(one) for one in trainings])
    axis.set_xlabel("trainings", loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.15)
