"""One search on a surrogate: its trained epochs in order, by our own parts or by Ray Tune's."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from optuna.storages import InMemoryStorage, RDBStorage

from benchmarks.search.surrogate import Surrogate
from ikd.config import Runner, SweepFiles
from ikd.sweep.conductor import Conductor
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import NullTracker

CONCURRENCY = 2
RUNGS = {"grace_epochs": 2, "reduction_factor": 3}
"""As in search_spaces/quickstart.yaml; the same for ours and Ray's."""
NEVER = 100_000
"""Trials that no search reaches: the epochs end it."""
METHODS: Mapping[str, Mapping[str, Any]] = {
    "random": {"sampler": {"random": {}}, "scheduler": {"none": {}}},
    "TPE": {"sampler": {"tpe": {}}, "scheduler": {"none": {}}},
    "random + ASHA": {"sampler": {"random": {}}, "scheduler": {"asha": RUNGS}},
    "TPE + ASHA": {"sampler": {"tpe": {}}, "scheduler": {"asha": RUNGS}},
}
"""Ours: what a search-space file says besides the parameters."""
OURS, PLAIN = "TPE + ASHA", "plain Tune"


@dataclass
class Run:
    """One search.

    Attributes:
        events: trial, epoch and objective (AP in 0..1) of every trained epoch, in order.
        values: of each trial.
        expected: objective of each trial when trained to the end, at its best epoch, averaged over training seeds.
    """

    events: list[tuple[int, int, float]] = field(default_factory=list)
    values: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    expected: dict[int, float] = field(default_factory=dict)


class _Silent:
    def started(self, record: TrialRecord) -> None: ...
    def note(self, number: int, text: str) -> None: ...
    def reported(self, record: TrialRecord) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def say(self, text: str) -> None: ...


def ours(surrogate: Surrogate, method: str, *, seed: int, epochs: int) -> Run:
    """Search with the parts that `ikd sweep` has, two trials at a time, one unit of time an epoch.

    Args:
        surrogate: trains, and knows what is searched.
        method: of `METHODS`.
        seed: of the sampler and of every training.
        epochs: after so many trained ones the search is cut off.
    """
    recording = surrogate.recording
    space = recording.searched(**METHODS[method], anchors=["paper"], budget={"trials": NEVER}, seed=seed)
    recipe = recording.recipe(seed)
    storage = cast(RDBStorage, InMemoryStorage())  # the same calls, several times as fast
    study = SweepStudy(storage, "search", Path(), objective=space.objective)
    files = SweepFiles(space, recipe, Runner.model_validate({"concurrency": CONCURRENCY}))
    conductor = Conductor(files, study=study, watcher=_Silent(), tracker=NullTracker())
    run = Run()

    def begun(time: int) -> tuple[int, int, list[float]]:
        assignment = conductor.next_trial()
        assert assignment is not None, "the space is continuous and the trials are never used up"
        number, values = assignment.number, assignment.values
        conductor.started(number, conductor.records[number].fingerprint)
        run.values[number] = values
        run.expected[number] = float(surrogate.expected(values).max())
        return time + 1, number, [float(value) for value in surrogate.train(recipe.with_values(values), values)]

    queue = [begun(0) for _ in range(CONCURRENCY)]
    while len(run.events) < epochs:
        time, number, curve = heapq.heappop(queue)
        epoch = conductor.records[number].epochs + 1
        run.events.append((number, epoch, curve[epoch - 1]))
        stopped = conductor.report(number, epoch, {space.objective.metric: curve[epoch - 1]}, float(epoch))
        if not stopped and epoch == len(curve):
            conductor.end(number, "finished", "")
        over = stopped or epoch == len(curve)
        heapq.heappush(queue, begun(time) if over else (time + 1, number, curve))
    return run
