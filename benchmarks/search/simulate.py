"""A sweep without Ray, processes or a database: ikd proposes, stops, confirms and chooses, the world trains.

The rules are those of `ikd.sweep.conductor`: who is next follows from the records alone (`order_of`), anchors and what
confirms are never stopped, a spent budget stops what runs. One unit of time is an epoch, and two trials run at a time.
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
from ikd.sweep.confirm.phases import Pause, Phases
from ikd.sweep.proposals.order import order_of
from ikd.sweep.records.trials import Proposal, Report, TrialRecord
from ikd.sweep.schedulers.judges import build_judge

CONCURRENCY = 2
ANCHORS = ("paper", "student_alone")
APART = 10_000
"""Between the training seeds of two searches: one trains with some thousand seeds at most, and none is another's."""
State = tuple[tuple[str, int, str], ...]
"""What a proposal depends on: fingerprint, epochs and state of each trial, which say what its curve is."""


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
        proposed: what each trial was proposed as, and after what.
    """

    world: World
    space: SearchSpace
    recipe: Recipe
    records: list[TrialRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    expected: list[Array] = field(default_factory=list)
    proposed: list[tuple[State, Proposal]] = field(default_factory=list)


def training_seed(seed: int) -> int:
    """Return the base recipe's seed in a search."""
    return APART * seed


def simulate(world: World, how: Mapping[str, Any], *, seed: int, like: Sweep | None = None) -> Sweep:
    """Search a world.

    Args:
        world: that trains.
        how: what a search-space file says besides the parameters: sampler, scheduler, budget.
        seed: of the search; that of its trainings follows from it.
        like: a sweep of the same world with another budget. As long as sampler, seed and records are the same, so is
            what the search proposes, which is then not computed again.
    """
    space = world.base.searched(**{"anchors": list(ANCHORS), **how, "seed": seed})
    return _Simulation(Sweep(world, space, world.base.recipe(training_seed(seed))), like).run()


class _Simulation:
    def __init__(self, sweep: Sweep, like: Sweep | None) -> None:
        self._sweep, self._space, self._world = sweep, sweep.space, sweep.world
        self._known = like.proposed if like is not None and _begins(like) == _begins(sweep) else []
        self._order = order_of(sweep.space, sweep.recipe, [])
        self._phases = Phases(sweep.space, sweep.recipe)
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
        state: State = tuple((one.fingerprint, one.epochs, one.state) for one in records)
        proposal = self._proposal(state) if len(records) < self._space.budget.trials else None
        if proposal is None or isinstance(proposal, Pause):  # what runs must end first, or all is done
            return False
        self._sweep.proposed.append((state, proposal))
        self._begin(proposal)
        return True

    def _proposal(self, state: State) -> Proposal | Pause | None:
        records = self._sweep.records
        before, proposal = self._known[len(state)] if len(state) < len(self._known) else (None, None)
        if proposal is not None and before == state and proposal.role == "search" and self._phases.searching(records):
            return proposal
        return self._order.next(records)

    def _begin(self, proposal: Proposal) -> None:
        print_, number = proposal.recipe.fingerprint(), len(self._sweep.records)
        self._sweep.expected.append(self._expected(proposal))
        self._curves.append(self._world.train(self._sweep.expected[-1], print_))
        values, ends = dict(proposal.values), (self._world.epochs,)
        record = TrialRecord(
            number, str(number), proposal.anchors, values, proposal.in_space, print_, Path(), stage_ends=ends
        )
        self._sweep.records.append(replace(record, role=proposal.role, of=proposal.of, kept=proposal.kept))

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
        self._sweep.records[number] = record.with_reports((*record.reports, report), self._space.objective)
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


def _begins(sweep: Sweep) -> tuple[Recipe, Any, int]:
    """Return what decides a first proposal; the state decides the others."""
    return sweep.recipe, sweep.space.sampler, sweep.space.seed
