"""Reading a sweep from its folder, while it runs or afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.text import Text

from ikd.config import Recipe, SweepFiles
from ikd.errors import BadInput
from ikd.sweep.confirm.facts import facts_of
from ikd.sweep.confirm.rounds import said_of_phase
from ikd.sweep.confirm.standing import Standing, exported, standing
from ikd.sweep.effects.helped import said_of_earlier
from ikd.sweep.forecast.course import FILE, Course
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.teachers import said_of_teachers
from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord, recipe_of
from ikd.sweep.schedulers.rungs import said_of_stopping
from ikd.sweep.storage.store import open_store
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import COMPLETE, driver_of, existing_folder, is_driven, read_files, sweep_names
from ikd.sweep.view.ranking import choice_lines, ranking, state_of
from ikd.trial import OPEN, TrialFolder

SweepState = Literal["running", "interrupted", "complete", "failed"]
"""interrupted: the same command goes on. failed: complete, and no trial has a result."""


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is.

    Attributes:
        name: of the sweep.
        directory: its folder.
        files: space, recipe and runner of its last start.
        running: a driver is at work.
        driver: process that runs, or last ran it.
        wall_seconds: time spent by the clock, over all starts.
        trials: by number.
        complete: what its budget asks for is done.
        left: the time left, for people; empty while no driver runs.
        notes: of its study.
        earlier: trials of other sweeps that it learns from.
    """

    name: str
    directory: Path
    files: SweepFiles
    running: bool
    driver: str
    wall_seconds: float
    trials: tuple[TrialRecord, ...]
    complete: bool = False
    left: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    earlier: tuple[TrialRecord, ...] = ()

    @property
    def state(self) -> SweepState:
        """Where the sweep stands."""
        if self.running:
            return "running"
        if not self.complete:
            return "interrupted"
        return "failed" if self.best is None else "complete"

    @property
    def ended(self) -> int:
        """Number of trials that ended, however."""
        return sum(trial.state not in OPEN for trial in self.trials)

    @property
    def progress(self) -> str:
        """How many trials have ended, of how many; a sweep may have more than its budget says now."""
        budget = self.files.space.budget.trials
        return f"{self.ended} of {budget}" if self.ended <= budget else f"{self.ended}"

    @property
    def phase(self) -> str:
        """In which phase it is, and what of it and after it is left; empty where it is complete or searches alone."""
        return "" if self.complete else said_of_phase(self.files.space, self.files.recipe, self.trials)

    @property
    def data(self) -> str:
        """Root of the data that its trials learn from."""
        return self.files.recipe.data.root

    @property
    def changed(self) -> float | None:
        """When something was last written of a trial, seconds since 1970; None before anything was."""
        times = [
            time for one in self.trials for time in (one.began, one.ended, *(report.time for report in one.reports))
        ]
        return max((time for time in times if time), default=None)

    def recipe_of(self, record: TrialRecord) -> Recipe:
        """Return the recipe that a trial trains.

        Raises:
            ConfigError: its values go no longer with the base.
        """
        return recipe_of(record, self.trials, self.files.recipe)

    @cached_property
    def standing(self) -> Standing | None:
        """What is believed of its configurations; None while none has finished."""
        return standing(self.files.space, self.files.recipe, self.trials, earlier=self.earlier)

    @property
    def best(self) -> TrialRecord | None:
        """The training of the chosen configuration; before one has finished, the search's best trial so far.

        Chosen is by what is expected of a configuration, not by what was seen: see `Standing`. None without a result.
        """
        return exported(self.standing, self.trials, self.files.space.objective.mode)

    @property
    def winner(self) -> TrialRecord:
        """The same, see `best`.

        Raises:
            BadInput: none has a result.
        """
        if self.best is None:
            raise BadInput(f"sweep {self.name}: must have a trial with a result, but has none yet")
        return self.best

    def render(self) -> RenderableType:
        """Return headline and ranking for a rich console."""
        counts = Counter(state_of(trial) for trial in self.trials)
        parts = ", ".join(f"{count} {state}" for state, count in counts.items())
        who = f"run by {self.driver}" if self.running else "no driver is running; the same ikd sweep command goes on"
        rest = f", {self.left}" if self.running else ""
        who = self.state if self.state in ("complete", "failed") else who
        lines = f"{self.name}: {self.progress} trials ended ({parts or 'none started'}), "
        lines += f"{duration(self.wall_seconds)} spent{rest}; {who}\n{self.directory}"
        if not self.trials:
            return Text(lines)
        lines += f"\n{self.phase}" if self.phase else ""
        under = [*remarks(self.files, self.trials, self.earlier), *self.said_of_choice()]
        return Group(Text(lines), ranking(self.trials, self.files.space, self.standing), *map(Text, under))

    @property
    def choice(self) -> dict[str, Any] | None:
        """What is believed of the chosen configuration, see `facts_of`; None while none has finished."""
        known = self.standing
        return None if known is None else facts_of(self.files.space, self.trials, known, known.chosen)

    def said_of_choice(self) -> list[str]:
        """Return what is believed of the chosen configuration, a line each; none while none has finished."""
        return [] if self.standing is None else choice_lines(self.files.space, self.trials, self.standing)


