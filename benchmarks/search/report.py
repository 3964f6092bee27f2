"""What the searches found: figures, a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.runs import Run
from benchmarks.search.surrogate import Quality

Array = NDArray[np.float64]
SHARES = (0.25, 0.5, 1.0)
COLOURS = {"plain Tune": "#d55e00", "TPE + ASHA": "#0072b2", "random + ASHA": "#56b4e9", "TPE": "#009e73"}
RANDOM = "random"
PAPER, OTHERS = "#444444", "#999999"


@dataclass(frozen=True)
class Course:
    """One search, epoch by epoch.

    Attributes:
        seen: best objective that the search had seen after each trained epoch (AP in 0..1).
        worth: what the configuration that was best then gives when it is trained to the end, averaged over seeds.
        trials: that the search began.
        choice: values of the configuration that was best in the end.
    """

    seen: Sequence[float]
    worth: Sequence[float]
    trials: int
    choice: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """All searches of one data set.

    Attributes:
        name: of the data.
        courses: by method, one a seed.
        paper_seen: for each seed, what a training with the paper's values gives with that seed.
        paper_worth: the same, averaged over seeds.
        paper_epochs: that this training takes.
    """

    name: str
    courses: Mapping[str, Sequence[Course]]
    paper_seen: Sequence[float]
    paper_worth: float
    paper_epochs: int


def course(run: Run) -> Course:
    """Return how a search went."""
    seen: list[float] = []
    worth: list[float] = []
    best, kept = -math.inf, 0
    for number, _, value in run.events:
        if value > best:
            best, kept = value, number
        seen.append(best)
        worth.append(run.expected[kept])
    return Course(seen, worth, len(run.expected), run.values[kept])


def epochs_above(values: Sequence[float], level: float) -> float:
    """Return after how many epochs the values are above a level for the first time; infinite when they never are."""
    return next((epoch for epoch, value in enumerate(values, 1) if value > level), math.inf)


def as_good(courses: Sequence[Course], other: Sequence[Course]) -> str:
    """Return after how many epochs the median of some searches is where that of others ends."""
    end = np.median([one.seen[-1] for one in other])
    middle = np.median([one.seen for one in courses], axis=0)
    epochs = epochs_above(middle.tolist(), float(np.nextafter(end, -1)))
    return "never" if math.isinf(epochs) else f"{epochs:.0f}"


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the quartiles, each one of the values: some may be infinite."""
    return [float(one) for one in np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")]


def table(compared: Comparison) -> str:
    """Return the figures of one data set as Markdown.

    "beats the paper": trained epochs until a search has seen more than the paper's values give with its seed. "as good
    as random": until the median is where that of random search ends. "retrained": what the choice is worth. Median and
    quartiles.
    """
    heads = [f"best after {int(100 * share)} %" for share in SHARES]
    lines = [f"| {compared.name} | trials | beats the paper | as good as random | {' | '.join(heads)} | retrained |"]
    lines.append("|---|---:|---:|---:|" + "---:|" * (len(SHARES) + 1))
    paper = [*_cells([list(compared.paper_seen)] * len(SHARES)), f"{100 * compared.paper_worth:.1f}"]
    lines.append(f"| paper's values | 1 | | | {' | '.join(paper)} |")
    for method, courses in compared.courses.items():
        pairs = zip(courses, compared.paper_seen, strict=False)
        beaten = [epochs_above(one.seen, level) for one, level in pairs]
        equal = as_good(courses, compared.courses[RANDOM])
        trials = f"{np.median([one.trials for one in courses]):.0f}"
        columns = [[one.seen[_last(one, share)] for one in courses] for share in SHARES]
        cells = _cells([*columns, [one.worth[-1] for one in courses]])
        lines.append(f"| {method} | {trials} | {_whole(beaten)} | {equal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(compared: Comparison, method: str, other: str) -> str:
    """Return how far one method is above another at the end, over the seeds that both have: mean, standard error."""
    both = list(zip(compared.courses[method], compared.courses[other], strict=False))
    told = []
    for name in ("seen", "worth"):
        gaps = [100 * (getattr(mine, name)[-1] - getattr(its, name)[-1]) for mine, its in both]
        error = np.std(gaps, ddof=1) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
        told.append(f"{np.mean(gaps):+.2f} ± {error:.2f}")
    return f"{compared.name}: {method} over {other}, {len(both)} seeds: best seen {told[0]}, retrained {told[1]}"


def _last(one: Course, share: float) -> int:
    return round(share * len(one.seen)) - 1


def _cells(columns: Sequence[Sequence[float]]) -> list[str]:
    told = []
    for column in columns:
        low, middle, high = np.percentile(100 * np.asarray(column), [25, 50, 75])
        told.append(f"{middle:.1f} [{low:.1f}, {high:.1f}]")
    return told


def _whole(epochs: Sequence[float]) -> str:
    low, middle, high = ("never" if math.isinf(one) else f"{one:.0f}" for one in quartiles(epochs))
    return f"{middle} [{low}, {high}]"


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


def draw(all_compared: Sequence[Comparison], file: Path) -> None:
    """Draw one column a data set: above what the search had seen, below what its choice is worth when retrained."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(all_compared), figsize=(6.2 * len(all_compared), 8), squeeze=False)
    for column, compared in enumerate(all_compared):
        seen = {method: np.array([one.seen for one in found]) for method, found in compared.courses.items()}
        worth = {method: np.array([one.worth for one in found]) for method, found in compared.courses.items()}
        paper = float(np.median(compared.paper_seen))
        _panel(axes[0][column], seen, paper, compared.paper_epochs)
        _panel(axes[1][column], worth, compared.paper_worth, compared.paper_epochs)
        axes[0][column].set_title(f"{compared.name}: best mAP seen so far", loc="left", fontsize=11)
        axes[1][column].set_title(f"{compared.name}: that configuration, retrained", loc="left", fontsize=11)
        axes[1][column].set_xlabel("trained epochs, all trials together", loc="left")
    for row in axes:
        row[0].set_ylabel("mAP x100")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, values: Mapping[str, Array], paper: float, paper_epochs: int) -> None:
    ends: dict[str, float] = {}
    epochs = max(found.shape[1] for found in values.values())
    x = np.arange(1, epochs + 1)
    for method, found in values.items():
        low, middle, high = np.percentile(100 * found, [25, 50, 75], axis=0)
        colour = COLOURS.get(method, OTHERS)
        axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0, step="post")
        axis.step(x, middle, color=colour, linewidth=1.8, where="post")
        ends[method] = float(middle[-1])
    axis.plot([paper_epochs, epochs], [100 * paper] * 2, color=PAPER, linewidth=1.4, linestyle="--")
    ends["paper's values"] = 100 * paper
    _zoom(axis, values, paper)
    axis.set_xlim(0, epochs * 1.34)  # room for the names
    axis.spines["bottom"].set_bounds(0, epochs)
    axis.spines[["top", "right"]].set_visible(False)
    axis.hlines(axis.get_yticks(), 0, epochs, color="#000000", alpha=0.08, linewidth=0.8, zorder=0)
    axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= epochs])
    _name(axis, ends, epochs)


def _zoom(axis: Any, values: Mapping[str, Array], paper: float) -> None:
    """Leave out the first tenth of the epochs, which would squeeze the rest together."""
    rest = [found[:, found.shape[1] // 10 :] for found in values.values()]
    shown = [100 * np.percentile(found, [25, 75], axis=0) for found in rest]
    low = min(100 * paper, *(float(one.min()) for one in shown))
    high = max(100 * paper, *(float(one.max()) for one in shown))
    axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _name(axis: Any, ends: Mapping[str, float], epochs: int) -> None:
    """Write the names beside the ends of the lines, moved apart where they would overlap."""
    bottom, top = axis.get_ylim()
    gap = (top - bottom) * 0.055
    places: list[tuple[str, float]] = []
    for method, y in sorted(ends.items(), key=lambda one: -one[1]):
        places.append((method, min(y, (places[-1][1] if places else top + gap / 2) - gap)))
    for method, y in places:
        colour = PAPER if method == "paper's values" else COLOURS.get(method, OTHERS)
        text = f"{method}  {ends[method]:.1f}"
        axis.annotate(text, (epochs * 1.015, y), color=colour, va="center", fontsize=9, annotation_clip=False)
