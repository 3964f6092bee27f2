"""What an attack maximises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ikd.errors import refuse

Losses = Mapping[str, Any]
OBJECTNESS = ("loss_obj", "loss_conf")
"""Whether there is an object at all: a classification loss of YOLOX and YOLOv3 beside that of the classes."""
_CLASSIFICATION = ("cls", "heatmap", *OBJECTNESS)  # heatmap: the class maps of CenterNet
_LOCALISATION = "bbox_cls"  # SABL finds the borders of a box by classifying buckets
_NOT_BOXES = ("mask", "seg")
_ALL_IN_ONE = "must be cls+reg for a teacher that names no loss as one of classification (its losses are {names})"


def classification_loss(losses: Losses) -> Tensor:
    """Sum every classification loss of a mmdet loss dict, single tensors and lists alike, the RPN's included.

    Returns:
        A scalar.

    Raises:
        BadInput: the detector names no loss as one of classification.
    """
    terms = _terms(losses, lambda name: any(part in name for part in _CLASSIFICATION) and _LOCALISATION not in name)
    if not terms:
        refuse("attack.loss", _ALL_IN_ONE.format(names=", ".join(losses)), "cls")
    return torch.stack(terms).sum()


def detection_loss(losses: Losses) -> Tensor:
    """Sum every loss of classification and localisation (all but those of masks).

    Returns:
        A scalar.

    Raises:
        BadInput: there is none.
    """
    terms = _terms(losses, lambda name: not any(part in name for part in _NOT_BOXES))
    if not terms:
        refuse("attack.loss", "must be feature_distance for a teacher without a loss of classes or boxes", list(losses))
    return torch.stack(terms).sum()


def published_loss(losses: Losses, *, has_masks: bool) -> Tensor:
    """Return what the authors' code maximises (`JWLiang007/IKD:tools/ta_GT.py`).

    Without masks the sum over levels of `loss_cls`; with masks every entry named cls that is a single tensor, so the
    list that an RPN gives is left out.

    Returns:
        A scalar.
    """
    names = [name for name in losses if "loss" in name and "cls" in name]
    if has_masks or "loss_cls" not in names or isinstance(losses["loss_cls"], Tensor):
        names = [name for name in names if isinstance(losses[name], Tensor)]
    else:
        names = ["loss_cls"]
    terms = _terms(losses, lambda name: name in names)
    if not terms:
        rule = "must be false for a teacher without a classification loss that is a single tensor"
        refuse("attack.published", rule, True, f"its losses are {', '.join(losses)}")
    return torch.stack(terms).sum()


def feature_distance(features: Sequence[Tensor], clean: Sequence[Tensor]) -> Tensor:
    """Return the squared distance of levels [N, C, H, W] relative to their own size, summed over levels and images.

    Returns:
        A scalar.
    """
    terms = []
    for now, before in zip(features, clean, strict=True):
        size = before.square().sum((1, 2, 3)).clamp_min(torch.finfo(before.dtype).tiny)
        terms.append(((now - before).square().sum((1, 2, 3)) / size).sum())
    return torch.stack(terms).sum()


def _terms(losses: Losses, wanted: Callable[[str], bool]) -> list[Tensor]:
    terms: list[Tensor] = []
    for name, value in losses.items():
        if "loss" in name and wanted(name):
            terms += [item.mean() for item in (value if isinstance(value, (list, tuple)) else [value])]
    return terms
