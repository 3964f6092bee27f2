"""What the moving average of a student costs beside a step: `python -m benchmarks.average [--side 320]`.

An RTMDet-tiny of random weights; the step is forward and backward pass of its loss, and the optimiser's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ikd.config import Ema
from ikd.detectors import build_detector, detector_config
from ikd.training.optim import StudentAverage

CONFIG = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the median seconds of a piece of work, after one to warm up."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=320, help="of the images, px")
    parser.add_argument("--batch", type=int, default=4, help="images of a step")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student: Any = build_detector(detector_config(CONFIG, classes=[str(one) for one in range(80)])).to(device).train()
    average = StudentAverage(Ema(enabled=True), student)
    optimizer = torch.optim.AdamW(student.parameters(), 1e-4)
    images = torch.randn(asked.batch, 3, asked.side, asked.side, device=device)

    def step() -> None:
        outputs = student._forward(images)
        sum(one.square().mean() for kind in outputs for one in kind).backward()
        optimizer.step()
        optimizer.zero_grad()

    whole, update = seconds(step, 5), seconds(lambda: average.update(student), 30)
    weights = sum(one.numel() * one.element_size() for one in average.module.state_dict().values())
    size = f"{asked.batch} images of {asked.side} px"
    print(f"{device.type}, {size}: step {1000 * whole:.1f} ms, average {1000 * update:.2f} ms")
    print(f"share {100 * update / whole:.2f} %, {weights / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
