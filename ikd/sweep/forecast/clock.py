"""The time left of a sweep, in words, as its driver and `ikd status` say it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ikd.config import SweepFiles
from ikd.home import at_home
from ikd.sweep.confirm.rounds import ahead_of
from ikd.sweep.forecast.course import Course
from ikd.sweep.forecast.kept import read_kept
from ikd.sweep.forecast.left import Forecast, Outlook, Situation
from ikd.sweep.forecast.wants import sampled_recipes, size_of
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.folder import SweepFolder

PERIOD_SECONDS = 1.0
"""A live table asks more often than anything changes."""


class TimeLeft:
    """Asks the model of duration about a sweep that runs.

    Args:
        files: of the sweep.
        folder: of the sweep; its home says what is known of this machine.
        course: what has happened.
        records: returns the trials as they are now.
        slots: returns how many trials run at once.
        wall_seconds: returns the time spent so far.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        files: SweepFiles,
        folder: SweepFolder,
        course: Course,
        *,
        records: Callable[[], Sequence[TrialRecord]],
        slots: Callable[[], int],
        wall_seconds: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files, self._course = files, course
        self._records, self._slots, self._wall, self._clock = records, slots, wall_seconds, clock
        outside = sum(not anchor.in_space for anchor in anchor_proposals(files.space, files.recipe))
        self._size = size_of(files.space, files.recipe, outside)
        self._sampled = sampled_recipes(files.space, files.recipe)
        with at_home(folder.home):
            self._kept = read_kept()
        self._asked = float("-inf")
        self._text = ""

    def outlook(self) -> Outlook:
        """Return what is expected now."""
        records = list(self._records())
        return Outlook(
            Situation(
                self._files,
                records,
                self._course.events,
                ahead=ahead_of(self._files.space, self._files.recipe, records, self._size),
                slots=self._slots(),
                now=self._clock(),
                wall_seconds=self._wall(),
                sampled=self._sampled,
                kept=self._kept,
            )
        )

    def __call__(self) -> str:
        """Return the time left for people."""
        if self._clock() - self._asked >= PERIOD_SECONDS:
            self._asked = self._clock()
            try:
                self._text = said(self.outlook().forecast())
            except Exception:  # a sweep of days does not end because its end cannot be told
                self._text = "time left: not known"
        return self._text


def said(forecast: Forecast) -> str:
    """Write a forecast: `about 3 min 20 s left`; what all wait for comes first."""
    first = " and ".join(dict.fromkeys(item.split()[0] for item in forecast.making))
    waits = f"{first} first; " if first else ""
    if forecast.seconds is None:
        return f"{waits}time left: known after the first epoch"
    return f"{waits}about {duration(forecast.seconds)} left" if forecast.trials else "nothing left"
