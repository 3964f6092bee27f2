"""Time and memory of choosing prototypes at COCO's size, beside the greedy steps written down as they stand.

    python -m benchmarks.prototypes [--classes 80] [--images 800] [--levels 5] [--quick]

Features are drawn: clusters in both spaces, 2.5 boxes an image, 256 channels in float32. They lie as in a training: the
student's of all classes in memory, the teacher's in files that are mapped; memory is the peak of it all without what
importing takes. The direct way solves a 2x2 system for each pair of an instance and a candidate, and step. It does one
class, for `DIRECT_SECONDS`, each choice after ours of the same, and its time for all is by their ratio. The choices are
compared. Seconds of the processor are those that other load on the machine changes little.
`--quick` takes small features: it shows that the benchmark runs, not more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data.measuring import memory
from ikd.config import Distill
from ikd.distill.prototypes.choosing import Choice, choose, hyperparameters
from ikd.distill.prototypes.selection import dense, unit
from ikd.training.hooks.instances import kept_features

BOXES_AN_IMAGE = 2.5
CLUSTERS = 12
DIRECT_SECONDS = 60.0


def features(count: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw features of one class on one level, the student's in another basis and noisier, [count, channels] each."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLUSTERS, channels, generator=generator)
    group = torch.randint(CLUSTERS, (count,), generator=generator)
    own = centres[group] + 0.4 * torch.randn(count, channels, generator=generator)
    return own, own.roll(7, dims=1) + 0.3 * torch.randn(count, channels, generator=generator)


def direct(teacher: Tensor, student: Tensor, choice: Choice) -> list[int]:
    """Choose as Eq. 2 stands: the objective of each candidate by what it would leave."""
    r, q = unit(teacher), unit(student)
    candidates = dense(teacher, student, bandwidth=choice.bandwidth, quantile=choice.quantile).tolist()
    a, b, chosen = r.clone(), q.clone(), []
    lam = choice.strength
    for _ in range(min(choice.count, len(candidates))):
        costs = []
        for one in candidates:
            p, o = r @ a[one], q @ b[one]
            u, v = ((1 + lam) * p + lam * o) / (1 + 2 * lam), ((1 + lam) * o + lam * p) / (1 + 2 * lam)
            left = (r - u[:, None] * a[one]).square().sum() + (q - v[:, None] * b[one]).square().sum()
            costs.append((left + lam * (u - v).square().sum(), u, v))
        best = min(range(len(candidates)), key=lambda index: float(costs[index][0]))
        _, u, v = costs[best]
        one = candidates.pop(best)
        r, q = r - u[:, None] * a[one], q - v[:, None] * b[one]
        chosen.append(one)
    return chosen


def drawn(folder: Path, classes: int, instances: int, levels: int, channels: int) -> tuple[list[Tensor], list[Tensor]]:
    """Draw features of all classes by level as a training has them: the student's in memory, the teacher's on the disk.

    Returns:
        [classes x instances, channels] each.
    """
    rows = classes * instances
    ours = [torch.empty(rows, channels) for _ in range(levels)]
    for level, student in enumerate(ours):
        teacher = _file(folder / f"{level}.npy", rows, channels)
        for label in range(classes):
            own = slice(label * instances, (label + 1) * instances)
            theirs, student[own] = features(instances, channels, label * levels + level)
            teacher[own] = theirs.numpy()
    theirs_kept = kept_features(folder, levels)
    assert theirs_kept is not None
    return ours, theirs_kept


def _file(path: Path, rows: int, channels: int) -> Any:  # numpy types it not
    return np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (rows, channels))  # type: ignore[no-untyped-call]


class Clock:
    """Seconds of the clock and of the processor, added up."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def time(self, work: Callable[[], list[int]]) -> tuple[list[int], float]:
        """Return what some work returns, and the seconds of the processor that it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        took = time.process_time() - cpu
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + took
        return found, took


def main() -> None:
    """Print times, their ratio and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--images", type=int, default=800, help="of a class")
    parser.add_argument("--levels", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    channels, instances = (8, 40) if asked.quick else (256, round(asked.images * BOXES_AN_IMAGE))
    asked.classes = 2 if asked.quick else asked.classes
    size = f"{asked.classes} classes x {instances} instances x {asked.levels} levels, {channels} channels"
    with tempfile.TemporaryDirectory() as folder:
        print(f"{size}, {asked.threads} threads, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        before = memory("VmHWM")
        ours, theirs = drawn(Path(folder), asked.classes, instances, asked.levels, channels)
        compare(ours, theirs, asked.classes, before)


def compare(ours: list[Tensor], theirs: list[Tensor], classes: int, before: float) -> None:
    """Choose for every class and level, and directly for some; print what that took."""
    choice, clock, slow, ratios, equal = hyperparameters(Distill().prototypes), Clock(), Clock(), list[float](), 0
    instances = len(ours[0]) // classes
    peak = 0.0
    for label in reversed(range(classes)):  # the direct way, whose memory is not ours, comes last
        own = slice(label * instances, (label + 1) * instances)
        for teacher, student in zip(theirs, ours, strict=True):
            found, took = clock.time(lambda: choose(teacher[own], student[own], choice).tolist())  # noqa: B023
            if label == 0 and slow.cpu < DIRECT_SECONDS:
                peak = peak or memory("VmHWM") - before
                other, longer = slow.time(lambda: direct(teacher[own], student[own], choice))  # noqa: B023
                ratios.append(longer / took)
                equal += other == found
    ratio = statistics.median(ratios)
    print(f"{clock.cpu:.0f} s of the processor, {clock.wall:.0f} s of the clock; {peak:.0f} MB more than before")
    said = f"{clock.cpu * ratio / 60:.0f} min (of {len(ratios)} choices, {equal} equal)"
    print(f"directly: {ratio:.0f} times as long, {said}")


if __name__ == "__main__":
    main()