def remarks(files: SweepFiles, records: Sequence[TrialRecord], earlier: Sequence[TrialRecord]) -> list[str]:
    """Return what is said under the table of a sweep: teachers, early stopping, earlier sweeps, where the time went.

    Args:
        files: of the sweep.
        records: every trial.
        earlier: trials of other sweeps that it learns from.
    """
    space, recipe = files.space, files.recipe
    said = [*said_of_teachers(records), *said_of_stopping(space, recipe, records)]
    said += said_of_earlier(space, recipe, records, earlier)
    return [*said, ledger(records).render(files.runner.trial.gpus)]


def sweep_status(name: str, *, home: Path | None = None, driver: bool = False) -> SweepStatus:
    """Return how far a sweep is; reads only.

    Args:
        name: of the sweep.
        home: folder that holds `sweeps`; None is the ikd home.
        driver: it is its driver that asks, and has nothing left to do: the sweep does not run any more.

    Raises:
        BadInput: there is no such sweep, or its folder is broken.
    """
    folder = existing_folder(name, home)
    files = read_files(folder)
    study = open_study(folder, files)
    running, notes, left = not driver and is_driven(folder), study.notes, ""
    # A killed driver has told nobody: what it left as running goes on with the next start, as what it saved does.
    trials = [replace(one, state="waiting") if one.state == "running" and not running else one for one in study.records]
    ended = sum(trial.state not in OPEN for trial in trials)
    done = ended >= files.space.budget.trials or notes.get(COMPLETE) == len(trials)
    if running:
        from ikd.sweep.forecast.clock import TimeLeft  # looks at the data, which a status of what is over need not

        course, slots = Course(folder.path / FILE), files.runner.concurrency
        wall = float(notes.get("wall_seconds", 0.0))
        left = TimeLeft(files, folder, course, records=lambda: trials, slots=lambda: slots, wall_seconds=lambda: wall)()
    return SweepStatus(
        name,
        folder.path,
        files,
        running,
        driver_of(folder),
        float(notes.get("wall_seconds", 0.0)),
        tuple(trials),
        complete=done and ended == len(trials),
        left=left,
        notes=notes,
        earlier=tuple(study.earlier),
    )


def sweep_statuses(*, home: Path | None = None) -> list[SweepStatus | BadInput]:
    """Return how far all sweeps of a home are, and what is wrong with those that cannot be read."""
    found: list[SweepStatus | BadInput] = []
    for name in sweep_names(home=home):
        try:
            found.append(sweep_status(name, home=home))
        except BadInput as error:
            found.append(error)
    return found


def trials_of(name: str, *, home: Path | None = None) -> list[TrialRecord]:
    """Return all trials of a sweep by number, from its study alone.

    Raises:
        BadInput: there is no such sweep.
    """
    return list(sweep_status(name, home=home).trials)


def trial_folder(name: str, number: int, *, home: Path | None = None) -> Path:
    """Return the folder of a trial with best.pth and recipe.yaml in it where it has them: an object store is asked.

    Raises:
        BadInput: there is no such sweep.
    """
    folder = existing_folder(name, home)
    return open_store(read_files(folder).runner.storage, folder.path).fetch(
        number, TrialFolder.BEST, TrialFolder.RECIPE
    )


def best_trial(name: str, *, home: Path | None = None) -> TrialRecord:
    """Return the training of the chosen configuration, see `SweepStatus.best`.

    Raises:
        BadInput: there is no such sweep, or none of its trials has a result.
    """
    return sweep_status(name, home=home).winner
