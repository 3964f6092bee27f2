"""What a sweep asks of a tracker, and the tracker that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from ikd.trial import EndState

TrialState = Literal[EndState, "killed"]
"""killed: the sweep ended before the trial did."""
SweepState = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Page:
    """How a sweep is shown, where a tracker has pages for people.

    Attributes:
        description: Markdown.
        order_by: the metric that trials are ranked by.
        rising: the largest of it is the best.
        objective: the metric of every epoch that is sought.
        metrics: columns of the list of trials, in their order.
        params: the same, behind them.
        tags: the same, last.
        axes: parameters that every trial has, for pictures of all trials together.
    """

    description: str
    order_by: str
    rising: bool
    objective: str
    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()


class Tracker(Protocol):
    """Takes what happens in a sweep, in the order in which it happens.

    Every method but `flush` and `close` only notes the event and returns at once; none raises because a server is slow,
    away or unwilling. Everything may be said again after a restart: known runs are found, known epochs are skipped.
    """

    @property
    def writes(self) -> bool:
        """Whether anything that is said arrives anywhere."""

    def start_sweep(
        self, name: str, *, tags: Mapping[str, object], params: Mapping[str, object], page: Page | None = None
    ) -> None:
        """Open the sweep's run, or find it again; must be the first call, or `attach`.

        Args:
            name: the sweep's name, shown as the name of its run.
            tags: facts about the sweep (data fingerprint, versions, ...).
            params: settings that all trials share, by dotted name.
            page: how it is shown; None leaves that.
        """

    def attach(self, name: str) -> None:
        """Go on with a sweep that has ended, to add files to its run, whose state stays; in place of `start_sweep`."""

    def start_trial(
        self,
        number: int,
        *,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        time: float | None = None,
    ) -> None:
        """Open the run of one trial, or find it again.

        Args:
            number: the trial's number in the study, from 0.
            name: what a person reads in lists and plots.
            params: the trial's values, by dotted name. A value that is already there is never changed.
            tags: facts about the trial.
            time: when it began, seconds since 1970; None is now.
        """

    def log(self, number: int, epoch: int, metrics: Mapping[str, float], *, time: float | None = None) -> None:
        """Note the one report of an epoch.

        Args:
            number: the trial.
            epoch: 1-based; an epoch that is already there is skipped.
            metrics: values by name. NaN and infinities are named in a tag and kept out of the charts.
            time: of the report, seconds since 1970; None is now.
        """

    def end_trial(self, number: int, state: TrialState, reason: str = "", *, time: float | None = None) -> None:
        """Close a trial's run, saying why it ended and, in seconds since 1970, when (None is now)."""

    def compare(
        self,
        number: int | None,
        metrics: Mapping[str, float | None],
        *,
        step: int,
        tags: Mapping[str, str] | None = None,
        name: str = "",
        time: float | None = None,
    ) -> None:
        """Note what a trial is worth among the others, which changes with them; its state stays.

        Args:
            number: the trial, or None for the sweep's own run.
            metrics: by name; None takes back what was said. What has not changed is skipped, but for the sweep's run.
            step: epochs trained, or whatever a curve of the sweep is over.
            tags: facts about the trial that change; an empty one takes back what was said.
            name: of the run from here on; empty leaves it.
            time: of the change, seconds since 1970; None is now.
        """

    def log_data(self, number: int | None, data: Mapping[str, Any]) -> None:
        """Note what a run learns from.

        Args:
            number: the trial, or None for the sweep's own run.
            data: `name`, `digest` (a fingerprint), `source` (a path), `profile` (counts, JSON types only).
        """

    def log_artifacts(self, number: int | None, path: Path, folder: str = "") -> None:
        """Copy a file or the content of a directory to a run.

        Args:
            number: the trial, or None for the sweep's own run.
            path: what to copy; it is read when it is delivered, so it must stay where it is.
            folder: where to put it, relative to the run's artifacts; empty is their root.
        """

    def end_sweep(self, state: SweepState, reason: str = "") -> None:
        """Close the sweep's run and every run of its trials that is still open."""

    def delete_sweep(self) -> None:
        """Delete the run of the sweep and those of its trials, so that what is said next makes new ones."""

    def flush(self, timeout: float) -> bool:
        """Wait until everything is delivered, at most `timeout` seconds; says whether it is."""

    def close(self, timeout: float = 60.0) -> None:
        """Deliver what can be delivered within `timeout` seconds, keep the rest for the next start, and stop."""

    def __enter__(self) -> Tracker: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NullTracker:
    """Writes nothing, anywhere."""

    writes = False

    def start_sweep(
        self, name: str, *, tags: Mapping[str, object], params: Mapping[str, object], page: Page | None = None
    ) -> None:
        """Do nothing."""

    def attach(self, name: str) -> None:
        """Do nothing."""

    def start_trial(
        self,
        number: int,
        *,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        time: float | None = None,
    ) -> None:
        """Do nothing."""

    def log(self, number: int, epoch: int, metrics: Mapping[str, float], *, time: float | None = None) -> None:
        """Do nothing."""

    def end_trial(self, number: int, state: TrialState, reason: str = "", *, time: float | None = None) -> None:
        """Do nothing."""

    def compare(
        self,
        number: int | None,
        metrics: Mapping[str, float | None],
        *,
        step: int,
        tags: Mapping[str, str] | None = None,
        name: str = "",
        time: float | None = None,
    ) -> None:
        """Do nothing."""

    def log_data(self, number: int | None, data: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log_artifacts(self, number: int | None, path: Path, folder: str = "") -> None:
        """Do nothing."""

    def end_sweep(self, state: SweepState, reason: str = "") -> None:
        """Do nothing."""

    def delete_sweep(self) -> None:
        """Do nothing."""

    def flush(self, timeout: float) -> bool:
        """Say yes: there is never anything left to deliver."""
        return True

    def close(self, timeout: float = 60.0) -> None:
        """Do nothing."""

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
