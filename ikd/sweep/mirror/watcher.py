"""Whoever shows what happens in a sweep."""

from __future__ import annotations

from typing import Protocol

from ikd.sweep.records.trials import TrialRecord


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
