"""Inputs for mmcv's kernels, and running them under given kernels: used by the contract and by the stored reference.

A case is plain data (name of an operator, tensors, options); `run` passes it to mmcv's own Python wrapper and returns
the value and the gradient of every differentiable input for a fixed non-uniform upstream gradient.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ikd.ops import install

install()

import mmcv.ops  # noqa: E402 - needs the kernels in place


@dataclass(frozen=True)
class Case:
    """One call: `tensors`, then `options`, all by position, since autograd functions take no names."""

    op: str
    tensors: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def kernels(module: ModuleType) -> Iterator[None]:
    """Let mmcv's Python side call the kernels of `module`."""
    users = [
        loaded for name, loaded in sys.modules.items() if name.startswith("mmcv.ops.") and hasattr(loaded, "ext_module")
    ]
    assert users, "mmcv.ops holds no reference to its kernels under the name ext_module any more"
    before = [vars(user)["ext_module"] for user in users]
    try:
        for user in users:
            vars(user)["ext_module"] = module
        yield
    finally:
        for user, old in zip(users, before, strict=True):
            vars(user)["ext_module"] = old


def run(case: Case) -> dict[str, Tensor]:
    """Outputs `out0`, `out1`, ... and gradients `grad_<name>`, all on the CPU."""
    inputs = {
        name: tensor.detach().clone().requires_grad_(name in DIFFERENTIABLE) for name, tensor in case.tensors.items()
    }
    found = getattr(mmcv.ops, case.op)(*inputs.values(), *case.options.values())
    outputs = found if isinstance(found, tuple) else (found,)
    results = {f"out{i}": output.detach() for i, output in enumerate(outputs)}
    if outputs[0].requires_grad and outputs[0].numel():
        upstream = torch.linspace(-1, 1, outputs[0].numel(), dtype=outputs[0].dtype).view_as(outputs[0])
        outputs[0].backward(upstream.to(outputs[0].device))
        results |= {f"grad_{name}": tensor.grad for name, tensor in inputs.items() if tensor.grad is not None}
    return {name: tensor.cpu() for name, tensor in results.items()}


DIFFERENTIABLE = {"features", "offset", "mask", "weight", "bias", "logits"}


def random_boxes(generator: torch.Generator, count: int, size: float) -> Tensor:
    """Overlapping xyxy boxes [count, 4] of positive area, some beyond the edges of a square of `size`."""
    corner = (torch.rand(count, 2, generator=generator) * 1.2 - 0.1) * size
    extent = (0.02 + torch.rand(count, 2, generator=generator) * 0.5) * size
    return torch.cat([corner, corner + extent], 1)


def roi_align_case(seed: int, *, num_rois: int = 8, largest: int = 20, dtype: torch.dtype = torch.float32) -> Case:
    """Seeds 0..63 are all combinations of the options; the rest is random, maps at most `largest` wide."""
    generator = torch.Generator().manual_seed(seed)
    images, channels, height, width = (
        int(torch.randint(least, limit + 1, (), generator=generator))
        for least, limit in ((1, 3), (1, 5), (4, largest - 2), (4, largest))
    )
    scale = [0.25, 0.125, 0.03, 1.0][int(torch.randint(0, 4, (), generator=generator))]
    owner = torch.randint(0, images, (num_rois, 1), generator=generator).float()
    features = torch.randn(images, channels, height, width, generator=generator)
    boxes = random_boxes(generator, num_rois, 1.0) * torch.tensor([width, height] * 2) / scale
    pool, ratio, aligned, size = seed % 2, seed // 2 % 4, seed // 8 % 2, seed // 16 % 4
    options = {
        "output_size": [(7, 7), (1, 1), (2, 3), (5, 2)][size],
        "spatial_scale": scale,
        "sampling_ratio": ratio,
        "pool_mode": ["avg", "max"][pool],
        "aligned": bool(aligned),
    }
    return Case("roi_align", {"features": features.to(dtype), "rois": torch.cat([owner, boxes], 1).to(dtype)}, options)


def deform_conv_case(
    seed: int, *, modulated: bool, offset_scale: float = 2.0, dtype: torch.dtype = torch.float32
) -> Case:
    """Seeds 0..23 vary kernel, stride and dilation; with `offset_scale` 0 samples lie on pixels or the border."""
    generator = torch.Generator().manual_seed(seed)
    images, groups, deform_groups, more_y, more_x, pad_y, pad_x = (
        int(torch.randint(0, limit, (), generator=generator)) for limit in (3, 2, 2, 4, 4, 3, 3)
    )
    images, groups, deform_groups, size = images + 1, groups + 1, deform_groups + 1, (5 + more_y, 5 + more_x)
    kernel, stride = [(3, 3), (1, 1), (1, 3), (3, 2)][seed % 4], [(1, 1), (2, 1), (2, 2)][seed // 4 % 3]
    padding, dilation = (pad_y, pad_x), [(1, 1), (2, 1)][seed // 12 % 2]
    out = [(size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    taps = kernel[0] * kernel[1] * deform_groups
    tensors = {
        "features": torch.randn(images, 4, *size, generator=generator),
        "offset": torch.randn(images, 2 * taps, *out, generator=generator) * offset_scale,
        "mask": torch.rand(images, taps, *out, generator=generator),
        "weight": torch.randn(2 * groups, 4 // groups, *kernel, generator=generator),
        "bias": torch.randn(2 * groups, generator=generator),
    }
    names = ["features", "offset", "mask", "weight", "bias"] if modulated else ["features", "offset", "weight"]
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "deform_groups": deform_groups,
    }
    op = "modulated_deform_conv2d" if modulated else "deform_conv2d"
    return Case(op, {name: tensors[name].to(dtype) for name in names}, options)


def nms_case(seed: int, *, soft: bool, count: int = 60, degenerate: bool = False) -> Case:
    """Soft scores are rounded, so that some are equal; `degenerate` makes pairs of equal boxes without area."""
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(generator, count, 100)
    if degenerate:
        boxes[::2, 2:] = boxes[::2, :2]
        boxes[2::4] = boxes[0:-2:4]
    scores = torch.rand(count, generator=generator)
    if soft:
        scores = (scores * 50).round() / 50
        method = ["naive", "linear", "gaussian"][seed % 3]
        options = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": [1e-3, 0.2][seed % 2], "method": method}
        return Case("soft_nms", {"boxes": boxes, "scores": scores}, {**options, "offset": seed // 2 % 2})
    options = {"iou_threshold": [0.3, 0.5, 0.7][seed % 3], "offset": seed % 2}
    return Case(
        "nms", {"boxes": boxes, "scores": scores}, {**options, "score_threshold": [0.0, 0.2][seed % 2], "max_num": -1}
    )


def batched_nms_case(seed: int, *, kind: str, split_thr: int) -> Case:
    """Several classes; a small `split_thr` makes mmcv go class by class."""
    base = nms_case(seed, soft=False, count=80)
    labels = torch.randint(0, 4, (80,), generator=torch.Generator().manual_seed(seed))
    config = {"type": kind, "iou_threshold": 0.5, "split_thr": split_thr}
    return Case("batched_nms", {**base.tensors, "idxs": labels}, {"nms_cfg": config, "class_agnostic": bool(seed % 2)})
