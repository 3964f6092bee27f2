"""Reading a sweep from its folder, while it runs or afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ikd.config import SweepFiles
from ikd.errors import BadInput
from ikd.sweep.forecast.course import FILE, Course
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.sweep.storage.store import open_store
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import driver_of, existing_folder, is_driven, read_files
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
        left: the time left, for people; empty while no driver runs.
    """

    name: str
    directory: Path
    files: SweepFiles
    running: bool
    driver: str
    wall_seconds: float
    trials: tuple[TrialRecord, ...]
    left: str = ""

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
        rest = f", {self.left}" if self.running else ""
        ended = len(self.trials) - counts["running"] - counts["waiting"]
        who = "complete" if not self.running and ended >= budget else who
        lines = f"{self.name}: {ended} of {budget} trials ended ({parts or 'none started'}), "
        lines += f"{duration(self.wall_seconds)} spent{rest}; {who}\n{self.directory}"
        if not self.trials:
            return Text(lines)
        spent = ledger(self.trials).render(self.files.runner.trial.gpus)
        return Group(Text(lines), ranking(self.trials, self.files.space), Text(spent))


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
    records, running, left = tuple(study.records), is_driven(folder), ""
    if running:
        from ikd.sweep.forecast.clock import TimeLeft  # looks at the data, which a status of what is over need not

        course = Course(folder.path / FILE)
        slots, wall = files.runner.concurrency, spent
        left = TimeLeft(
            files, folder, course, records=lambda: records, slots=lambda: slots, wall_seconds=lambda: wall
        )()
    return SweepStatus(name, folder.path, files, running, driver_of(folder), spent, records, left)


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
