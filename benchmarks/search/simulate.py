"""A sweep without Ray, processes or a database: ikd's own functions propose and stop, the world trains.

The rules are those of `ikd.sweep.conductor`: who is next follows from the records alone (`order_of`), anchors are never
stopped, a spent budget stops what runs. One unit of time is an epoch, and two trials run at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.search.worlds import Array, World
from ikd.config import Recipe, SearchSpace
from ikd.sweep.budget import spent_budget
from ikd.sweep.confirm.phases import Pause
from ikd.sweep.proposals.order import order_of
from ikd.sweep.records.trials import Proposal, Report, TrialRecord
from ikd.sweep.schedulers.judges import build_judge

CONCURRENCY = 2
ANCHORS = ("paper", "student_alone")


@dataclass(frozen=True)
class Event:
    """One trained epoch.

    Attributes:
        number: of the trial.
        epoch: from 1.
        value: objective (AP in 0..1).
    """

    number: int
    epoch: int
    value: float


@dataclass
class Sweep:
    """One simulated sweep.

    Attributes:
        world: that trained.
        space: that was searched, resolved.
        recipe: its base.
        records: by number.
        events: in order of time.
        expected: noise-free learning curve (E,) of each trial.
    """

    world: World
    space: SearchSpace
    recipe: Recipe
    records: list[TrialRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    expected: list[Array] = field(default_factory=list)


def simulate(world: World, how: Mapping[str, Any], *, seed: int) -> Sweep:
    """Search a world.

    Args:
        world: that trains.
        how: what a search-space file says besides the parameters: sampler, scheduler, budget.
        seed: of the search and of its trainings.
    """
    space = world.base.searched(**how, anchors=list(ANCHORS), seed=seed)
    return _Simulation(Sweep(world, space, world.base.recipe(seed))).run()


class _Simulation:
    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._space, self._world = sweep, sweep.space, sweep.world
        self._order = order_of(sweep.space, sweep.recipe, [])
        self._judge = build_judge(sweep.space, sweep.recipe)
        self._metric = sweep.space.objective.metric
        self._curves: list[Array] = []
        self._running: list[tuple[int, int]] = []  # time of the next report, trial

    def run(self) -> Sweep:
        """Train until the budget is spent or nobody proposes anything."""
        time = 0
        while True:
            while len(self._running) < CONCURRENCY and self._begun():
                heapq.heappush(self._running, (time + 1, len(self._curves) - 1))
            if not self._running:
                return self._sweep
            time, number = heapq.heappop(self._running)
            if not self._over(number):
                heapq.heappush(self._running, (time + 1, number))
            if spent_budget(self._space, self._sweep.records, 0.0, 1.0) is not None:
                for _, other in self._running:
                    self._change(other, state="stopped", reason="the budget is spent")
                return self._sweep

    def _begun(self) -> bool:
        """Begin what is next, unless there is nothing now."""
        records = self._sweep.records
        proposal = self._order.next(records) if len(records) < self._space.budget.trials else None
        if proposal is None or isinstance(proposal, Pause):  # what runs must end first, or all is done
            return False
        print_, number = proposal.recipe.fingerprint(), len(records)
        self._sweep.expected.append(self._expected(proposal))
        self._curves.append(self._world.train(self._sweep.expected[-1], print_))
        records.append(
            TrialRecord(
                number,
                str(number),
                proposal.anchors,
                dict(proposal.values),
                proposal.in_space,
                print_,
                Path(),
                stage_ends=(self._world.epochs,),
                role=proposal.role,
                of=proposal.of,
            )
        )
        return True

    def _expected(self, proposal: Proposal) -> Array:
        if proposal.of is not None:
            return self._sweep.expected[proposal.of]
        return self._world.expected(proposal.values) if proposal.in_space else self._world.alone

    def _over(self, number: int) -> bool:
        """Train one epoch; return whether the trial has ended with it."""
        record, curve = self._sweep.records[number], self._curves[number]
        epoch = record.epochs + 1
        value = float(curve[epoch - 1])
        report = Report(epoch, {self._metric: value}, float(epoch), len(self._sweep.events))
        self._sweep.events.append(Event(number, epoch, value))
        better = record.metric is None or value > record.metric
        best = {"metric": value, "best_epoch": epoch} if better else {}
        self._change(number, reports=(*record.reports, report), **best)
        reason = None
        if self._judge is not None and not record.anchors and record.role == "search":
            reason = self._judge.judge(number, epoch, value, record.stage_ends)
        if reason is not None:
            self._change(number, state="stopped", reason=reason)
        elif epoch == curve.size:
            self._change(number, state="finished")
        return reason is not None or epoch == curve.size

    def _change(self, number: int, **fields: Any) -> None:
        self._sweep.records[number] = replace(self._sweep.records[number], **fields)
