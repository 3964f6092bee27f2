"""What a sweep costs besides its trainings: `ikd sweep` beside plain Ray Tune on the same training.

    python -m benchmarks.overhead [--trials 8] [--seconds 20] [--repeats 3]

Plain Tune: `OptunaSearch`, `MLflowLoggerCallback` (SQLite), a Tune checkpoint each epoch; as it comes (a new process
for each trial) and with `reuse_actors=True`. A trial imports torch, waits in 5 epochs and writes a checkpoint of 2 MB
after each. Two trials at a time; the sides take turns.

ratio: from the first epoch's begin to the last one's end, over the sum of the trainings divided by two. whole: of the
command, the start of Ray included, over the same. between: from the last epoch of a trial to the first of the next in
the same process. blocked: how long the driver is busy with one report, median and longest. writes: to the study for it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.overhead.sweeps import CONCURRENCY, EPOCHS, figures, ours, plain
from benchmarks.overhead.work import NOTES, SECONDS

SIDES = ("ikd sweep", "plain Tune", "plain Tune, reuse_actors")
COLUMNS = ("ratio", "whole", "between", "blocked", "blocked_most", "writes")


def run(side: str, folder: Path, trials: int) -> dict[str, float]:
    """Run one sweep in this process."""
    return ours(folder, trials) if side == SIDES[0] else plain(folder, trials, reuse=side == SIDES[2])


def measured(side: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one sweep in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="ikd-overhead-") as scratch:
        folder = Path(scratch)
        notes = folder / "notes.jsonl"
        environment = {**os.environ, NOTES: str(notes), SECONDS: str(options.seconds / EPOCHS)}
        command = [sys.executable, "-m", "benchmarks.overhead", "--side", side, "--folder", scratch]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--trials", str(options.trials)], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        whole = time.monotonic() - began
        found = figures([json.loads(line) for line in notes.read_text().splitlines()], options.trials)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**found, **told, "whole": whole / (found["training"] / CONCURRENCY)}


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return medians over the repeats as Markdown, and the ratio of each."""
    lines = ["| | ratio | whole | between, s | blocked, ms | longest, ms | writes | ratios |"]
    lines.append("|---|" + "---:|" * 7)
    digits = {"ratio": 3, "whole": 2, "between": 2, "blocked": 0, "blocked_most": 0, "writes": 1}
    for side, repeats in found.items():
        ratios = [f"{one['ratio']:.3f}" for one in repeats]
        cells = [_cell([one[column] for one in repeats if column in one], digits[column]) for column in COLUMNS]
        lines.append(f"| {side} | {' | '.join(cells)} | {', '.join(ratios)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: int) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{statistics.median(known):.{digits}f}" if known else ""


def main() -> None:
    """Run the sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one trial")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run(options.side, options.folder, options.trials)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for repeat in range(options.repeats):
        for side in options.sides:
            found[side].append(measured(side, options))
            print(f"{repeat + 1}/{options.repeats} {side}: {found[side][-1]}", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
