"""Those who are told what happens in a sweep: the tracker, and whoever shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from ikd.sweep.confirm.standing import Standing
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


MARKED = "marked_trials"
"""Note of a study: the trials that a tracker was told of as chosen or best seen."""


def mirror_trial(tracker: Tracker, record: TrialRecord, choice: str | None = None) -> None:
    """Send a trial to the tracker, from its start; what it has already is skipped there.

    Args:
        tracker: to whom.
        record: the trial.
        choice: what it is among all trials, see `marks`; None leaves what it was told of that.
    """
    tags = {"anchor": ", ".join(record.anchors)} if record.anchors else {}
    tags |= {"choice": choice} if choice is not None else {}
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


def marks(known: Standing | None) -> dict[int, str]:
    """Return what trials are among all, by number.

    `chosen` are the trainings of the chosen configuration that took part in the choice; `exported` is that of them
    whose weights are exported; `best seen` has the highest value, which is luck in part.
    """
    if known is None:
        return {}
    words = {training.number: ["chosen"] for training in known.chosen.trainings}
    words[known.training.number].append("exported")
    words.setdefault(known.seen.number, []).append("best seen")
    return {number: ", ".join(own) for number, own in words.items()}


def mirror_choice(
    tracker: Tracker, records: Sequence[TrialRecord], known: Standing | None, before: Collection[int] = ()
) -> list[int]:
    """Mark the runs of the chosen configuration and of the best seen; return their numbers.

    Args:
        tracker: to whom.
        records: every trial.
        known: of them.
        before: those that were marked earlier: another choice takes their marks.
    """
    marked = marks(known)
    for record in records:
        if record.state not in OPEN and record.number in {*marked, *before}:
            mirror_trial(tracker, record, marked.get(record.number, ""))
            mirror_end(tracker, record)
    return sorted(marked)


def mirror_all(tracker: Tracker, records: Iterable[TrialRecord]) -> None:
    """Send every ended trial: a killed driver may not have delivered all."""
    for record in records:
        if record.state not in OPEN:
            mirror_trial(tracker, record)
            mirror_end(tracker, record)
