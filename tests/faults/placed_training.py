"""A training module of seconds whose epochs note where they ran: in placed.jsonl of the ikd home, one JSON line each.

`placed.json` there sets `seconds` of an epoch, `bytes` of a checkpoint, and whether trials `wait` for the file `go`
before their first epoch. The start of a trial is noted as epoch 0.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ikd.config import Recipe
from ikd.trial import EpochReport, Report, TrialFolder, TrialOptions
from tests.unit.sweep.fake_training import Prepared, check, data_of, epoch_metrics, found, prepare, reset, timed

__all__ = ["check", "data_of", "found", "notes", "prepare", "reset", "resumable", "run_trial", "timed"]


def notes(home: Path, *, starts: bool = False) -> list[dict[str, Any]]:
    """Return the notes of all epochs, or of all starts."""
    file = home / "placed.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return [note for note in found if (note["epoch"] == 0) == starts]


def resumable(directory: Path) -> Path | None:
    """Return last.pth: it is never cut short here."""
    last = TrialFolder(directory).last
    return last if last.is_file() else None


def run_trial(
    recipe: Recipe,
    report: Report | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    objective: tuple[str, str],
    threads: int | None,
    prepared: Prepared | None,
    options: TrialOptions,
) -> None:
    import ray

    home = Path(os.environ["IKD_HOME"])
    knobs = json.loads((home / "placed.json").read_text())
    directory.mkdir(parents=True, exist_ok=True)
    first = int(checkpoint.read_text()) if checkpoint is not None else 0
    where = {"trial": int(directory.name), "node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}

    def note(epoch: int) -> None:
        with (home / "placed.jsonl").open("a") as stream:
            stream.write(json.dumps({**where, "first": first, "epoch": epoch, "at": time.time()}) + "\n")

    note(0)
    while knobs.get("wait") and not (home / "go").exists():
        time.sleep(0.1)
    for epoch in range(first + 1, recipe.total_epochs + 1):
        time.sleep(knobs["seconds"])
        metrics = epoch_metrics(recipe, epoch)
        with (directory / "log.jsonl").open("a") as stream:
            stream.write(json.dumps({"epoch": epoch, "metrics": metrics}) + "\n")
        for name in ("last.pth", "best.pth"):
            partial = directory / f".{name}"
            partial.write_text(str(epoch).ljust(knobs.get("bytes", 0)))
            os.replace(partial, directory / name)
        note(epoch)
        if report is not None:
            report(EpochReport(epoch, metrics, directory / "last.pth"))
