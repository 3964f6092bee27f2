"""Files for the run of a sweep in its tracker, also after the sweep has ended."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ikd.errors import BadInput
from ikd.files import whole
from ikd.sweep.mirror.announce import FILES
from ikd.sweep.study.folder import SweepFolder, driving, experiment_of, read_files
from ikd.tracking import IDENTITY, open_tracker

SECONDS = 30.0
"""What a tracker gets for them; the rest waits on disk for the next start of the sweep, or `ikd track rebuild`."""


def is_tracked(folder: SweepFolder) -> bool:
    """Tell whether a tracker was ever told of a sweep."""
    return (folder.path / IDENTITY).is_file() and read_files(folder).runner.tracking.uri != "none"


def track_files(folder: SweepFolder, files: Sequence[Path], place: str = "") -> bool:
    """Copy files to the run of a sweep; a tracker that is away gets them later, like everything else.

    A sweep that was never tracked is left as it is. While a driver runs the sweep, what cannot be delivered now is not
    kept: the driver alone writes the file for that.

    Args:
        folder: of the sweep.
        files: those of other folders are copied into the sweep's: what waits for a tracker lies there, and nothing
            else is sent.
        place: folder among the artifacts of the run; empty is their root.

    Returns:
        Whether all of it has arrived.
    """
    if not is_tracked(folder):
        return False
    sweep = read_files(folder)
    uri = sweep.runner.tracking.uri
    with (
        _spooling(folder) as spool,
        open_tracker(
            uri, home=folder.home, folder=folder.path, spool=spool, experiment=experiment_of(sweep)
        ) as tracker,
    ):
        tracker.attach(folder.name)
        for file in files:
            tracker.log_artifacts(None, _within(folder, file, place), place)
        return tracker.flush(SECONDS)


def _within(folder: SweepFolder, file: Path, place: str) -> Path:
    """Return a file in the sweep's folder, copied where it lies elsewhere."""
    if file.resolve().is_relative_to(folder.path.resolve()):
        return file
    copy = folder.path / FILES / place / file.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    with whole(copy) as partial:
        shutil.copyfile(file, partial)
    return copy


@contextlib.contextmanager
def _spooling(folder: SweepFolder) -> Iterator[bool]:
    """Hold the sweep as a driver does, where none does; tell whether it is held."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(driving(folder))
        except BadInput:
            yield False
            return
        yield True
