"""CARAFE, content-aware upsampling (Wang et al., ICCV 2019, eq. 4), in plain PyTorch.

Every cell of the large map is a weighted sum of the k x k cells around its own cell of the small one, with weights of
its own that a group of channels shares. Images go one at a time: the patches of a map are k^2 times its size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.ops.kernel import add_gradients, kernel, working


@kernel
def carafe_naive_forward(features: Tensor, masks: Tensor, output: Tensor, **sizes: int) -> None:
    """Write the upsampled map into `output`.

    Args:
        features: [N, C, H, W].
        masks: weights, [N, groups * k * k, s H, s W].
        output: written, [N, C, s H, s W].
        **sizes: `kernel_size` k, `group_size` (the number of groups), `scale_factor` s.
    """
    for image in range(len(features)):
        one, weights = (working(tensor[image]) for tensor in (features, masks))
        output[image] = _reassembled(one, weights, **sizes).to(output.dtype)


@kernel
def carafe_naive_backward(  # noqa: D417 - the sizes are those of the forward kernel
    grad_output: Tensor, features: Tensor, masks: Tensor, grad_features: Tensor, grad_masks: Tensor, **sizes: int
) -> None:
    """Add to the gradients of features and masks.

    Args:
        grad_output: gradient of the output, [N, C, s H, s W].
        features: as given to the forward kernel.
        masks: likewise.
        grad_features: added to.
        grad_masks: added to.
    """
    for image in range(len(features)):
        grads = (grad_features[image], grad_masks[image])
        inputs = (features[image], masks[image])
        add_gradients(lambda *pair: _reassembled(*pair, **sizes), inputs, grad_output[image], grads)  # type: ignore[arg-type]


def carafe_forward(features: Tensor, masks: Tensor, rfeatures: Tensor, *buffers: Tensor, **sizes: int) -> None:
    """Do as `carafe_naive_forward`; mmcv hands `rfeatures` on to the backward kernel, in whatever layout it is."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, buffers[-1], **sizes)


def carafe_backward(grad_output: Tensor, rfeatures: Tensor, masks: Tensor, *buffers: Tensor, **sizes: int) -> None:
    """Do as `carafe_naive_backward`; the last two buffers are the gradients."""
    carafe_naive_backward(grad_output, rfeatures, masks, *buffers[-2:], **sizes)  # type: ignore[arg-type]


def _reassembled(features: Tensor, masks: Tensor, *, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """Upsample one image: [C, H, W] and [groups * k * k, s H, s W] -> [C, s H, s W]."""
    channels, height, width = features.shape
    taps, scale = kernel_size**2, scale_factor
    patches = F.unfold(features[None], kernel_size, padding=kernel_size // 2)
    patches = patches.view(group_size, channels // group_size, taps, height, width)
    weights = masks.reshape(group_size, taps, height, scale, width, scale)
    summed = torch.einsum("gckhw,gkhawb->gchawb", patches, weights)
    return summed.reshape(channels, scale * height, scale * width)
