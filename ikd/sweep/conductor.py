"""Decides what runs next, what stops, and when the sweep ends. Knows the study, not Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ikd.config import SweepFiles
from ikd.data import DataRecord
from ikd.logs import Log
from ikd.sweep.budget import seconds_left, spent_budget
from ikd.sweep.confirm.phases import Pause
from ikd.sweep.confirm.rounds import said_of_phase
from ikd.sweep.forecast.course import Course
from ikd.sweep.hopeless import met_by_all, nothing_learnt
from ikd.sweep.mirror.mirror import Mirror
from ikd.sweep.mirror.watcher import Watcher
from ikd.sweep.proposals.order import order_of
from ikd.sweep.records.teachers import said_of_teachers
from ikd.sweep.records.trials import Exploit, Proposal, TrialRecord
from ikd.sweep.same_data import HINT, changed_data, has_begun_with
from ikd.sweep.schedulers.judges import build_judge
from ikd.sweep.schedulers.population import next_exploit
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import Tracker
from ikd.trial import COST, LOSS, OPEN, State

FORCED = "forced"
"""Note of the study: a person goes on though the anchors have learnt nothing."""
CLOCK_PERIOD_SECONDS = 10.0
"""How often the spent time is written between reports."""


@dataclass(frozen=True)
class Assignment:
    """A trial for a worker.

    Attributes:
        number: in the study.
        values: to set in the base recipe.
        anchor: the anchor whose recipe it trains, None for values.
        seed: in place of the recipe's, None for that.
        recorded: epochs that the study has.
        start: trial and epoch whose weights it goes on from, None for its own.
        test: measure it on the test part: it is kept apart, and nothing is chosen by it.
    """

    number: int
    values: Mapping[str, Any]
    anchor: str | None
    seed: int | None
    recorded: int
    start: tuple[int, int] | None = None
    test: bool = False


@dataclass(frozen=True)
class Ending:
    """Why no further trial starts: `interrupted` can go on, `failed` too when it is mended, `over` is at a limit."""

    kind: Literal["interrupted", "failed", "over"]
    reason: str
    stops_running: bool = False

    @property
    def pauses(self) -> bool:
        """Whether running trials wait for the next start."""
        return self.kind != "over"


class Conductor:
    """The driver's side of a sweep.

    Args:
        files: what is searched, the base, where it runs.
        study: where everything is written.
        watcher: shows it.
        tracker: mirrors it.
        tidy: called with all trials when one has ended.
        course: is told when which trial was where.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        files: SweepFiles,
        *,
        study: SweepStudy,
        watcher: Watcher,
        tracker: Tracker,
        tidy: Callable[[Sequence[TrialRecord]], None] = lambda records: None,
        course: Course | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._space, self._recipe, self._runner = files.space, files.recipe, files.runner
        self._study, self._watcher, self.mirror = study, watcher, Mirror(tracker, files, study)
        self._tidy, self._clock = tidy, clock
        self._course = course or Course()
        self._judge = build_judge(files.space, files.recipe)
        self._order = order_of(files.space, files.recipe, study.earlier, self._places)
        self._active: dict[int, float] = {}  # trial -> clock up to which its time is counted
        self._earlier_seconds = float(study.notes.get("wall_seconds", 0.0))
        self._began = self._noted = clock()
        self._told: set[str] = set()
        self.slots = files.runner.concurrency
        self.ending: Ending | None = None
        self.fault: str | None = None  # what the person must mend before the sweep can go on
        self._recover()

    def _recover(self) -> None:
        """Rebuild early stopping from the recorded reports, and finish what the last driver had decided."""
        self._study.reconcile()
        reports = [(report, record) for record in self._study.records for report in record.reports]
        verdicts: dict[int, str | None] = {}
        for report, record in sorted(reports, key=lambda pair: pair[0].order):
            verdicts[record.number] = self._verdict(record, report.epoch, report.metrics)
            if record.state not in OPEN:
                continue
            if not math.isfinite(self._value(report.metrics)):
                self._study.end(record.number, "diverged", self._divergence(report.epoch), epoch=report.epoch)
        for record in list(self._study.records):
            if record.state in OPEN and (reason := verdicts.get(record.number)) is not None:
                self._study.end(record.number, "stopped", reason)
            elif record.state in OPEN and record.epochs >= self._total(record):
                self._study.end(record.number, "finished", "")

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return self._study.records

    @property
    def busy(self) -> bool:
        """Whether a worker holds a trial."""
        return bool(self._active)

    @property
    def wall_seconds(self) -> float:
        """Time spent by the clock, over all restarts."""
        return self._earlier_seconds + self._clock() - self._began

    def has_work(self) -> bool:
        """Tell whether a worker would get something to do."""
        self._check_budgets()
        self._check_anchors()
        if self.ending is not None and (self.ending.pauses or self.ending.stops_running):
            return False
        return any(record.state in OPEN for record in self.records) or self._proposal() is not None

    def next_trial(self) -> Assignment | None:
        """Return the next trial for a free worker, or None when there is none now; see `ending`.

        Interrupted trials go on first, then what `ikd.sweep.proposals` has next.
        """
        self.heartbeat()
        if len(self._active) >= self.slots or (self.ending is not None and self.ending.pauses):
            return None
        if self.ending is not None and self.ending.stops_running:
            return None
        record = next((one for one in self.records if one.state in OPEN and one.number not in self._active), None)
        record = record or self._new()
        if record is None:
            return None
        self._active[record.number] = self._clock()
        self._course.note("given", record.number)
        taken = (record.exploits[-1].source, record.exploits[-1].epoch) if record.exploits else None
        first = record if record.of is None else self.records[record.of]
        anchor = next(iter(first.anchors), None)
        seed = None if record.of is None else int(record.values["seed"])
        return Assignment(record.number, record.values, anchor, seed, record.epochs, taken, test=record.role == "apart")

    def _places(self, records: Sequence[TrialRecord]) -> float:
        """Return for how many seconds, over all places of the runner, the budget's hours last."""
        return seconds_left(self._space, records, self.wall_seconds, self._runner.trial.gpus, self.slots)

    def _count(self, number: int, *, write: bool = False) -> None:
        """Count the time for which a worker has held the trial since it was counted last."""
        if number in self._active:
            now = self._clock()
            self._study.hold(number, now - self._active[number], write=write)
            self._active[number] = now

    def _may_add(self) -> bool:
        return self.ending is None and len(self.records) < self._space.budget.trials

    def _new(self) -> TrialRecord | None:
        proposal = self._proposal()
        if proposal is None:
            return None
        before = self.records[-1].role if self.records else proposal.role
        record = self._study.add(proposal, self._space)
        if record.role != before:
            self._watcher.say(said_of_phase(self._space, self._recipe, self.records))
        return record

    def _proposal(self) -> Proposal | None:
        """Return what is tried next, None where there is nothing now; says so where there is nothing to come."""
        if not self._may_add():
            return None
        proposal = self._order.next(self.records)
        if proposal is None or isinstance(proposal, Pause):
            if proposal is not Pause.LATER:
                every = "the space is exhausted: every distinct configuration that the recipe takes has been tried"
                self.ending = Ending("over", every if proposal is None else proposal.value)
                self._watcher.say(f"{self.ending.reason} ({len(self.records)} of {self._space.budget.trials} trials)")
            return None
        return proposal

    def started(self, number: int, fingerprint: str) -> bool:
        """Note that a worker has begun a trial with a recipe of this fingerprint; return whether it must stop."""
        if self.records[number].state not in OPEN:
            return True
        self._count(number)
        record = self._study.started(number)
        self._course.note("start", number)
        self.mirror.began(record)
        self._watcher.started(record)
        if fingerprint != record.fingerprint:
            self.end(number, "failed", "the worker built another recipe than was proposed: its ikd is not ours")
            return True
        return self._stop_for_ending(number, record.epochs)

    def note(self, number: int, text: str, making: tuple[str, int, int] | None = None) -> bool:
        """Note what a worker is busy with; return whether the trial must stop.

        Args:
            number: the trial.
            text: for people.
            making: what trials share that it makes, how much of it is done, and how much there is; None for others.
        """
        if making is not None:
            self._course.note("making", number, *making)
        self._watcher.note(number, text)
        return self._stop_for_ending(number, self.records[number].epochs)

    def data(self, number: int, part: str, record: Mapping[str, Any]) -> bool:
        """Note what data a worker has found; return whether the trial must stop because they are not the sweep's.

        Then the whole sweep is interrupted: every trial reads them, and can go on when they are as they were.
        """
        if not self.records[number].epochs:  # one that goes on prepares later
            self._course.note("prepared", number)
        found = DataRecord.of(record)
        if change := changed_data(self._study, part, found):
            return self._wait_for_data(number, f"has changed since the sweep began: {change}")
        self.mirror.found(number, found)
        return self._stop_for_ending(number, self.records[number].epochs)

    def gone(self, number: int, part: str, reason: str) -> bool:
        """Note that a worker does not find its data; return that the trial must stop.

        The whole sweep is interrupted where they were there before; else the trial was told what it cannot train.
        """
        if not has_begun_with(self._study, part):
            return self.misfit(number, reason)
        return self._wait_for_data(number, f"is no longer there: {reason}")

    def _wait_for_data(self, number: int, what: str) -> bool:
        """Keep all trials until a person has put the data back; return that this one must stop."""
        self.fault = f"the data set {what}; {HINT}"
        self._pause(number)
        self.interrupt(self.fault)
        return True

    def report(self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float) -> bool:
        """Write a validation; return whether the trial must stop."""
        if self.records[number].state not in OPEN:
            return True
        self._count(number)
        if "gpu_hours" in self._space.costs:
            metrics = {**metrics, f"{COST}gpu_hours": seconds * (self._runner.trial.gpus or 1.0) / 3600}
        report = self._study.report(number, epoch, metrics, seconds, lambda records: self._exploit(records[number]))
        record = self.records[number]
        if report is not None:
            self.mirror.reported(record)
            self._write_clock()
            self._watcher.reported(record)
            self._tell_of_teachers()
            if not math.isfinite(self._value(metrics)):
                return self._not_a_number(number, epoch, metrics)
            if (reason := self._verdict(record, epoch, metrics)) is not None:
                self.end(number, "stopped", reason)
                return True
            if report.exploit is not None:
                self._pause(number)
                return True
        self.heartbeat()
        return self._stop_for_ending(number, epoch)

    def _not_a_number(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        """End a trial without an objective; if no trial ever had one, the data cannot be measured by it at all.

        That is no divergence, of which the sampler would learn, and every other trial would end likewise.
        """
        losses = [value for name, value in metrics.items() if name.startswith(LOSS)]
        before = [report for record in self.records for report in record.reports]
        if not all(map(math.isfinite, losses)) or any(math.isfinite(self._value(one.metrics)) for one in before):
            self.end(number, "diverged", self._divergence(epoch), epoch=epoch)
            return True
        metric = self._space.objective.metric
        self.fault = (
            f"{metric} is not a number though the losses are: the validation part has no object to measure it by"
        )
        self.end(number, "failed", self.fault)
        self.interrupt(self.fault)
        return True

    def _tell_of_teachers(self) -> None:
        """Say how well teachers see as soon as it is known, and once more when it turns out to be too little."""
        for line in said_of_teachers(self.records):
            if line not in self._told:
                self._told.add(line)
                self._watcher.say(line)

    def disk_full(self, number: int, reason: str) -> bool:
        """Keep the trial of a worker that cannot save for later, and end the sweep: no other could save either."""
        self.fault = f"trial {number}: {reason}"
        self._pause(number)
        self.interrupt(self.fault)
        return True

    def _exploit(self, record: TrialRecord) -> Exploit | None:
        """Return whose weights a trial of a population goes on from after its latest report, None for its own."""
        pbt, epoch = self._space.scheduler.pbt, record.epochs
        if pbt is None or record.anchors or epoch % pbt.interval_epochs or epoch >= self._total(record):
            return None
        if not math.isfinite(self._value(record.reports[-1].metrics)):
            return None
        exploit = next_exploit(self._space, self._recipe, self.records, record.number)
        if exploit is None:
            return None
        taken = f"goes on from trial {exploit.source} after epoch {exploit.epoch}"
        self._watcher.say(f"trial {record.number}: {taken}")
        return replace(exploit, fingerprint=self._recipe.with_values(exploit.values).fingerprint())

    def _stop_for_ending(self, number: int, epoch: int) -> bool:
        if self.ending is None or epoch >= self._total(self.records[number]):
            return False  # a trial that has reached its last epoch ends by itself
        if self.ending.pauses:
            self._pause(number)
            return True
        if self.ending.stops_running:
            self.end(number, "stopped", self.ending.reason)
            return True
        return False

    def misfit(self, number: int, reason: str) -> bool:
        """Write that a trial cannot train what it was told to, and end the sweep where the others would meet it too."""
        shared = met_by_all(self.records[number], self.records, self._recipe)
        self.end(number, "failed", reason)
        if shared:
            advice = "mend it, then the same command goes on, and with --retry-failed runs this trial again"
            self.abort(f"trial {number}: {reason}. The others would meet it too; {advice}")
        return True

    def abort(self, reason: str) -> None:
        """End the sweep for a reason that a person must mend; running trials wait, as the same command goes on."""
        if self.ending is None:
            self.ending = Ending("failed", reason)
            self._watcher.say(reason)

    def end(self, number: int, state: State, reason: str, *, epoch: int | None = None) -> None:
        """Write how a trial ended; a second end changes nothing."""
        self._count(number)
        self._let_go(number)
        record = self.records[number]
        if record.state not in OPEN:
            return
        if state == "finished" and record.metric is None:
            state, reason = "failed", f"no validation gave a finite {self._space.objective.metric}"
        record = self._study.end(number, state, reason, epoch=epoch)
        self._write_clock()
        self.mirror.ended(record)
        self._watcher.ended(record)
        self._tell_of_teachers()
        self._tidy(self.records)
        if record.anchors:
            self._check_anchors()

    def crashed(self, number: int, reason: str) -> bool:
        """Count a dead attempt; return whether the trial is tried again."""
        if self.records[number].state not in OPEN:
            return False
        self._count(number)
        Log(self.records[number].log).write(f"--- the attempt has died: {reason}")
        record = self._study.crashed(number)
        if record.crashes > self._runner.trial.max_retries:
            self.end(number, "failed", f"crashed {record.crashes} times, last: {reason}")
            return False
        self._watcher.say(f"trial {number} crashed ({reason}); goes on from its last checkpoint")
        return True

    def retries_left(self, number: int) -> int:
        """Return how many crashes a trial may still have."""
        return max(0, self._runner.trial.max_retries - self.records[number].crashes)

    def closed(self, number: int) -> None:
        """Note that a worker has let go of a trial, whatever the reason."""
        self._count(number)
        self._let_go(number)
        if self.records[number].state == "running" and self.ending is None:
            self.end(number, "failed", "the worker ended without a result")

    def retry_failed(self) -> list[int]:
        """Open failed trials again, for further attempts; return their numbers."""
        failed = [record.number for record in self.records if record.state == "failed"]
        for number in failed:
            self._study.reopen(number)
        if self.ending is not None and self.ending.kind == "failed":
            self.ending = None
        return failed

    def _let_go(self, number: int) -> None:
        if self._active.pop(number, None) is not None:
            self._course.note("left", number)

    def interrupt(self, reason: str) -> None:
        """Start no more trials and end the running ones at their next report; all of it can go on later."""
        if self.ending is None or not self.ending.pauses:
            self.ending = Ending("interrupted", reason)
            running = len(self._active)
            rest = f"; saving {running} running at the end of the epoch (again to stop at once)" if running else ""
            self._watcher.say(f"{reason}{rest}")

    def heartbeat(self) -> None:
        """Look at the clock; called several times a second."""
        self._check_budgets()
        if self._clock() - self._noted > CLOCK_PERIOD_SECONDS:
            for number in self._active:
                self._count(number, write=True)
            self._write_clock()

    def close(self) -> None:
        """Leave nothing running in the study."""
        for record in list(self.records):
            if record.state == "running":
                if self.ending is not None and self.ending.stops_running:
                    self.end(record.number, "stopped", self.ending.reason)
                else:
                    self._pause(record.number)
        self._write_clock()

    def _pause(self, number: int) -> None:
        self._count(number)
        self._let_go(number)
        self._watcher.ended(self._study.pause(number))

    def _value(self, metrics: Mapping[str, float]) -> float:
        return metrics.get(self._space.objective.metric, math.nan)

    def _divergence(self, epoch: int) -> str:
        return f"{self._space.objective.metric} is not finite at epoch {epoch}"

    def _verdict(self, record: TrialRecord, epoch: int, metrics: Mapping[str, float]) -> str | None:
        value = self._value(metrics)
        if self._judge is None or not record.is_judged or not math.isfinite(value):
            return None
        ends = record.stage_ends or (self._recipe.total_epochs,)
        costs = tuple(metrics.get(f"{COST}{name}", math.nan) for name in self._space.costs)
        return self._judge.judge(record.number, epoch, value, ends, costs)

    def _total(self, record: TrialRecord) -> int:
        return record.total_epochs(self._recipe.total_epochs)

    def _write_clock(self) -> None:
        self._noted = self._clock()
        self._study.note("wall_seconds", self.wall_seconds)

    def _check_anchors(self) -> None:
        """End a sweep whose anchors have learnt nothing, unless a person wants it all the same."""
        if self.ending is None and self._may_add() and not self._study.notes.get(FORCED):
            if reason := nothing_learnt(self.records, self._space):
                self.abort(reason)

    def _check_budgets(self) -> None:
        if self.ending is not None:
            return
        reason = spent_budget(self._space, self.records, self.wall_seconds, self._runner.trial.gpus)
        if reason is not None:
            self.ending = Ending("over", reason, stops_running=True)
            self._watcher.say(reason)
