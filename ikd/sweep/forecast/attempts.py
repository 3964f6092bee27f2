"""What trials did in which time, read off the course and the study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ikd.sweep.forecast.course import Event
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.trial import TRAIN_SECONDS, VAL_SECONDS


@dataclass
class Attempt:
    """A worker held a trial.

    Attributes:
        trial: its number.
        given: when it was handed out.
        cold: the worker's process was new, and loaded what trains.
        start: when the worker had it; None before.
        making: what it told of shared things that it made.
        prepared: when all that it shares was there; None before, and for one that goes on.
        left: when the worker let go; None before.
        reports: of this attempt.
    """

    trial: int
    given: float
    cold: bool
    start: float | None = None
    making: list[Event] = field(default_factory=list)
    prepared: float | None = None
    left: float | None = None
    reports: tuple[Report, ...] = ()

    @property
    def ready(self) -> float | None:
        """When it had all that it shares, or was known to have it; None before."""
        return self.prepared if self.prepared is not None else None

    def epochs(self, before: int) -> list[tuple[int, float, int]]:
        """Return what its epochs took: the last epoch of a span, seconds of one of them, how many there were.

        Args:
            before: epochs that the trial had when it was handed out.
        """
        found, epoch, then = [], before, math.nan
        for report in self.reports:
            count = report.epoch - epoch
            pure = report.metrics.get(TRAIN_SECONDS, 0.0) + report.metrics.get(VAL_SECONDS, 0.0)
            took = (report.time - then) / count if math.isfinite(then) else pure
            if took > 0:
                found.append((report.epoch, took, count))
            epoch, then = report.epoch, report.time
        return found


def attempts_of(records: Sequence[TrialRecord], events: Iterable[Event], slots: int) -> list[Attempt]:
    """Return the attempts of a sweep in the order in which they were handed out.

    Args:
        records: the trials.
        events: of the course.
        slots: trials at once: as many processes are new at each start.
    """
    found: list[Attempt] = []
    held: dict[int, Attempt] = {}
    fresh = slots
    for event in events:
        if event.what == "begin":
            fresh = slots
        if event.what in ("begin", "over"):
            for one in held.values():  # a killed driver says nothing
                one.left = one.left or event.time
            held.clear()
        if event.what == "given":
            held[event.trial] = one = Attempt(event.trial, event.time, fresh > 0)
            fresh -= 1
            found.append(one)
        elif (one_ := held.get(event.trial)) is not None:
            _take(one_, event)
            if event.what == "left":
                del held[event.trial]
    _give_reports(found, {record.number: record for record in records})
    return found


def _take(attempt: Attempt, event: Event) -> None:
    if event.what == "making":
        attempt.making.append(event)
    elif event.what in ("start", "prepared", "left"):
        setattr(attempt, event.what, event.time)


def _give_reports(attempts: Sequence[Attempt], records: Mapping[int, TrialRecord]) -> None:
    for one in attempts:
        end = one.left if one.left is not None else math.inf
        reports = records[one.trial].reports if one.trial in records else ()
        one.reports = tuple(report for report in reports if one.given <= report.time <= end + 1.0)
