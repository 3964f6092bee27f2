"""A sweep that was interrupted, and what it does next: `python tests/assets/before/record_sweep.py` stores both.

Stored by commit b827f8f, trained by its `tests.unit.sweep.fake_training`; a later tree goes on with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NAME = "recorded"
SPACE, SWEEP, STORY = FOLDER / "space.yaml", FOLDER / "sweep", FOLDER / "story.json"
TRAINING = "tests.unit.sweep.fake_training"
INTERRUPTED = (6, 2)
"""The trial, and the epoch in which the signal comes."""
TEXT = ".text"
"""Put behind the names of checkpoints, which are texts here: weights are never committed."""


def told(records: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what a sweep says of its trials, without times and places."""
    return [
        {
            "number": one.number,
            "name": one.name,
            "anchors": list(one.anchors),
            "values": dict(one.values),
            "fingerprint": one.fingerprint,
            "state": one.state,
            "reason": one.reason,
            "metric": one.metric,
            "best_epoch": one.best_epoch,
            "attempts": one.attempts,
            "reports": [[report.epoch, _finite(report.metrics)] for report in one.reports],
        }
        for one in records
    ]


def _finite(metrics: Any) -> dict[str, str | float]:
    return {name: value if value == value else "nan" for name, value in metrics.items()}


def runner() -> Any:
    """Return one trial at a time: with two, the order of their reports is the machine's."""
    from ikd.config import Runner

    return Runner.model_validate_json(json.dumps({"tracking": {"uri": "none"}, "concurrency": 1}))


def main() -> None:
    from ikd.sweep import run_sweep, trials_of

    with tempfile.TemporaryDirectory() as home:
        os.environ["IKD_HOME"] = home
        folder = Path(home) / "sweeps" / NAME
        folder.mkdir(parents=True)
        (folder / "fake.json").write_text(json.dumps({"seconds": 0.5}))
        threading.Thread(target=interrupt, args=(folder / "fake.jsonl",), daemon=True).start()
        run_sweep(SPACE, runner=runner(), name=NAME, training=TRAINING)
        interrupted = told(trials_of(NAME))
        shutil.rmtree(SWEEP, ignore_errors=True)
        keep(folder)
        run_sweep(SPACE, runner=runner(), name=NAME, training=TRAINING)
        whole = told(trials_of(NAME))
    STORY.write_text(json.dumps({"interrupted": interrupted, "whole": whole}, indent=1) + "\n")


def interrupt(notes: Path) -> None:
    """Press Ctrl-C as soon as the epoch has begun."""
    trial, epoch = INTERRUPTED
    while not (notes.is_file() and f'"event": "train", "trial": {trial}, "epoch": {epoch}' in notes.read_text()):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def keep(folder: Path) -> None:
    """Copy what a sweep leaves, the study with small pages and without what a process leaves for the next one."""
    shutil.copytree(folder, SWEEP, ignore=shutil.ignore_patterns("driver.*", "fake.*", "study.db*"))
    for file in list(SWEEP.rglob("*.pth")):
        file.rename(f"{file}{TEXT}")
    study = sqlite3.connect(folder / "study.db")
    study.execute("VACUUM INTO ?", [str(SWEEP / "study.db")])
    study.close()
    small = sqlite3.connect(SWEEP / "study.db", isolation_level=None)
    small.execute("PRAGMA journal_mode = DELETE")
    small.execute("PRAGMA page_size = 512")
    small.execute("VACUUM")
    small.close()


if __name__ == "__main__":
    main()
