"""A training module with the interface of `ikd.training` that takes milliseconds an epoch.

The objective rises towards a plateau that the recipe sets: best at distill.mgd.alpha = 1e-5. A sequence of teachers
gains late: half of that in its first stage, a quarter more afterwards. Under one recipe seed trials misbehave.
Everything that happens is noted in fake.jsonl in the sweep's folder, one JSON line each; knobs are read from fake.json
there: `seconds` of an epoch, `saving` seconds in the middle of writing a checkpoint of `bytes`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ikd.config import Recipe
from ikd.data import DataRecord, PartRecord
from ikd.errors import BadInput, CheckpointError, DataGone, DiskFull, NonFiniteLoss
from ikd.files import append, link_whole, write_whole
from ikd.home import entry
from ikd.trial import EpochReport, NotifyOf, Report, Shared, Timed, TrialOptions

IMPORTED = time.time()
RESETS = 0

MISBEHAVING = 13
"""Recipe seed under which trials 2 to 7 misbehave, each in its own way."""
NAN_METRIC, NAN_LOSS, BAD_INPUT, ALWAYS_CRASHES, OUT_OF_MEMORY, KILLED_ONCE = 2, 3, 4, 5, 6, 7
FULL_DISK = "full"
"""While a file of this name is in the sweep's folder, no checkpoint can be written."""
NO_DATA = "no data"
"""While a file of this name is in the sweep's folder, the data are not there."""


class Prepared:
    """Stands for what a trial starts from."""


DATA = DataRecord(("disc",), *[PartRecord("fake", images=3, boxes=5)] * 2)


def note(folder: Path, **content: Any) -> None:
    with (folder / "fake.jsonl").open("a") as stream:
        stream.write(json.dumps({"pid": os.getpid(), "imported": IMPORTED, **content}) + "\n")


def notes(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = (folder / "fake.jsonl").read_text().splitlines()
    return [content for content in map(json.loads, lines) if content["event"] == event]


def reset() -> None:
    global RESETS
    RESETS += 1


def plateau(recipe: Recipe) -> float:
    alpha = recipe.distill.mgd.alpha if recipe.distill.host == "mgd" else 1e-2
    return 0.5 - 0.05 * abs(math.log10(alpha) + 5)


def epoch_metrics(recipe: Recipe, epoch: int) -> dict[str, float]:
    first = recipe.stages[0].last
    factor = 1.0 if len(recipe.stages) == 1 else 0.5 if epoch <= first else 1.25
    return {"bbox_mAP": factor * plateau(recipe) * (1 - 0.5**epoch), "loss/total": 1.0 / epoch, "bbox_APl": math.nan}


def check(recipe: Recipe) -> None:
    """Every recipe fits."""


def data_of(recipe: Recipe) -> DataRecord:
    """Return what stands for the data of a trial."""
    return DATA


def found(recipe: Recipe) -> tuple[Shared, ...]:
    """There is nothing to make."""
    return ()


def timed(recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
    """There is nothing to measure."""
    yield from ()


def prepare(recipe: Recipe, progress: NotifyOf | None = None) -> Prepared:
    """There is nothing to make; the knob `preparing` says for how many seconds it is made, `shared` that one does."""
    for folder in Path(os.environ["IKD_HOME"]).glob("sweeps/*"):
        knobs = json.loads((folder / "fake.json").read_text()) if (folder / "fake.json").is_file() else {}
        if "preparing" in knobs:
            with entry("teachers", "fake") if knobs.get("shared") else contextlib.nullcontext():
                _make(folder, int(10 * knobs["preparing"]), progress)
    return Prepared()


def _make(folder: Path, total: int, progress: NotifyOf | None) -> None:
    note(folder, event="prepare")
    for done in range(total):
        time.sleep(0.1)
        if progress is not None:
            progress("the teacher", done, total)


def resumable(directory: Path) -> Path | None:
    """Return the newest checkpoint that is whole."""
    for file in (directory / "last.pth", directory / "previous.pth"):
        try:
            saved_epoch(file)
        except CheckpointError:
            continue
        return file
    return None


def saved_epoch(checkpoint: Path) -> int:
    try:
        content = json.loads(checkpoint.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint}: must be a whole checkpoint: {error}") from error
    return int(content["epoch"] if isinstance(content, dict) else content)


def save(directory: Path, epoch: int, knobs: dict[str, Any]) -> None:
    """Write last.pth as `ikd.training` does: beside it first, the one before is kept."""
    folder, last = directory.parent.parent, directory / "last.pth"
    if (folder / FULL_DISK).exists():
        raise DiskFull(str(last), 1, 0)
    content = json.dumps({"epoch": epoch, "weights": "w" * int(knobs.get("bytes", 10))}).encode()

    def write(file: BinaryIO) -> None:
        file.write(content[:20])
        if "saving" in knobs:
            note(folder, event="saving", trial=int(directory.name), epoch=epoch)
            time.sleep(knobs["saving"])
        file.write(content[20:])

    if last.is_file():
        link_whole(last, directory / "previous.pth")
    write_whole(last, write, durable=False)


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
    directory.mkdir(parents=True, exist_ok=True)
    folder, number = directory.parent.parent, int(directory.name)
    first = saved_epoch(checkpoint) if checkpoint is not None else 0
    note(folder, event="start", trial=number, first=first, resets=RESETS, home=os.environ["IKD_HOME"], threads=threads)
    knobs = json.loads((folder / "fake.json").read_text()) if (folder / "fake.json").is_file() else {}
    for epoch in range(first + 1, recipe.total_epochs + 1):
        note(folder, event="train", trial=number, epoch=epoch)
        time.sleep(knobs.get("seconds", 0.0))
        misbehave(recipe, directory, epoch)
        metrics = epoch_metrics(recipe, epoch)
        if recipe.seed == MISBEHAVING and number == NAN_METRIC and epoch == 2:
            metrics["bbox_mAP"] = math.nan
        append(directory / "log.jsonl", json.dumps({"epoch": epoch, "metrics": metrics}) + "\n")
        save(directory, epoch, knobs)
        (directory / "best.pth").write_text(str(epoch))
        note(folder, event="epoch", trial=number, epoch=epoch)
        if report is not None:
            report(EpochReport(epoch, metrics, directory / "last.pth"))
    note(folder, event="end", trial=number)


def misbehave(recipe: Recipe, directory: Path, epoch: int) -> None:
    if (directory.parent.parent / NO_DATA).exists():
        raise DataGone("train.json is not there")
    number = int(directory.name) if recipe.seed == MISBEHAVING else 0
    if number == NAN_LOSS and epoch == 2:
        raise NonFiniteLoss({"mgd": math.inf}, epoch, 7)
    if number == BAD_INPUT:
        raise BadInput("data: has no boxes")
    if number == ALWAYS_CRASHES and epoch == 3:
        raise ValueError("this always breaks")
    if number == OUT_OF_MEMORY and epoch == 2:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    marker = directory / "killed"
    if number == KILLED_ONCE and epoch == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
