"""The plain kernels beside torchvision's on this device: values, gradients, time, waits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.setting import Setting
from ikd.ops import extension
from ikd.ops import torchvision as _torchvision
from tests.assets import ops_cases
from tests.assets.ops_cases import Case


def kernels(setting: Setting) -> dict[str, Any]:
    """Run every case with both sets of kernels; without torchvision the plain ones alone."""
    problem = _torchvision.why_not()
    modules = {"plain": extension("plain")} | ({} if problem else {"torchvision": extension("torchvision")})
    rows: dict[str, Any] = {"torchvision": problem or "in use"}
    for name, case in setting.in_time(_cases(setting).items()):
        here = Case(case.op, {key: tensor.to(setting.device) for key, tensor in case.tensors.items()}, case.options)
        found: dict[str, dict[str, Tensor]] = {}
        row: dict[str, Any] = {}
        for backend, module in modules.items():
            with ops_cases.kernels(module):
                found[backend] = ops_cases.run(here)
                row[backend] = setting.measure(lambda case=here: ops_cases.run(case))  # type: ignore[misc]
        if "torchvision" in found:
            row["largest_difference"] = _difference(found["plain"], found["torchvision"])
        rows[name] = row
    return rows


def _cases(setting: Setting) -> dict[str, Case]:
    generator = torch.Generator().manual_seed(0)
    count, channels, side = (300, 4, 16) if setting.small else (8800, 256, 100)
    boxes, scores = ops_cases.random_boxes(generator, count, 1000), torch.rand(count, generator=generator)
    rois = torch.cat([torch.zeros(count // 8, 1), ops_cases.random_boxes(generator, count // 8, 8 * side)], 1)
    features = torch.randn(1, channels, side, side, generator=generator)
    taps = {"offset": torch.randn(1, 18, side, side), "mask": torch.rand(1, 9, side, side)}
    weight = {"weight": torch.randn(channels, channels, 3, 3), "bias": torch.randn(channels)}
    suppress = {"iou_threshold": 0.7, "offset": 0, "score_threshold": 0.0, "max_num": -1}
    align = {"size": 7, "spatial_scale": 0.125, "sampling_ratio": 0, "pool_mode": "avg", "aligned": True}
    return {
        "nms": Case("nms", {"boxes": boxes, "scores": scores}, suppress),
        "roi_align": Case("roi_align", {"features": features, "rois": rois}, align),
        "modulated_deform_conv": Case(
            "modulated_deform_conv2d", {"features": features, **taps, **weight}, {"stride": 1, "padding": 1}
        ),
    }


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float | str]:
    """Return by output and gradient the largest difference over the largest value."""
    return {
        name: float((one[name].float() - tensor.float()).abs().max() / tensor.abs().max().clamp(min=1e-12))
        if one[name].shape == tensor.shape
        else f"shapes {tuple(one[name].shape)} and {tuple(tensor.shape)}"
        for name, tensor in other.items()
    }
