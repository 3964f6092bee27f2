"""The training that both sides run: it imports what a real one does, waits, and saves a checkpoint each epoch.

As `ikd.training` does for `ikd sweep`; `epochs` is what plain Tune's function calls too.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ikd.config import Recipe
from ikd.data import DataRecord, PartRecord
from ikd.trial import EpochReport, NotifyOf, Report, Shared, Timed, TrialOptions

SECONDS, NOTES = "IKD_OVERHEAD_SECONDS", "IKD_OVERHEAD_NOTES"
"""Variables: seconds of an epoch, and the file where what happens is noted."""
PARAMETERS = 500_000
METRICS = 24


class Prepared:
    """Stands for what a trial starts from."""


def note(what: str) -> None:
    """Note a moment of this process."""
    with Path(os.environ[NOTES]).open("a") as stream:
        stream.write(json.dumps({"pid": os.getpid(), "what": what, "time": time.time()}) + "\n")


def epochs(alpha: float, count: int, folder: Path) -> Iterator[EpochReport]:
    """Train: each epoch waits and writes a checkpoint of 2 MB.

    Args:
        alpha: what is searched; 1e-5 is best.
        count: of epochs.
        folder: for the checkpoint.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    seconds = float(os.environ[SECONDS])
    weights = torch.zeros(PARAMETERS)
    for epoch in range(1, count + 1):
        note("epoch begins")
        time.sleep(seconds)
        weights += 1.0
        torch.save({"epoch": epoch, "weights": weights}, folder / "last.pth.new")
        os.replace(folder / "last.pth.new", folder / "last.pth")
        value = (0.5 - 0.05 * abs(math.log10(alpha) + 5)) * (1 - 0.5**epoch)
        note("epoch ends")
        metrics = {"bbox_mAP": value} | {f"loss/{i}": 1 / epoch for i in range(METRICS)}
        yield EpochReport(epoch, metrics, folder / "last.pth")


def check(recipe: Recipe) -> None:
    """Let every recipe fit."""


def data_of(recipe: Recipe) -> DataRecord:
    """Return the same for every trial."""
    return DataRecord((), *[PartRecord("overhead", images=0, boxes=0)] * 2)


def found(recipe: Recipe) -> tuple[Shared, ...]:
    """There is nothing to make."""
    return ()


def timed(recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
    """There is nothing to measure."""
    yield from ()


def prepare(recipe: Recipe, progress: NotifyOf | None = None) -> Prepared:
    """Make nothing."""
    return Prepared()


def resumable(directory: Path) -> None:
    """Find nothing to go on from: nothing is ever interrupted here."""


def reset() -> None:
    """Leave the process as it is: nothing is kept in it."""


def run_trial(  # noqa: PLR0913 - as `ikd.training.run_trial`
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
    """Train one trial of `ikd sweep`."""
    assert report is not None
    assert checkpoint is None, "nothing is ever interrupted here"
    for done in epochs(recipe.distill.mgd.alpha, recipe.total_epochs, directory):
        metrics = json.dumps({"epoch": done.epoch, "metrics": done.metrics})
        with (directory / "log.jsonl").open("a") as stream:
            stream.write(metrics + "\n")
        report(done)


def tune_trial(config: Mapping[str, Any], count: int) -> None:
    """Train one trial of plain Tune."""
    import tempfile

    from ray import tune

    with tempfile.TemporaryDirectory() as folder:
        for done in epochs(config["alpha"], count, Path(folder)):
            tune.report(done.metrics, checkpoint=tune.Checkpoint.from_directory(folder))
