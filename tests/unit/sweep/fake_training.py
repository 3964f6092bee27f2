"""A training module with the interface of `ikd.training` that takes milliseconds an epoch.

The objective rises towards a plateau set by the recipe: best at distill.mgd.alpha = 1e-5. Special values of `seed` and
environment variables make trials misbehave. What happens is noted in `$IKD_FAKE_LOG`, one JSON line each.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import Recipe
from ikd.errors import BadInput, NonFiniteLoss

IMPORTED = time.time()
RESETS = 0


class StopTrial(Exception):
    pass


@dataclass(frozen=True)
class EpochReport:
    epoch: int
    metrics: dict[str, float]
    checkpoint: Path


def note(**content: Any) -> None:
    file = os.environ.get("IKD_FAKE_LOG")
    if file:
        with open(file, "a") as stream:
            stream.write(json.dumps({"pid": os.getpid(), "imported": IMPORTED, **content}) + "\n")


def reset() -> None:
    global RESETS
    RESETS += 1
    note(event="reset", resets=RESETS)


def plateau(recipe: Recipe) -> float:
    alpha = recipe.distill.mgd.alpha if recipe.distill.host == "mgd" else 1e-3
    return 0.5 - 0.05 * abs(math.log10(alpha) + 5)


def run_trial(
    recipe: Recipe,
    report: Callable[[EpochReport], None] | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    objective: tuple[str, str],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    first = int(checkpoint.read_text()) if checkpoint is not None else 0
    number = int(directory.name)
    note(event="start", trial=number, first=first, threads=os.environ.get("OMP_NUM_THREADS"))
    for epoch in range(first + 1, recipe.schedule.epochs + 1):
        time.sleep(float(os.environ.get("IKD_FAKE_SECONDS", "0.01")))
        misbehave(recipe, number, epoch)
        metrics = {"bbox_mAP": plateau(recipe) * (1 - 0.5**epoch), "loss/total": 1.0 / epoch, "bbox_APl": math.nan}
        if recipe.seed == 77 and number == 2 and epoch == 2:
            metrics["bbox_mAP"] = math.nan
        with (directory / "log.jsonl").open("a") as stream:
            stream.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
        (directory / "last.pth.new").write_text(str(epoch))
        os.replace(directory / "last.pth.new", directory / "last.pth")
        (directory / "best.pth").write_text(str(epoch))
        note(event="epoch", trial=number, epoch=epoch)
        if report is not None:
            report(EpochReport(epoch, metrics, directory / "last.pth"))
    note(event="end", trial=number)


def misbehave(recipe: Recipe, number: int, epoch: int) -> None:
    if recipe.seed == 66 and number == 2 and epoch == 2:
        raise NonFiniteLoss({"mgd": math.inf}, epoch, 7)
    if recipe.seed == 55 and number == 2:
        raise BadInput("data: has no boxes")
    if recipe.seed == 44 and number == 2 and epoch == 3:
        raise ValueError("this always breaks")
    if recipe.seed == 33 and number == 2 and epoch == 2:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    marker = Path(os.environ.get("IKD_FAKE_MARKER", "/nonexistent/marker"))
    if recipe.seed == 22 and number == 2 and epoch == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
