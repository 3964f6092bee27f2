"""Times mmcv's operators with each set of kernels that works here, forward and backward, and prints the ratios.

`python -m benchmarks.ops` on any machine; beside the compiled mmcv it says what going without a compiler costs.
Kernels take turns within each repetition, so that other load on the machine hits all of them alike.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from ikd.ops import BACKENDS, extension, install

install()

import mmcv.ops  # noqa: E402 - needs the kernels in place

from tests.assets.ops_cases import kernels, random_boxes  # noqa: E402

REPETITIONS = 7


def available() -> dict[str, ModuleType]:
    """Kernels that load in this process, the plain ones last."""
    found: dict[str, ModuleType] = {}
    for name in BACKENDS:
        if name == "plain":
            found[name] = extension(name)
        elif install().backend == name:
            found[name] = importlib.import_module("mmcv._ext")
    return found


def workloads() -> dict[str, Callable[[], Tensor]]:
    """Return what a detector asks for, by name."""
    generator = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(generator, 5000, 1000), torch.rand(5000, generator=generator)
    features = torch.randn(2, 256, 64, 64, generator=generator, requires_grad=True)
    owner = torch.randint(0, 2, (256, 1), generator=generator).float()
    rois = torch.cat([owner, random_boxes(generator, 256, 256)], 1)
    small = torch.randn(4, 64, 32, 32, generator=generator, requires_grad=True)
    offset = torch.randn(4, 18, 32, 32, generator=generator, requires_grad=True)
    mask = torch.rand(4, 9, 32, 32, generator=generator, requires_grad=True)
    weight = torch.randn(64, 64, 3, 3, generator=generator, requires_grad=True)
    return {
        "nms, 1000 boxes": lambda: mmcv.ops.nms(boxes[:1000], scores[:1000], 0.5)[0],
        "nms, 5000 boxes": lambda: mmcv.ops.nms(boxes, scores, 0.5)[0],
        "soft_nms, 1000 boxes": lambda: mmcv.ops.soft_nms(boxes[:1000], scores[:1000])[0],
        "roi_align, 256 rois, sampling 0": lambda: mmcv.ops.roi_align(features, rois, 7, 0.25, 0, "avg", True),
        "roi_align, 256 rois, sampling 2": lambda: mmcv.ops.roi_align(features, rois, 7, 0.25, 2, "avg", True),
        "roi_align, the same, largest": lambda: mmcv.ops.roi_align(features, rois, 7, 0.25, 2, "max", True),
        "deform_conv2d, 4 x 64 x 32 x 32": lambda: mmcv.ops.deform_conv2d(small, offset, weight, 1, 1),
        "modulated, the same": lambda: mmcv.ops.modulated_deform_conv2d(small, offset, mask, weight, None, 1, 1),
    }


def measure(load: Callable[[], Tensor], module: ModuleType) -> tuple[float, float]:
    """Seconds of one forward and one backward pass (0 where there is none)."""
    with kernels(module):
        start = time.perf_counter()
        output = load()
        middle = time.perf_counter()
        if output.requires_grad:
            torch.autograd.backward(output, torch.ones_like(output))
            return middle - start, time.perf_counter() - middle
        return middle - start, 0.0


def main() -> None:
    modules = available()
    base = next(iter(modules))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {install()}")
    print(
        f"median of {REPETITIONS}, milliseconds forward / backward" + (f"; ratio to {base}" if len(modules) > 1 else "")
    )
    for name, load in workloads().items():
        times: dict[str, list[tuple[float, float]]] = {key: [] for key in modules}
        for _ in range(REPETITIONS + 1):  # the first warms up
            for key, module in modules.items():
                times[key].append(measure(load, module))
        medians = {
            key: [statistics.median(pair[i] for pair in runs[1:]) for i in (0, 1)] for key, runs in times.items()
        }
        cells = [f"{key} {medians[key][0] * 1e3:8.1f} / {medians[key][1] * 1e3:8.1f}" for key in modules]
        ratio = sum(medians["plain"]) / sum(medians[base])
        print(f"{name:38}" + "  ".join(cells) + (f"  x{ratio:.2f}" if len(modules) > 1 else ""))


if __name__ == "__main__":
    main()
