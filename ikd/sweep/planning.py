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

from ikd.config import DRAWN, Recipe, Runner, SearchSpace, SweepFiles
from ikd.data import said_of_data, training_annotations
from ikd.errors import BadInput
from ikd.home import at_home
from ikd.sweep.driver import resolve, storage_of
from ikd.sweep.extend import as_it_began, budgeted
from ikd.sweep.measure import Measured, measured_before, measured_now
from ikd.sweep.preflight import check_start
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.text import duration, readable
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.schedulers.judges import build_judge, expected_epochs
from ikd.sweep.storage.keeping import most_checkpoints
from ikd.sweep.stores import Stores, forecast
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import has_trials
from ikd.sweep.training import OWN

NUM_SAMPLES = 5
ALL_WELL = "would find data, detectors, teachers, what trials ask of the machine, storage and tracker as they must be"


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
        checkpoints: how many there are at any time, at most.
        stores: perturbations that are made for it, at most.
        levels: what is said of the levels that the base recipe distils; empty where nothing is, or the data are not
            there yet.
        said: what a start would meet, see `ikd.sweep.preflight`; empty where it was not looked at.
        data: what is said of the data; empty where the drawn data set is not drawn yet.
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
    checkpoints: int
    stores: Stores
    levels: str = ""
    said: str = ""
    data: tuple[str, ...] = ()

    def seconds(self, epochs: float) -> float | None:
        """Return the time for a number of epochs, None when not measured."""
        return None if self.measured is None else epochs * self.measured.seconds / self.files.runner.concurrency

    def render(self) -> RenderableType:
        """Return the plan for a rich console."""
        table = Table(box=None, show_header=False, highlight=False)
        for key, value in self._lines():
            table.add_row(key, value)
        if not self.samples:
            return Group(table, Text("\nno configuration besides the anchors: the recipe takes none of the space"))
        some = Text(f"\n{len(self.samples)} of the configurations:")
        return Group(table, some, _samples_table(self.samples, self.files.space))

    def _lines(self) -> list[tuple[str, str]]:
        epochs = self.files.recipe.total_epochs
        early = {"asha": " with ASHA", "hyperband": " with HyperBand", "median": " before the median rule stops any"}
        stopping = early.get(self.files.space.scheduler.kind, ", nothing is stopped early")
        return [
            ("sweep", f"{self.name}, would lie in {self.directory}"),
            ("distinct configurations", self._distinct()),
            ("trials", f"{self.trials}, {self.anchors} of them anchors; {self.files.runner.concurrency} at a time"),
            (
                "epochs",
                f"at most {self.epochs_bound} ({epochs} a trial), about {self.epochs_expected:.0f}{stopping}",
            ),
            ("time", self._time()),
            ("disk", self._disk()),
            *self.stores.lines(),
            *([("levels", self.levels)] if self.levels else []),
            *([("a start", self.said)] if self.said else []),
            *(("data" if not number else "", line.removeprefix("data: ")) for number, line in enumerate(self.data)),
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

    def _time(self) -> str:
        expected, bound = self.seconds(self.epochs_expected), self.seconds(self.epochs_bound)
        if self.measured is None or expected is None or bound is None:
            return "not measured yet: no earlier sweep has trained this student on this data; --measure trains an epoch"
        text = f"about {duration(expected)}, at most {duration(bound)} ({self.measured.seconds:.1f} s an epoch in "
        text += f"{self.measured.source})"
        gpus = self.files.runner.trial.gpus
        if gpus:
            text += f"; {self.epochs_expected * self.measured.seconds * gpus / 3600:.1f} GPU-hours"
        hours = self.files.space.budget.wall_hours
        return text + (f"; ends after {hours:g} h by budget.wall_hours" if hours else "")

    def _disk(self) -> str:
        keep = self.files.runner.keep_top
        kept = "of every trial" if keep is None else f"of the anchors, the best {keep} others and the running trials"
        what = f"{self.checkpoints} checkpoints ({kept})"
        size = self.disk_bytes
        unknown = f"at most {what}; their size is not measured yet"
        return unknown if size is None else f"at most {size / 1e6:,.0f} MB: {what}"

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of all checkpoints at most, None when their size is not measured."""
        return None if self.measured is None else self.checkpoints * self.measured.checkpoint_bytes


def dry_run(  # noqa: PLR0913 - one keyword for each option of `ikd sweep --dry-run`
    space: SearchSpace | str | Path,
    *,
    recipe: Recipe | None = None,
    runner: Runner | str | Path | None = None,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
    trials: str | None = None,
    measure: bool = False,
    check: bool = False,
) -> DryRun:
    """Plan a sweep: how much there is to try, five samples, epochs, time and disk. Starts nothing.

    Args:
        space: as of `run_sweep`.
        recipe: as of `run_sweep`.
        runner: as of `run_sweep`.
        name: as of `run_sweep`.
        values: as of `run_sweep`.
        trials: as of `run_sweep`.
        measure: train one epoch of the base recipe here and now, for the forecast; what trials share is made and kept
            for them. Without it the forecast rests on earlier sweeps, and nothing is written.
        check: refuse first what a start would refuse, by the same function, as `ikd sweep --dry-run` does. Data,
            detectors and tracker must then be there.

    Raises:
        BadInput: as `run_sweep` does.
    """
    files, folder = resolve(space, recipe=recipe, runner=runner, name=name, values=values)
    files, _ = as_it_began(files, folder)
    if check:
        said = check_start(OWN, files, folder, begun=has_trials(folder), keep=False)
    if trials is not None:
        study = open_study(folder, files) if folder.exists else None
        files = SweepFiles(budgeted(files.space, study, trials), files.recipe, files.runner)
    anchors = anchor_proposals(files.space, files.recipe)
    configurations = files.space.num_configurations(files.recipe)
    grid = files.space.sampler.grid
    size = configurations * (grid.repeats if grid else 1) + sum(not anchor.in_space for anchor in anchors)
    number = int(min(files.space.budget.trials, size))
    fixed = sum(anchor.recipe.total_epochs for anchor in anchors)
    bound = fixed + (number - len(anchors)) * files.recipe.total_epochs
    expected = fixed + _expected_epochs(files, range(len(anchors), number))
    limit = files.space.budget.epochs
    measured = measured_now(files, storage_of(files.runner)) if measure else measured_before(files, folder)
    with at_home(folder.home):
        stores = forecast(files.space, files.recipe, files.runner, [one.recipe for one in anchors], number)
    return DryRun(
        name=folder.name,
        directory=folder.path,
        files=files,
        configurations=configurations,
        samples=tuple(_samples(files)),
        anchors=len(anchors),
        size=size,
        trials=number,
        epochs_bound=min(bound, limit) if limit else bound,
        epochs_expected=min(expected, limit) if limit else expected,
        measured=measured,
        checkpoints=most_checkpoints(
            files.space,
            files.recipe,
            keep_top=files.runner.keep_top,
            slots=files.runner.concurrency,
            anchors=len(anchors),
        ),
        stores=stores,
        levels=_levels(files.recipe),
        said=(said or ALL_WELL) if check else "",
        data=_data(files.recipe, folder.home),
    )


def _data(recipe: Recipe, home: Path) -> tuple[str, ...]:
    """Return what is said of the data, where they are there: nothing is drawn for it, and plans may come first.

    Raises:
        BadInput: the data cannot be trained on.
    """
    if not (annotations := training_annotations(recipe)).is_file():
        return () if recipe.data.root == DRAWN else (f"not checked: {annotations} is not there",)
    with at_home(home):
        return tuple(said_of_data(recipe))


def _levels(recipe: Recipe) -> str:
    """Return what is said of levels; nothing is drawn for it, and what does not fit is told when it is trained."""
    if not training_annotations(recipe).is_file():
        return ""
    from ikd.training import said_of_levels  # torch is slow

    try:
        return "; ".join(said_of_levels(recipe))
    except BadInput:
        return ""


def _expected_epochs(files: SweepFiles, numbers: Sequence[int]) -> float:
    """Return the epochs of sampled trials when early stopping lets its share go on; all sequences are as likely."""
    judge, sequences = build_judge(files.space, files.recipe), files.space.stage_ends(files.recipe)
    pairs = itertools.product(numbers, sequences)
    return sum(expected_epochs(judge, number, ends) for number, ends in pairs) / len(sequences)


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


def _samples_table(samples: Sequence[Mapping[str, Any]], space: SearchSpace) -> Table:
    table = Table(highlight=False)
    table.add_column("parameter", overflow="fold")
    for number in range(1, len(samples) + 1):
        table.add_column(str(number), justify="right")
    for name in dict.fromkeys(name for sample in samples for name in sample):
        domain = space.parameters.get(name)
        aliases = [domain.alias(one.get(name)) if domain is not None and name in one else None for one in samples]
        texts = [readable(sample[name], name) if name in sample else "-" for sample in samples]
        table.add_row(name, *[alias or text for alias, text in zip(aliases, texts, strict=True)])
    return table
