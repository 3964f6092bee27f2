"""Those who are told what happens in a sweep: the tracker, and whoever shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ikd.sweep.records.text import readable_values
from ikd.sweep.records.trials import TrialRecord
from ikd.tracking import Tracker
from ikd.trial import OPEN


class Watcher(Protocol):
    """Told what happens, to show it."""

    def started(self, record: TrialRecord) -> None:
        """Take in that a trial starts or goes on."""

    def note(self, number: int, text: str) -> None:
        """Take in what a trial is busy with before its first epoch."""

    def reported(self, record: TrialRecord) -> None:
        """Take in a new epoch of a trial."""

    def ended(self, record: TrialRecord) -> None:
        """Take in that a trial has ended, or is interrupted."""

    def say(self, text: str) -> None:
        """Show something about the sweep as a whole."""


def mirror_trial(tracker: Tracker, record: TrialRecord) -> None:
    """Send a trial to the tracker, from its start; what it has already is skipped there."""
    tags = {"anchor": ", ".join(record.anchors)} if record.anchors else {}
    tags |= {"recipe_fingerprint": record.fingerprint, "directory": str(record.directory)}
    if record.of is not None:
        tags |= {"role": record.role, "of": str(record.of)}
    if record.exploits:
        taken = [f"epoch {one.epoch} from trial {one.source}: {readable_values(one.values)}" for one in record.exploits]
        tags["exploits"] = "; ".join(taken)
    began = record.began or None
    tracker.start_trial(record.number, name=record.name, params=dict(record.proposed), tags=tags, time=began)
    for report in record.reports:
        tracker.log(record.number, report.epoch, dict(report.metrics), time=report.time or None)


def mirror_end(tracker: Tracker, record: TrialRecord) -> None:
    """Send how a trial ended."""
    assert record.state != "waiting" and record.state != "running"  # noqa: PT018 - so that mypy sees it
    tracker.end_trial(record.number, record.state, record.reason, time=record.ended or None)


def mirror_all(tracker: Tracker, records: Iterable[TrialRecord]) -> None:
    """Send every ended trial: a killed driver may not have delivered all."""
    for record in records:
        if record.state not in OPEN:
            mirror_trial(tracker, record)
            mirror_end(tracker, record)
