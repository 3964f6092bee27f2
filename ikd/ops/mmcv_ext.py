"""A stand-in for `mmcv._ext`, the module that holds mmcv's compiled kernels.

mmcv's Python side asks it for every kernel by name at import, passes outputs to be filled in, and does the rest
(autograd, reductions, batching by class) itself. The signatures here are those of mmcv's pybind module.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from ikd.errors import UnsupportedKernel
from ikd.ops import carafe as _carafe
from ikd.ops import deform_attn as _deform_attn
from ikd.ops import deform_conv as _deform_conv
from ikd.ops import focal_loss as _focal_loss
from ikd.ops import masked_conv as _masked_conv
from ikd.ops import nms as _nms
from ikd.ops import roi_align as _roi_align
from ikd.ops import roi_pool as _roi_pool
from ikd.ops import torchvision as _torchvision
from ikd.ops.deform_conv import Geometry

Kernel = Callable[..., Any]

HOW_TO_COMPILE = (
    "install the compiled mmcv (10 to 20 minutes of C++): pip install torch setuptools wheel ninja, then "
    "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv"
)


class _Extension(ModuleType):
    """Has an attribute for whatever name mmcv asks: a kernel, or a function that says there is none."""

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("_"):  # what Python itself looks for in modules
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _unsupported(name)


def extension(backend: Literal["torchvision", "plain"]) -> ModuleType:
    """Build a module to stand at `sys.modules["mmcv._ext"]`.

    Args:
        backend: "plain" takes PyTorch alone; "torchvision" takes torchvision's kernels for what they can do.
    """
    module = _Extension("mmcv._ext", f"mmcv's kernels, provided by ikd.ops ({backend})")
    module.__spec__ = ModuleSpec("mmcv._ext", loader=None, origin=f"ikd.ops ({backend})")
    conv = _torchvision if backend == "torchvision" else _deform_conv
    kernels = {
        **PLAIN,
        **_deform_conv_kernels(conv.forward, conv.backward),
        **(_torchvision.KERNELS if backend == "torchvision" else {}),
        "get_compiler_version": lambda: f"none (ikd.ops, {backend})",
        "get_compiling_cuda_version": lambda: "not available",
    }
    for name, function in kernels.items():
        setattr(module, name, function)
    return module


def _unsupported(name: str) -> Kernel:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise UnsupportedKernel(
            f"mmcv's kernel {name!r} exists only compiled; ikd.ops provides {', '.join(SUPPORTED)}. "
            f"To use it, {HOW_TO_COMPILE}"
        )

    return refuse


def _deform_conv_kernels(forward: Kernel, backward: Kernel) -> dict[str, Kernel]:
    """Build mmcv's five deformable convolution kernels on top of one pair of functions."""

    def deform_forward(
        features: Tensor, weight: Tensor, offset: Tensor, output: Tensor, *_: Tensor, **options: int
    ) -> None:
        forward(weight, (features, offset, None), output, _geometry(options))

    def deform_backward_input(
        features: Tensor,
        offset: Tensor,
        grad_output: Tensor,
        grad_features: Tensor,
        grad_offset: Tensor,
        weight: Tensor,
        *_: Tensor,
        **options: int,
    ) -> None:
        grads = (grad_features, grad_offset, None, None)
        backward(weight, (features, offset, None), grad_output, grads, _geometry(options))

    def deform_backward_parameters(
        features: Tensor, offset: Tensor, grad_output: Tensor, grad_weight: Tensor, *_: Tensor, **options: int
    ) -> None:
        grads = (None, None, None, grad_weight)
        # the shape of the weight is all that its own gradient needs; mmcv's factor `scale` is always 1
        backward(grad_weight, (features, offset, None), grad_output, grads, _geometry(options))

    def modulated_forward(
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        _ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        output: Tensor,
        _columns: Tensor,
        *,
        with_bias: bool,
        **options: int,
    ) -> None:
        offset, mask = (_as_read(tensor, output) for tensor in (offset, mask))
        forward(weight, (features, offset, mask), output, _geometry(options))
        if with_bias:
            output += bias.view(-1, 1, 1)

    def modulated_backward(  # noqa: PLR0913 - mmcv's signature
        features: Tensor,
        weight: Tensor,
        _bias: Tensor,
        _ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        _columns: Tensor,
        grad_features: Tensor,
        grad_weight: Tensor,
        grad_bias: Tensor,
        grad_offset: Tensor,
        grad_mask: Tensor,
        grad_output: Tensor,
        *,
        with_bias: bool,
        **options: int,
    ) -> None:
        offset, mask = (_as_read(tensor, grad_output) for tensor in (offset, mask))
        of_offset, of_mask = torch.zeros_like(offset), torch.zeros_like(mask)
        grads = (grad_features, of_offset, of_mask, grad_weight)
        backward(weight, (features, offset, mask), grad_output, grads, _geometry(options))
        _add_as_read(grad_offset, of_offset)
        _add_as_read(grad_mask, of_mask)
        if with_bias:
            grad_bias += grad_output.sum((0, 2, 3))

    return {
        "deform_conv_forward": deform_forward,
        "deform_conv_backward_input": deform_backward_input,
        "deform_conv_backward_parameters": deform_backward_parameters,
        "modulated_deform_conv_forward": torch.no_grad()(modulated_forward),
        "modulated_deform_conv_backward": torch.no_grad()(modulated_backward),
    }


