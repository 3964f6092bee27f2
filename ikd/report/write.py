"""Writing the report of a sweep."""

from __future__ import annotations

import datetime
from pathlib import Path

from ikd.files import write_text
from ikd.report.build import elements_of
from ikd.report.page import Head, rendered
from ikd.report.source import Source
from ikd.sweep import SweepStatus, sweep_status

PAGE = "report.html"


def write_report(name: str, to: Path | None = None, *, home: Path | None = None) -> Path:
    """Write the report of a sweep, running or not.

    Args:
        name: of the sweep.
        to: file of the page; None is report.html in the sweep's folder.
        home: folder that holds `sweeps`; None is the ikd home.

    Returns:
        The file.

    Raises:
        BadInput: there is no such sweep, or its folder is broken.
    """
    status = sweep_status(name, home=home)
    source = Source(status)
    file = to or status.directory / PAGE
    write_text(file, rendered(head_of(status), elements_of(source)))
    return file


def head_of(status: SweepStatus) -> Head:
    """Return what stands on top of the report of a sweep."""
    lines = status.said_of_choice() or [_without(status)]
    made = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    facts = [
        ("recipe", status.files.recipe.name),
        ("data", status.data),
        ("optimised", status.files.space.objective.metric),
        ("epochs a trial", str(status.files.recipe.total_epochs)),
        ("report made", made),
    ]
    return Head(f"Sweep {status.name}", _state(status), lines, facts)


def _state(status: SweepStatus) -> str:
    text = f"{status.state}: {status.progress} trials ended"
    if status.state == "interrupted":
        text += "; the same ikd sweep command goes on"
    return text + (f"; {status.phase}" if status.phase else "") + (f"; {status.left}" if status.left else "")


def _without(status: SweepStatus) -> str:
    if not status.trials:
        return "No trial has begun: there is nothing to report yet."
    if status.state == "failed":
        return "No trial has a result: every one has failed or diverged, see Failures."
    return "No trial of the search has finished yet: nothing is chosen, and what follows is of trainings under way."
