"""Writing the report of a sweep."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from ikd.errors import refuse
from ikd.files import write_text
from ikd.report.build import elements_of
from ikd.report.page import Head, rendered
from ikd.report.source import Source
from ikd.report.tables import tables_as, write_tables
from ikd.sweep import SweepStatus, sweep_status, trial_of

PAGE = "report.html"


def write_report(
    name: str,
    to: Path | None = None,
    *,
    home: Path | None = None,
    tables: Sequence[str] = (),
    trial: int | None = None,
) -> list[Path]:
    """Write the report of a sweep: running, interrupted, failed or complete.

    Args:
        name: of the sweep.
        to: file of the page, or a folder for report.html; None is the sweep's own folder.
        home: folder that holds `sweeps`; None is the ikd home.
        tables: formats in which its tables are written beside it: `markdown`, `latex`, `csv`.
        trial: whose detections, AP and size are shown; None is the trial that is exported.

    Returns:
        What was written, the page first.

    Raises:
        BadInput: there is no such sweep, trial or format, its folder is broken, or `to` cannot be written.
    """
    forms = tables_as(tables)
    status = sweep_status(name, home=home)
    source = Source(status, None if trial is None else trial_of(status, trial))
    file = page_file(to, status.directory / PAGE)
    head, elements = head_of(status), elements_of(source)
    write_page(file, rendered(head, elements))
    return [file, *(written for form in forms for written in write_tables(form, head, elements, file))]


def after_sweep(name: str, home: Path) -> Path:
    """Write the report of a sweep whose driver asks for it at its end, and return the page.

    Args:
        name: of the sweep.
        home: folder that holds `sweeps`.
    """
    status = sweep_status(name, home=home, driver=True)
    file = status.directory / PAGE
    write_page(file, rendered(head_of(status), elements_of(Source(status))))
    return file


def page_file(to: Path | None, usual: Path) -> Path:
    """Return the file of a page: a folder holds one of the usual name.

    Raises:
        BadInput: its folder cannot be made, or it would not be a page.
    """
    file = usual if to is None else to / usual.name if to.is_dir() or not to.suffix else to
    if file.suffix not in (".html", ".htm"):
        refuse("--to", "must end in .html, or be a folder", str(to))
    return file


def write_page(file: Path, text: str) -> None:
    """Write a page, and the folder that it lies in; what cannot be said in UTF-8 is written by its codes.

    Raises:
        BadInput: it cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text.encode("utf-8", "backslashreplace").decode())
    except OSError as error:
        refuse("--to", f"must be a file that can be written ({error.strerror or error})", str(file))


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
