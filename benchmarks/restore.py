"""How long a sweep of many ended trials takes to start again.

    python -m benchmarks.restore [--trials 200] [--epochs 12] [--metrics 30]

A study is written by the sweep's own conductor with made-up metrics, then read as a new driver would: the study, the
conductor (early stopping is rebuilt from all reports), the first proposal, and what goes to MLflow, which a thread of
its own delivers: once to an empty database, and once to one that has it all. Ray's start comes on top.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, event

from ikd.config import SweepFiles, load_sweep
from ikd.sweep.conductor import Conductor
from ikd.sweep.mirror.mirror import Mirror
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import NullTracker, Tracker, open_tracker

SPACE = Path(__file__).resolve().parents[1] / "search_spaces" / "quickstart.yaml"


class Nobody:
    """Watches nothing."""

    def started(self, record: TrialRecord) -> None:
        """Do nothing."""

    def note(self, number: int, text: str) -> None:
        """Do nothing."""

    def reported(self, record: TrialRecord) -> None:
        """Do nothing."""

    def ended(self, record: TrialRecord) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""


def open_study(folder: Path, files: SweepFiles) -> SweepStudy:
    """Open the study as a driver does."""
    objective = files.space.objective
    return SweepStudy(open_storage(folder, "sqlite"), "s", folder, objective=objective)


def make_files(trials: int, epochs: int) -> SweepFiles:
    """Return the quickstart with another budget and no early stopping: all trials report all epochs."""
    files = load_sweep(SPACE, None, {"schedule.epochs": epochs})
    budget = files.space.budget.model_copy(update={"trials": trials})
    return SweepFiles(files.space.model_copy(update={"budget": budget}), files.recipe, files.runner)


def write_study(folder: Path, files: SweepFiles, metrics: int) -> None:
    """Let a conductor make all trials; each reports every epoch, whatever early stopping would say."""
    study = open_study(folder, files)
    conductor = Conductor(files, study=study, watcher=Nobody(), tracker=NullTracker())
    while (assignment := conductor.next_trial()) is not None:
        number = assignment.number
        conductor.started(number, study.records[number].fingerprint)
        best = 0.5 - 0.1 * abs(math.sin(1 + number))
        for epoch in range(1, files.recipe.total_epochs + 1):
            value = best * (1 - 0.7**epoch)
            conductor.report(
                number, epoch, {"bbox_mAP": value} | {f"m{k}": value / k for k in range(1, metrics)}, epoch
            )
        conductor.end(number, "finished", "")


@contextlib.contextmanager
def unsynced() -> Iterator[None]:
    """Let SQLite not wait for the disk: the study is only made to be read."""

    def connected(connection: object, record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)


class Clock:
    """Rows of what took how long."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []
        self._began = time.perf_counter(), time.process_time()

    def lap(self, what: str) -> None:
        """Note the time since the last lap."""
        now = time.perf_counter(), time.process_time()
        self.rows.append((what, now[0] - self._began[0], now[1] - self._began[1]))
        self._began = time.perf_counter(), time.process_time()


def mirror(tracker: Tracker, files: SweepFiles, study: SweepStudy, clock: Clock, where: str) -> None:
    """Tell a tracker all trials."""
    clock.lap("")
    tracker.start_sweep("s", tags={}, params={})
    told = Mirror(tracker, files, study)
    told.everything()
    told.compare(last=True)
    clock.lap(f"queue {where}")
    tracker.flush(600.0)
    clock.lap(f"  its delivery by the thread, {where}")
    tracker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 200), ("epochs", 12), ("metrics", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, clock = Path(temporary), Clock()
        with unsynced():
            write_study(folder, make_files(options.trials, options.epochs), options.metrics)
        clock.lap(f"(writing {options.trials} trials)")
        files = make_files(options.trials + 1, options.epochs)
        study = open_study(folder, files)
        clock.lap("open and read the study")
        conductor = Conductor(files, study=study, watcher=Nobody(), tracker=NullTracker())
        clock.lap("rebuild early stopping")
        assert conductor.next_trial() is not None
        clock.lap("first proposal")
        for where in ("MLflow, empty", "MLflow that has it all"):
            mirror(open_tracker("local", home=folder, folder=folder), files, study, clock, where)
    table = Table("step", "seconds", "of CPU")
    for what, seconds, busy in clock.rows:
        if what:
            table.add_row(what, f"{seconds:.2f}", f"{busy:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
