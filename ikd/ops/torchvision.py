"""The kernels of mmcv that torchvision has too, by way of torchvision's own C++ and CUDA operators.

What torchvision's operators cannot do (an nms that counts widths from 1, largest-sample RoIAlign) is left to the plain
kernels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ikd.ops import nms as _nms
from ikd.ops import roi_align as _roi_align
from ikd.ops.deform_conv import Geometry, Grads, Inputs, on_map
from ikd.ops.kernel import kernel, working


def why_not() -> str | None:
    """Say why torchvision's kernels cannot be used on this machine, or None if they can."""
    try:
        importlib.import_module("torchvision")
        operators = torch.ops.torchvision
        keep = operators.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
        if keep.tolist() != [0]:
            return "torchvision's nms gives a wrong answer"
        if torch.cuda.is_available() and operators._cuda_version() < 0:
            return "torchvision was built without CUDA"
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    # a torchvision built for another torch fails in many ways: missing libraries, missing operators, undefined symbols
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"torchvision's kernels do not load ({str(error).splitlines()[0]})"
    return None


@kernel
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Do as `ikd.ops.nms.nms`."""
    if offset:
        return _nms.nms(boxes, scores, iou_threshold, offset)
    return torch.ops.torchvision.nms(working(boxes), working(scores), float(np.float32(iou_threshold)))


@kernel
def roi_align_forward(
    features: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **options: float
) -> None:
    """Do as `ikd.ops.roi_align.roi_align_forward`."""
    pooling = _roi_align.Pooling(**options)  # type: ignore[arg-type]
    if pooling.pool_mode == _roi_align.MAX:
        _roi_align.roi_align_forward(features, rois, output, argmax_y, argmax_x, **options)
        return
    size = (pooling.aligned_height, pooling.aligned_width)
    scale, ratio, aligned = pooling.spatial_scale, pooling.sampling_ratio, pooling.aligned
    output.copy_(torch.ops.torchvision.roi_align(features, rois.to(features.dtype), scale, *size, ratio, aligned))


@kernel
def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **options: float
) -> None:
    """Do as `ikd.ops.roi_align.roi_align_backward`."""
    pooling = _roi_align.Pooling(**options)  # type: ignore[arg-type]
    if pooling.pool_mode == _roi_align.MAX:
        _roi_align.roi_align_backward(grad_output, rois, argmax_y, argmax_x, grad_input, **options)
        return
    size = (pooling.aligned_height, pooling.aligned_width)
    ratio, aligned = pooling.sampling_ratio, pooling.aligned
    grad_input += torch.ops.torchvision._roi_align_backward(
        grad_output, rois.to(grad_output.dtype), pooling.spatial_scale, *size, *grad_input.shape, ratio, aligned
    )


@kernel
def forward(weight: Tensor, inputs: Inputs, output: Tensor, geometry: Geometry) -> None:
    """Do as `ikd.ops.deform_conv.forward`."""
    features, offset, mask = inputs
    zeros = features.new_zeros(weight.shape[0])
    arguments = (features, weight, offset, _mask(features, mask), zeros, *_numbers(geometry), mask is not None)
    output.copy_(torch.ops.torchvision.deform_conv2d(*arguments))


@kernel
def backward(weight: Tensor, inputs: Inputs, grad_output: Tensor, grads: Grads, geometry: Geometry) -> None:
    """Do as `ikd.ops.deform_conv.backward`."""
    features, offset, mask = inputs
    zeros = features.new_zeros(weight.shape[0])
    arguments = (features, weight, offset, _mask(features, mask), zeros, *_numbers(geometry), mask is not None)
    found = torch.ops.torchvision._deform_conv2d_backward(grad_output, *arguments)
    grad_features, grad_weight, grad_offset, grad_mask, _ = found
    # A tap exactly one pixel off the map, as every padded border tap before the offsets have learnt anything, has two
    # one-sided derivatives: torchvision returns the one into the map, mmcv 0.
    grad_offset = grad_offset * on_map(offset, (features.shape[2], features.shape[3]), geometry)
    for wanted, value in zip(grads, (grad_features, grad_offset, grad_mask, grad_weight), strict=True):
        if wanted is not None:
            wanted += value


def _mask(features: Tensor, mask: Tensor | None) -> Tensor:
    return features.new_zeros(features.shape[0], 1) if mask is None else mask


def _numbers(geometry: Geometry) -> tuple[int, ...]:
    pairs = (*geometry.stride, *geometry.padding, *geometry.dilation)
    return (*pairs, geometry.groups, geometry.deform_groups)


KERNELS: dict[str, Callable[..., Any]] = {
    "nms": nms,
    "roi_align_forward": roi_align_forward,
    "roi_align_backward": roi_align_backward,
}