def _as_read(tensor: Tensor, output: Tensor) -> Tensor:
    """Return offsets or masks as the compiled modulated convolution reads them, [N, K, *] -> [N, K, Ho, Wo].

    It walks through the numbers of an image with the steps of the output, whatever shape they have. mmdet's DyHead
    gives it those of the finer level, and is trained to what comes of it.

    Raises:
        ValueError: there are fewer numbers than the kernel reads.
    """
    if tensor.shape[2:] == output.shape[2:]:
        return tensor
    wanted = (*tensor.shape[:2], *output.shape[2:])
    numbers = tensor.flatten(1)
    count = wanted[1] * wanted[2] * wanted[3]
    if numbers.shape[1] < count:
        shapes = f"{tuple(tensor.shape)} for an output of {tuple(output.shape)}"
        raise ValueError(f"offsets and masks must have a number for every position of the output; got {shapes}")
    return numbers[:, :count].view(wanted)


def _add_as_read(grad: Tensor, found: Tensor) -> None:
    """Add a gradient to the numbers that `_as_read` took."""
    if grad.shape != found.shape:
        missing = grad[0].numel() - found[0].numel()
        found = torch.nn.functional.pad(found.flatten(1), (0, missing)).view(grad.shape)
    grad += found


def _geometry(options: dict[str, int]) -> Geometry:
    """Read either of mmcv's two namings, kH/dH/padH/dilationH and kernel_h/stride_h/pad_h/dilation_h."""
    names = (
        ("kH", "kW", "dH", "dW", "padH", "padW", "dilationH", "dilationW")
        if "kH" in options
        else ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
    )
    kh, kw, sh, sw, ph, pw, dh, dw = (options[name] for name in names)
    return Geometry((kh, kw), (sh, sw), (ph, pw), (dh, dw), options["group"], options["deformable_group"])


PLAIN: dict[str, Kernel] = {
    "carafe_forward": _carafe.carafe_forward,
    "carafe_backward": _carafe.carafe_backward,
    "carafe_naive_forward": _carafe.carafe_naive_forward,
    "carafe_naive_backward": _carafe.carafe_naive_backward,
    "deform_roi_pool_forward": _roi_pool.deform_roi_pool_forward,
    "deform_roi_pool_backward": _roi_pool.deform_roi_pool_backward,
    "masked_im2col_forward": _masked_conv.masked_im2col_forward,
    "masked_col2im_forward": _masked_conv.masked_col2im_forward,
    "ms_deform_attn_forward": _deform_attn.ms_deform_attn_forward,
    "ms_deform_attn_backward": _deform_attn.ms_deform_attn_backward,
    "nms": _nms.nms,
    "nms_match": _nms.nms_match,
    "roi_pool_forward": _roi_pool.roi_pool_forward,
    "roi_pool_backward": _roi_pool.roi_pool_backward,
    "softnms": _nms.softnms,
    "roi_align_forward": _roi_align.roi_align_forward,
    "roi_align_backward": _roi_align.roi_align_backward,
    "sigmoid_focal_loss_forward": _focal_loss.sigmoid_focal_loss_forward,
    "sigmoid_focal_loss_backward": _focal_loss.sigmoid_focal_loss_backward,
}

SUPPORTED = tuple(sorted({*PLAIN, *_deform_conv_kernels(_deform_conv.forward, _deform_conv.backward)}))
