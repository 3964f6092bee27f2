"""From whatever a detector raised to a sentence about a recipe."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from ikd import ops
from ikd.config import Detector
from ikd.errors import BadInput, UnsupportedKernel, first_line

HINTS = (
    (
        r"Kernel size can't be greater|Calculated padded input size",
        "the input is too small for its levels: raise input.scale, or set input.keep_ratio: false for a detector of a "
        "fixed square such as SSD",
    ),
    (
        r"selected index k out of range",
        "it asks for more queries or boxes than there are cells, or queries times classes: raise input.scale, or lower "
        "num_queries and test_cfg.max_per_img by overrides",
    ),
    (
        r"Sizes of tensors must match|must match the size of tensor",
        "its maps do not fit one another at this size: set the override data_preprocessor.pad_size_divisor to its "
        "coarsest stride",
    ),
    (
        r"Expected more than 1 value per channel.*\(GroupNorm\)",
        "its groups have one value each at a level of one cell: raise input.scale, or lower num_groups of its norm_cfg "
        "by overrides",
    ),
    (
        r"Expected more than 1 value per channel",
        "batch norm needs more than one value: raise schedule.batch_size or input.scale, or take a norm that needs no "
        "batch (GN) by overrides",
    ),
    (
        r"is invalid for input of size",
        "if the layer is DyHead's: its offsets belong to a finer level, which only mmcv's compiled kernels read",
    ),
    (r"Expected input batch_size", "it wants images of one size: set input.keep_ratio: false"),
    (
        r"'FastRCNN' object has no attribute 'rpn_head'",
        "it wants proposals with each image, which ikd does not give: take a detector with an RPN",
    ),
    (
        r"'InstanceData' object has no attribute 'masks'",
        "it predicts panoptic maps, and no boxes: take a Mask R-CNN, or let it be a teacher",
    ),
    (r"No module named 'torchvision'", "torchvision comes with pip install 'ikd[gpu]'"),
    (
        r"KeyError: 'text'|has no attribute 'text'",
        "it was told of no classes to look for: leave its classes at data, or say them by class_map",
    ),
)
"""Pattern in what was raised and where, and the way out."""
_OPS = str(Path(ops.__file__).parent)


def refuse_step(
    field: str, detector: Detector, doing: str, error: BaseException, modules: Mapping[str, Any]
) -> NoReturn:
    """Refuse a detector that cannot do what training will ask of it.

    Args:
        field: of the recipe.
        detector: what stands there.
        doing: what it was asked for, such as `make a training step at 128x160`.
        error: what it raised.
        modules: by name, the modules of which the innermost that was running is named.

    Raises:
        BadInput: always.
    """
    who = detector.config if isinstance(detector.config, str) else "the inline detector"
    said = first_line(error) if str(error) else "no message"
    text, hint = f"{type(error).__name__}: {said}", ""
    if not isinstance(error, UnsupportedKernel):  # says itself where to get it
        place = _place(error, modules)
        hints = [hint for pattern, hint in HINTS if re.search(pattern, text + place)]
        hint = "".join([place, *(f"; {hint}" for hint in hints[:1])])
    raise BadInput(f"{field}: {who} cannot {doing}: {text}{hint}") from error


def _place(error: BaseException, modules: Mapping[str, nn.Module]) -> str:
    """Return in which layer and which kernel of ikd it happened, as far as the traceback shows."""
    names = {
        id(module): ".".join(filter(None, (name, path)))
        for name, top in modules.items()
        for path, module in top.named_modules()
    }
    layer = kernel = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if id(module) in names and "." in names[id(module)]:
            layer = f", in {names[id(module)]} ({type(module).__name__})"
        file = frame.f_code.co_filename
        if file.startswith(_OPS) and Path(file).stem != "kernel" and not kernel:  # not the frame around every kernel
            kernel = f", kernel {frame.f_code.co_name} of ikd.ops"
    return layer + kernel
