"""Reading a sweep from its folder, while it runs or afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ikd.config import SweepFiles
from ikd.errors import BadInput
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.teachers import said_of_teachers
from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.sweep.storage.store import open_store
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import driver_of, existing_folder, is_driven, read_files
from ikd.sweep.view.live import seconds_left
from ikd.sweep.view.ranking import ranking
from ikd.trial import TrialFolder


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
    """

    name: str
    directory: Path
    files: SweepFiles
    running: bool
    driver: str
    wall_seconds: float
    trials: tuple[TrialRecord, ...]

    @property
    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        return next(iter(ranked(list(self.trials), self.files.space.objective.mode)), None)

    def render(self) -> RenderableType:
        """Return headline and ranking for a rich console."""
        counts = Counter(trial.state for trial in self.trials)
        parts = ", ".join(f"{count} {state}" for state, count in counts.items())
        who = f"run by {self.driver}" if self.running else "no driver is running; the same ikd sweep command goes on"
        budget = self.files.space.budget.trials
        left = seconds_left(
            self.trials, self.files.space, self.files.recipe.total_epochs, self.files.runner.concurrency
        )
        rest = f", about {duration(left)} left" if left and self.running else ""
        ended = len(self.trials) - counts["running"] - counts["waiting"]
        who = "complete" if not self.running and ended >= budget else who
        lines = f"{self.name}: {ended} of {budget} trials ended ({parts or 'none started'}), "
        lines += f"{duration(self.wall_seconds)} spent{rest}; {who}\n{self.directory}"
        if not self.trials:
            return Text(lines)
        spent = ledger(self.trials).render(self.files.runner.trial.gpus)
        of_teachers = [Text(line) for line in said_of_teachers(self.trials)]
        return Group(Text(lines), ranking(self.trials, self.files.space), *of_teachers, Text(spent))


def sweep_status(name: str, *, home: Path | None = None) -> SweepStatus:
    """Return how far a sweep is; reads only.

    Args:
        name: of the sweep.
        home: folder that holds `sweeps`; None is the ikd home.

    Raises:
        BadInput: there is no such sweep, or its folder is broken.
    """
    folder = existing_folder(name, home)
    files = read_files(folder)
    study = open_study(folder, files)
    spent = float(study.notes.get("wall_seconds", 0.0))
    return SweepStatus(name, folder.path, files, is_driven(folder), driver_of(folder), spent, tuple(study.records))


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
    """Return the trial with the best epoch.

    Raises:
        BadInput: there is no such sweep, or none of its trials has a result.
    """
    best = sweep_status(name, home=home).best
    if best is None:
        raise BadInput(f"sweep {name}: must have a trial with a result, but has none yet")
    return best
