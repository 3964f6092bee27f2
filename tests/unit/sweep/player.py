"""Plays a sweep through a conductor without Ray: one trial at a time, with a death at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ikd.config import Recipe, Runner, SearchSpace, SweepFiles
from ikd.sweep.conductor import Conductor
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import NullTracker
from tests.unit.sweep.fake_training import epoch_metrics


class Death(Exception):
    pass


class SilentWatcher:
    def started(self, record: TrialRecord) -> None: ...
    def note(self, number: int, text: str) -> None: ...
    def reported(self, record: TrialRecord) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass
class Worker:
    """Trains on its own: its checkpoints outlive a driver.

    Attributes:
        saved: epochs of last.pth by trial.
        trained: every (trial, epoch) trained, in order.
    """

    saved: dict[int, int] = field(default_factory=dict)
    trained: list[tuple[int, int]] = field(default_factory=list)


class DyingStudy:
    """Passes everything on, and dies before the `writes_left`-th write to the storage."""

    WRITES = ("create_new_trial", "set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values")

    def __init__(self, study: SweepStudy, writes_left: int) -> None:
        self.left = writes_left
        storage = study._storage
        for name in self.WRITES:
            setattr(storage, name, self._guarded(getattr(storage, name)))

    def _guarded(self, write: object) -> object:
        def guarded(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise Death
            return write(*args, **kwargs)  # type: ignore[operator]

        return guarded


def conduct(
    space: SearchSpace, recipe: Recipe, study: SweepStudy, *, runner: Runner | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Conductor:  # fmt: skip
    files = SweepFiles(space, recipe, runner or Runner())
    return Conductor(files, study=study, watcher=SilentWatcher(), tracker=NullTracker(), clock=clock)


def play(conductor: Conductor, recipe: Recipe, worker: Worker) -> None:
    while (assignment := conductor.next_trial()) is not None:
        number = assignment.number
        trial = recipe.anchor(assignment.anchor) if assignment.anchor else recipe.with_values(assignment.values)
        trial = trial if assignment.seed is None else trial.with_values({"seed": assignment.seed})
        conductor.started(number, trial.fingerprint())
        saved = worker.saved.get(number, 0)
        stop = any(conductor.report(number, epoch, epoch_metrics(trial, epoch), epoch) for epoch in range(1, saved + 1))
        for epoch in range(saved + 1, trial.total_epochs + 1):
            if stop:
                break
            worker.trained.append((number, epoch))
            worker.saved[number] = epoch
            stop = conductor.report(number, epoch, epoch_metrics(trial, epoch), float(epoch))
        if not stop:
            conductor.end(number, "finished", "")
