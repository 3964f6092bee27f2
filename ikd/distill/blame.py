"""Why losses are not finite, where neither weights of losses nor the learning rate are to blame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_SHOWN = 3
_BEYOND = 1e6  # maps of trained detectors stay below some hundreds; the square of this is well within float32


def cause_of(batch: dict[str, Any], teacher: nn.Module | None, teach: Callable[[], Sequence[Tensor]]) -> str:
    """Look for what no hyperparameter can mend: pixels, boxes, the teacher.

    Args:
        batch: `inputs`, images [3, H, W] in pixels, and `data_samples`, whose boxes are those at that size.
        teacher: frozen, or None.
        teach: gives the teacher's maps of the batch.

    Returns:
        One sentence that names image or teacher; nothing where none of these is at fault.
    """
    return _pixels(batch) or _boxes(batch) or (_teacher(teacher, teach) if teacher is not None else "")


def _pixels(batch: dict[str, Any]) -> str:
    bad = [
        _name(sample)
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
        if image.is_floating_point() and not image.isfinite().all()
    ]
    return f"pixels of {_few(bad)} are not finite" if bad else ""


def _boxes(batch: dict[str, Any]) -> str:
    """Name images with boxes that have no area at the size of the network: their offsets are infinite."""
    bad = []
    for sample in batch["data_samples"]:
        boxes = sample.gt_instances.bboxes
        boxes = getattr(boxes, "tensor", boxes).detach().float()  # [n, 4], corners
        sides = boxes[:, 2:] - boxes[:, :2]
        if empty := int((~(sides > 0).all(dim=1) | ~boxes.isfinite().all(dim=1)).sum()):
            bad.append(f"{_name(sample)} ({empty} of {len(boxes)})")
    if not bad:
        return ""
    return f"there are boxes without an area at the size the network sees, in {_few(bad)}; see `ikd data check`"


def _teacher(teacher: nn.Module, teach: Callable[[], Sequence[Tensor]]) -> str:
    broken = [name for name, one in teacher.named_parameters() if not one.isfinite().all()]
    if broken:
        return f"the teacher's weights are not finite: {_few(broken)}; take another checkpoint"
    with torch.no_grad():
        maps = teach()
    levels = [level for level, one in enumerate(maps) if not one.isfinite().all()]
    if not levels:
        largest = max((float(one.abs().max()) for one in maps if one.numel()), default=0.0)
        if largest < _BEYOND:
            return ""
        rule = "no trained detector's maps do: look at its checkpoint and preprocessor"
        return f"the maps of the teacher ({type(teacher).__name__}) reach {largest:.0e}; {rule}"
    which = ", ".join(map(str, levels))
    return (
        f"the maps of the teacher ({type(teacher).__name__}) are not finite on its levels {which}, though its weights "
        "are: take another checkpoint, or distill.teacher_precision: float32 if it computes in half precision"
    )


def _name(sample: Any) -> str:
    return str(sample.metainfo.get("img_path", "an image without a path"))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
