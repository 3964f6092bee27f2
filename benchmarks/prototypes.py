"""Time and memory of choosing prototypes at COCO's size, beside the greedy steps written down as they stand.

    python -m benchmarks.prototypes [--classes 80] [--images 800] [--levels 5] [--quick]

Features are drawn: clusters in both spaces, 2.5 boxes an image, 256 channels in float32. The direct way holds the
projection of every instance on every candidate and solves a 2x2 system for each pair and step; it does as many classes
as fit into `DIRECT_SECONDS`, one after the other with ours, so that other load hits both alike, and its time for all is
the ratio's. Memory is the peak of the first class, before the direct way, without what importing takes. The choices are
compared.
`--quick` takes small features: it shows that the benchmark runs, not more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.data.measuring import memory
from ikd.config import Distill
from ikd.distill.prototypes.choosing import Choice, choose, hyperparameters
from ikd.distill.prototypes.selection import dense, unit

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


def classes(count: int, instances: int, levels: int, channels: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Yield the features of a class on all levels."""
    for label in range(count):
        yield [features(instances, channels, label * levels + level) for level in range(levels)]


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
    choice, before, peak = hyperparameters(Distill().prototypes), memory("VmHWM"), 0.0
    ours, ratios, spent, equal, compared = 0.0, [], 0.0, 0, 0
    for levels in classes(asked.classes, instances, asked.levels, channels):
        for teacher, student in levels:
            start = time.perf_counter()
            found = choose(teacher, student, choice).tolist()
            took = time.perf_counter() - start
            ours, peak = ours + took, peak or memory("VmHWM") - before
            if spent < DIRECT_SECONDS:  # its memory comes after ours was read
                start = time.perf_counter()
                other = direct(teacher, student, choice)
                slow = time.perf_counter() - start
                spent, compared, equal = spent + slow, compared + 1, equal + (other == found)
                ratios.append(slow / took)
    ratio = statistics.median(ratios)
    size = f"{asked.classes} classes x {instances} instances x {asked.levels} levels, {channels} channels"
    print(f"{size}, {asked.threads} threads: {ours:.0f} s, {peak:.0f} MB more than before")
    print(f"directly: {ratio:.0f} times as long, {ours * ratio / 60:.0f} min (of {compared} choices, {equal} equal)")


if __name__ == "__main__":
    main()
