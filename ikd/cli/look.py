"""The commands that look at sweeps."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ikd.cli.arguments import (
    Json,
    Name,
    echo,
    expanded,
    names_of_sweeps,
    numbers_of_trials,
    print_json,
    refuse_unknown,
)

Trial = Annotated[int, typer.Argument(help="Number of a trial.", autocompletion=numbers_of_trials)]


def reading(what: str) -> AbstractContextManager[object]:
    """Say that something is read, if that takes more than a moment."""
    from ikd.progress import working

    return working(f"reading {what}", late=True)


def status(name: Name, as_json: Json = False) -> None:
    """Show the trials of a sweep, ranked against the anchors.

    Running or not; nothing is changed.

    Example: ikd status mine
    """
    with reading(name):
        from ikd.sweep import plain_status, sweep_status, wide_console

        found = sweep_status(name)
    if as_json:
        print_json(plain_status(found))
    else:
        wide_console().print(found.render())


def list_sweeps(as_json: Json = False) -> None:
    """List all sweeps: how far they are, and the best of each.

    Example: ikd list
    """
    with reading("the sweeps"):
        from ikd.sweep import SweepStatus, plain_sweep, sweep_statuses, sweeps_table, wide_console

        found = sweep_statuses()
    if as_json:
        for one in found:
            if not isinstance(one, SweepStatus):
                echo(f"error: {one}", err=True)
        print_json([plain_sweep(one) for one in found if isinstance(one, SweepStatus)])
    elif found:
        wide_console().print(sweeps_table(found))
    else:
        from ikd.home import home

        echo(f"no sweep under {home()}; ikd sweep FILE starts one")


def show(
    name: Name,
    trial: Annotated[
        int | None,
        typer.Argument(help="Number of a trial; without one, the sweep.", autocompletion=numbers_of_trials),
    ] = None,
    as_json: Json = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Make pictures of a trial's student, and say where they are.")
    ] = False,
) -> None:
    """Show what a sweep searches, or how a trial went.

    Of a trial: what it changes in the recipe, its curve, its log, and why it ended. With --pictures: its errors beside
    the teacher's, AP by class and size, precision over recall, confusions, and images as it was trained on them.

    Example: ikd show mine

    Example: ikd show mine 3

    Example: ikd show mine 3 --pictures
    """
    if pictures:
        _show_pictures(name, trial, as_json=as_json)
        return
    with reading(name):
        from ikd.sweep import (
            TrialSheet,
            plain_sheet,
            plain_trial_sheet,
            sweep_sheet,
            sweep_status,
            trial_of,
            wide_console,
        )

        found = sweep_status(name)
        record = trial_of(found, trial) if trial is not None else None
    if as_json:
        print_json(plain_sheet(found) if record is None else plain_trial_sheet(record, found))
    else:
        wide_console().print(sweep_sheet(found) if record is None else TrialSheet(found, record))


def _show_pictures(name: str, trial: int | None, *, as_json: bool) -> None:
    """Print where the pictures of a trial are; they are made first where there are none, or not all."""
    from ikd.errors import BadInput
    from ikd.pictures import files_of, read_measures, shows
    from ikd.progress import Steps
    from ikd.sweep import ended_trial, sweep_status
    from ikd.trial import TrialFolder

    if trial is None:
        raise BadInput(f"ikd show {name} --pictures: needs the number of a trial, as in ikd show {name} 0 --pictures")
    status = sweep_status(name)
    own = TrialFolder(ended_trial(status, trial).directory)
    folder, known = own.pictures, read_measures(own.pictures)
    if known is None or known["missing"] or (own.best.is_file() and not shows(folder, own.best)):
        with Steps() as steps:
            steps.next("loading what makes pictures")
            from ikd.sweep import picture_trial

            picture_trial(status, trial, progress=steps.count)
    missing = (read_measures(folder) or {}).get("missing", [])
    if as_json:
        print_json({"folder": str(folder), "files": [str(one) for one in files_of(folder)], "missing": missing})
        return
    for line in missing:
        echo(f"warning: {line}", err=True)
    for file in files_of(folder):
        echo(str(file))


def compare(name: Name, one: Trial, other: Trial, as_json: Json = False) -> None:
    """Show two trials of a sweep side by side.

    The fields in which they differ, their metrics and gains, and their curves.

    Example: ikd compare mine 0 3
    """
    with reading(name):
        from ikd.sweep import Comparison, plain_comparison, sweep_status, trial_of, wide_console

        found = sweep_status(name)
        pair = trial_of(found, one), trial_of(found, other)
    if as_json:
        print_json(plain_comparison(*pair, found))
    else:
        wide_console().print(Comparison(found, *pair))


def report(
    name: Name,
    other: Annotated[
        str | None, typer.Argument(help="Another sweep to compare it with.", autocompletion=names_of_sweeps)
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(callback=expanded, help="Page (.html) or folder; without it, report.html in the sweep's folder."),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option(help="Write its tables beside it, too: markdown, latex or csv. Repeatable."),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="Show detections and AP of this trial instead of the exported one.")
    ] = None,
) -> None:
    """Write a page with what a sweep has found.

    Charts and tables in one file that needs no network; of a running sweep too. Two sweeps are compared.

    Example: ikd report mine

    Example: ikd report mine other --to compared.html --tables latex
    """
    from ikd.errors import BadInput
    from ikd.progress import working

    if other is not None and trial is not None:
        raise BadInput("--trial: must come with one sweep, but two are compared")
    refuse_unknown(name, *([] if other is None else [other]))
    with working("writing the report"):
        from ikd.report import write_comparison, write_report

        if other is None:
            files = write_report(name, to, tables=tables or (), trial=trial)
        else:
            files = write_comparison(name, other, to, tables=tables or ())
    for file in files:
        echo(str(file))
