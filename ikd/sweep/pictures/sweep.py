"""The pictures that a sweep makes at its end: of its anchors, and of the training of the chosen configuration."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ikd.pictures import shows
from ikd.progress import Steps
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.students import ENDED
from ikd.sweep.study.folder import SweepFolder
from ikd.trial import TrialFolder
from ikd.world import python_module

LOOK_SECONDS = 0.2
_END_SECONDS = 5.0


def wanted(records: Sequence[TrialRecord], best: TrialRecord | None) -> list[TrialRecord]:
    """Return the trials of which a sweep makes pictures: anchors with a result, and the training that is exported."""
    chosen = [] if best is None else [best.number]
    return [one for one in records if (one.anchors or one.number in chosen) and one.state in ENDED]


def without_pictures(records: Sequence[TrialRecord], best_of: Callable[[int], TrialFolder]) -> list[TrialRecord]:
    """Return those whose student has no whole pictures yet, and is there.

    Args:
        records: the trials.
        best_of: gives the folder of a trial with its best.pth in it, where it has one.
    """
    found = []
    for record in records:
        folder = best_of(record.number)
        if folder.best.is_file() and not shows(folder.pictures, folder.best):
            found.append(record)
    return found


@dataclass
class Painted:
    """What came of it.

    Attributes:
        made: numbers of trials that have pictures now.
        failed: numbers of those of which none could be made.
        warnings: for people, a line each.
    """

    made: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def picture_trials(folder: SweepFolder, numbers: Sequence[int], beat: Callable[[], bool]) -> Painted:
    """Make pictures of trials in a process of their own, and wait for it; nothing that happens to it is an error.

    Args:
        folder: of the sweep.
        numbers: of the trials.
        beat: called several times a second; false ends the process, and what it has not finished is left out.
    """
    if not numbers:
        return Painted()
    painted, lines = Painted(), queue.Queue[dict[str, Any] | None]()
    with _worker(folder, numbers) as (process, complaint), Steps() as steps:
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        steps.next("loading what makes pictures")
        while True:
            if not beat():
                return painted
            try:
                line = lines.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                break
            _take(line, painted, steps)
        code = process.wait()
        if code:
            left = [number for number in numbers if number not in (*painted.made, *painted.failed)]
            how = f"the process that makes them ended with {code}{complaint()}"
            painted.warnings.append(
                f"pictures of trial{'s' * (len(left) > 1)} {', '.join(map(str, left))}: none: {how}"
            )
    return painted


def _take(line: dict[str, Any], painted: Painted, steps: Steps) -> None:
    number = line["trial"]
    if "what" in line:
        steps.count(f"pictures of trial {number}: {line['what']}", line["done"], line["total"])
    elif "made" in line:
        painted.made.append(number)
        painted.warnings += [f"pictures of trial {number}: {one}" for one in line["missing"]]
    else:
        painted.failed.append(number)
        painted.warnings.append(f"pictures of trial {number}: none: {line['failed']}")


@contextlib.contextmanager
def _worker(folder: SweepFolder, numbers: Sequence[int]) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Hold the process, in a group of its own with its data loaders; at the end of the block it is gone."""
    arguments = (str(folder.home), folder.name, *map(str, numbers))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            python_module("ikd.sweep.pictures.worker", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )

        def complaint() -> str:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            return f": {last[0]}" if last else ""

        try:
            yield process, complaint
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)


def _read(stream: IO[bytes] | None, lines: queue.Queue[dict[str, Any] | None]) -> None:
    """Pass on what the process says, then None."""
    assert stream is not None
    with contextlib.suppress(ValueError, OSError):  # closed by whoever ends the process
        for line in stream:
            with contextlib.suppress(ValueError):
                lines.put(json.loads(line))
    lines.put(None)
