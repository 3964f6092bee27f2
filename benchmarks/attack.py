"""Price of the attack: seconds per image over those of a plain training step of the same detector.

Both are timed in one run on the same batch, in turn, so that a busy machine slows both::

    python -m benchmarks.attack
    python -m benchmarks.attack --data DIR      # a folder with train.json and images/

What it leaves on disk, and how fast that is read again, `benchmarks.stores` prints.

The attack runs forward and backward `steps` times, but never the weights' half of the backward pass. What of both is
spent inside convolutions is printed beside: no attack that takes these steps through this network can cost less than
its own. Ratios are those of medians and of fastest runs; on a machine with other work the latter are nearer the truth.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the memory profiler talks on standard error
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import torch
from torch import Tensor

from benchmarks.memory import peak_mib
from ikd.attack import DIFGSM
from ikd.attack.gradient import prepared_samples
from ikd.attack.images import Batch, TrainingImages, batches, open_dataset
from ikd.attack.preprocess import PixelNormaliser, valid_mask
from ikd.data import categories
from ikd.detectors import build_detector, detector_config, freeze


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    classes = categories(options.data / "train.json") if options.data else ("a", "b", "c")
    student: Any = build_detector(detector_config("ikd::retinanet_r18", classes=classes)).to(options.device)
    teacher = freeze(copy.deepcopy(student))
    batch = read(options) if options.data else synthetic(options.batch_size, options.size)
    attack = DIFGSM(steps=options.steps)
    pixels = batch.pixels.to(options.device).float()
    samples = [sample.to(options.device) for sample in batch.samples]
    rows: dict[str, Callable[[], Any]] = {
        "plain training step": training_step(student, pixels, samples, batch.size),
        f"attack, {attack.steps} steps": lambda: attack(teacher, pixels, samples),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for work in rows.values():
        work()
    peaks = {name: peak_mib(work, pixels.device) for name, work in rows.items()}
    for _ in range(options.repeats):
        for name, work in rows.items():
            times[name].append(seconds(work, pixels.device) / len(samples))
    shares = {name: convolutions(work, pixels.device) / len(samples) for name, work in rows.items()}
    report(times, peaks, shares, f"batch {len(samples)} of {tuple(pixels.shape[2:])} px on {pixels.device}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="COCO folder; default: synthetic tensors")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=160, help="input side in pixels")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def read(options: argparse.Namespace) -> Batch:
    source = TrainingImages(options.data / "train.json", options.data / "images", (options.size, options.size))
    dataset = open_dataset(source, with_masks=False)
    return next(batches(dataset, range(len(dataset)), batch_size=options.batch_size, divisor=32))


def synthetic(count: int, size: int) -> Batch:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for image_id in range(count):
        sample = DetDataSample(metainfo={"img_shape": (size, size), "img_id": image_id})
        corner = torch.rand(10, 2) * size * 0.7
        extent = 8 + torch.rand(10, 2) * (size * 0.3 - 8)
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], 1), labels=torch.randint(0, 3, (10,))
        )
        samples.append(sample)
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return Batch(torch.nn.functional.pad(pixels, (0, -size % 32, 0, -size % 32)), samples, (size, size))


def training_step(student: Any, pixels: Tensor, samples: list[Any], size: tuple[int, int]) -> Callable[[], None]:
    """Forward, backward and optimiser step, without data loading."""
    shape = (int(pixels.shape[2]), int(pixels.shape[3]))
    prepared = prepared_samples(samples, shape, [shape] * len(samples))
    normaliser, optimizer = PixelNormaliser(student), torch.optim.SGD(student.parameters(), lr=1e-6, momentum=0.9)
    valid = valid_mask(pixels, [size] * len(samples))
    student.train()

    def step() -> None:
        losses = student.loss(normaliser.forward(pixels, valid), prepared)
        terms = [item for value in losses.values() for item in (value if isinstance(value, list) else [value])]
        total: Any = torch.stack(terms).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def convolutions(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds inside convolutions, forward and backward: the least of some runs."""
    found = []
    for _ in range(3):
        with torch.profiler.profile() as profile:
            work()
        events = [event for event in profile.key_averages() if "conv" in event.key]
        on_cpu = device.type == "cpu"
        found.append(sum(event.self_cpu_time_total if on_cpu else event.self_device_time_total for event in events))
    return min(found) / 1e6


def report(times: dict[str, list[float]], peaks: dict[str, float], shares: dict[str, float], setting: str) -> None:
    columns = ("ms/image", "ratio", "fastest", "ratio", "convolutions", "ratio", "peak MiB")
    print(f"RetinaNet R18, {setting}; median and fastest of {len(next(iter(times.values())))}")
    print(f"{'':24}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    plain = next(iter(times.values()))
    for name, values in times.items():
        row = [1000 * statistics.median(values), statistics.median(values) / statistics.median(plain)]
        row += [1000 * min(values), min(values) / min(plain), 1000 * shares[name], shares[name] / min(plain)]
        cells = zip(columns, [*row, peaks[name]], strict=True)
        print(f"{name:24}" + "".join(f"{value:{len(column) + 2}.2f}" for column, value in cells))


if __name__ == "__main__":
    main()
