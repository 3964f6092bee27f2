"""What a sweep would do and cost, without starting anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ikd.config import Recipe, Runner, SearchSpace, SweepFiles
from ikd.errors import BadInput
from ikd.sweep._asha import AshaJudge
from ikd.sweep._driver import resolve
from ikd.sweep._folder import SweepFolder, sweep_names
from ikd.sweep._records import TrialRecord
from ikd.sweep._sampling import anchor_proposals, propose
from ikd.sweep._status import sweep_status
from ikd.sweep._text import duration, readable

NUM_SAMPLES = 5
SEARCHED_SWEEPS = 20
"""How many of the latest sweeps are looked through for measured epochs."""


@dataclass(frozen=True)
class Measured:
    """What earlier trials of the same training cost.

    Attributes:
        seconds: of one epoch, validation included, mean.
        checkpoint_bytes: of best.pth and last.pth together, largest.
        source: the sweep it comes from.
    """

    seconds: float
    checkpoint_bytes: int
    source: str


@dataclass(frozen=True)
class DryRun:
    """The plan of a sweep.

    Attributes:
        name: of the sweep.
        directory: its folder to be.
        files: checked.
        configurations: distinct ones in the space; infinite with a continuous range.
        samples: values of five draws, as the sweep might start with.
        anchors: number of anchor trials.
        size: number of trials that try everything, repeats and anchors included; infinite with a continuous range.
        trials: number of trials, limited by budget and space.
        epochs_bound: epochs when nothing is stopped.
        epochs_expected: epochs when early stopping keeps its share at every rung.
        measured: cost of an epoch, None when no earlier trial tells.
    """

    name: str
    directory: Path
    files: SweepFiles
    configurations: float
    samples: tuple[Mapping[str, Any], ...]
    anchors: int
    size: float
    trials: int
    epochs_bound: int
    epochs_expected: float
    measured: Measured | None

    def seconds(self, epochs: float) -> float | None:
        """Return the time for a number of epochs, None when not measured."""
        return None if self.measured is None else epochs * self.measured.seconds / self.files.runner.concurrency

    def render(self) -> RenderableType:
        """Return the plan for a rich console."""
        table = Table(box=None, show_header=False, highlight=False)
        for key, value in self._lines():
            table.add_row(key, value)
        return Group(table, Text(f"\n{NUM_SAMPLES} of the configurations:"), _samples_table(self.samples))

    def _lines(self) -> list[tuple[str, str]]:
        epochs = self.files.recipe.total_epochs
        return [
            ("sweep", f"{self.name}, would lie in {self.directory}"),
            ("distinct configurations", self._distinct()),
            ("trials", f"{self.trials}, {self.anchors} of them anchors; {self.files.runner.concurrency} at a time"),
            (
                "epochs",
                f"at most {self.epochs_bound} ({epochs} a trial), about {self.epochs_expected:.0f}{self._why()}",
            ),
            ("time", self._time()),
            ("disk", self._disk()),
        ]

    def _distinct(self) -> str:
        if math.isinf(self.configurations):
            return "unlimited (a range is continuous)"
        text, grid = f"{self.configurations:,.0f}", self.files.space.sampler.grid
        if grid is None:
            return text
        text += f", each {grid.repeats} times" if grid.repeats > 1 else ""
        part = f"only a part: budget.trials is {self.trials}, all of it with the anchors is {self.size:,.0f}"
        return f"{text}; {'all of them' if self.trials >= self.size else part}"

    def _why(self) -> str:
        return " with ASHA" if self.files.space.scheduler.asha is not None else ", nothing is stopped early"

    def _time(self) -> str:
        expected, bound = self.seconds(self.epochs_expected), self.seconds(self.epochs_bound)
        if self.measured is None or expected is None or bound is None:
            return "not measured yet: no earlier sweep has trained this student on this data"
        text = f"about {duration(expected)}, at most {duration(bound)} ({self.measured.seconds:.1f} s an epoch in "
        text += f"sweep {self.measured.source})"
        gpus = self.files.runner.trial.gpus
        if gpus:
            text += f"; {self.epochs_expected * self.measured.seconds * gpus / 3600:.1f} GPU-hours"
        hours = self.files.space.budget.wall_hours
        return text + (f"; ends after {hours:g} h by budget.wall_hours" if hours else "")

    def _disk(self) -> str:
        if self.measured is None:
            return f"not measured yet: best.pth and last.pth of each of {self.trials} trials"
        size = self.trials * self.measured.checkpoint_bytes / 1e6
        return f"at most {size:,.0f} MB: best.pth and last.pth of each of {self.trials} trials"


def dry_run(
    space: SearchSpace | str | Path, *, recipe: Recipe | None = None, runner: Runner | str | Path | None = None,
    name: str | None = None, values: Mapping[str, Any] | None = None,
) -> DryRun:  # fmt: skip
    """Plan a sweep: how much there is to try, five samples, epochs, time and disk. Starts and writes nothing.

    Raises:
        BadInput: as `run_sweep` does.
    """
    files, folder = resolve(space, recipe=recipe, runner=runner, name=name, values=values)
    anchors = anchor_proposals(files.space, files.recipe)
    configurations = files.space.num_configurations()
    grid = files.space.sampler.grid
    size = configurations * (grid.repeats if grid else 1) + sum(not anchor.in_space for anchor in anchors)
    trials = int(min(files.space.budget.trials, size))
    fixed = sum(anchor.recipe.total_epochs for anchor in anchors)
    bound = fixed + (trials - len(anchors)) * files.recipe.total_epochs
    expected = fixed + _expected_epochs(files, range(len(anchors), trials))
    limit = files.space.budget.epochs
    return DryRun(
        name=folder.name,
        directory=folder.path,
        files=files,
        configurations=configurations,
        samples=tuple(_samples(files)),
        anchors=len(anchors),
        size=size,
        trials=trials,
        epochs_bound=min(bound, limit) if limit else bound,
        epochs_expected=min(expected, limit) if limit else expected,
        measured=_measured(files, folder),
    )


def _expected_epochs(files: SweepFiles, numbers: Sequence[int]) -> float:
    """Return the epochs of sampled trials, of which 1 / factor pass each rung; every sequence is equally likely."""
    asha = files.space.scheduler.asha
    if asha is None:
        return float(len(numbers) * files.recipe.total_epochs)
    sequences = files.space.stage_ends(files.recipe)
    judge = AshaJudge(asha, files.space.objective.mode, sequences)
    total = 0.0
    for number, ends in itertools.product(numbers, sequences):
        steps = itertools.pairwise([0, *judge.rungs(number, ends), ends[-1]])
        total += sum((high - low) / asha.reduction_factor**index for index, (low, high) in enumerate(steps))
    return total / len(sequences)


def _samples(files: SweepFiles) -> list[Mapping[str, Any]]:
    drawn: list[TrialRecord] = []
    for number in range(NUM_SAMPLES):
        proposal = propose(files.space, files.recipe, drawn)
        if proposal is None:
            break
        # Counted as failed: taken, but nothing to learn from.
        print_ = proposal.recipe.fingerprint()
        drawn.append(TrialRecord(number, "", (), proposal.values, True, print_, Path(), state="failed"))
    return [record.values for record in drawn]


def _samples_table(samples: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(highlight=False)
    table.add_column("parameter", overflow="fold")
    for number in range(1, len(samples) + 1):
        table.add_column(str(number), justify="right")
    for name in dict.fromkeys(name for sample in samples for name in sample):
        table.add_row(name, *(readable(sample[name]) if name in sample else "-" for sample in samples))
    return table


def _measured(files: SweepFiles, folder: SweepFolder) -> Measured | None:
    """Look in the latest sweeps for trials with the same student, data, image size and batch."""
    home = folder.path.parent.parent
    wanted = _cost_key(files.recipe)
    for name in sweep_names(home=home)[:SEARCHED_SWEEPS]:
        try:
            status = sweep_status(name, home=home)
        except BadInput:
            continue  # another sweep's folder is broken; no concern of this one
        trials = [trial for trial in status.trials if trial.epochs]
        if _cost_key(status.files.recipe) == wanted and trials:
            seconds = sum(trial.seconds for trial in trials) / sum(trial.epochs for trial in trials)
            return Measured(seconds, max(_checkpoint_bytes(trial.directory) for trial in trials), name)
    return None


def _cost_key(recipe: Recipe) -> tuple[Any, ...]:
    content = recipe.effective()
    return content["data"], content["student"], content["input"], content["schedule"]["batch_size"]


def _checkpoint_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("*.pth"))
