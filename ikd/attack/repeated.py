"""What an attack need not compute at every step: targets that cannot have changed, branches that its loss does not see.

Every value stays what it was to the bit. What a head computes is left out only where mmdet's code, named here by class
and method, shows that it is a function of what has stayed the same, or that no classification loss depends on it; any
other head computes everything each time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def without_repetition(teacher: nn.Module, samples: Sequence[Any], *, classes_alone: bool) -> Iterator[None]:
    """Let a frozen detector's `loss` leave out what it has computed before, for as long as this lasts.

    Args:
        teacher: the detector, as it was again in the end.
        samples: data samples that are given to `loss` again and again and are never changed; copies whose boxes have
            moved may be given to it as well.
        classes_alone: whether of its losses those of classification alone are looked at.
    """
    with contextlib.ExitStack() as stack:
        for head in _anchor_heads(teacher):
            stack.enter_context(_shown(head, "get_anchors", _remembered_anchors(head.get_anchors)))
            if _is_told_by_its_arguments(head):
                steady = [sample.gt_instances for sample in samples]
                kept = _remembered_targets(head._get_targets_single, steady)
                stack.enter_context(_shown(head, "_get_targets_single", kept))
            if classes_alone and _has_a_branch_of_its_own(head):
                stack.enter_context(_without_boxes(head))
        yield


def _anchor_heads(teacher: nn.Module) -> list[Any]:
    """Return the heads whose anchors depend on nothing but the sizes of maps and images."""
    from mmdet.models.dense_heads import AnchorHead

    heads = [module for module in teacher.modules() if isinstance(module, AnchorHead)]
    return [head for head in heads if type(head).get_anchors is AnchorHead.get_anchors]


def _is_told_by_its_arguments(head: Any) -> bool:
    """Whether the targets of an image are a function of its anchors and its annotations: no predictions, no draws."""
    from mmdet.models.dense_heads import AnchorHead, ATSSHead, GFLHead
    from mmdet.models.task_modules import ATSSAssigner, MaxIoUAssigner, PseudoSampler

    known = [(one._get_targets_single, one.get_targets) for one in (AnchorHead, ATSSHead, GFLHead)]
    return (
        (type(head)._get_targets_single, type(head).get_targets) in known
        and type(getattr(head, "assigner", None)) in (ATSSAssigner, MaxIoUAssigner)
        and type(getattr(head, "sampler", None)) is PseudoSampler
    )


def _has_a_branch_of_its_own(head: Any) -> bool:
    """Whether boxes are predicted by layers, and compared by a loss, that nothing of the classes passes through."""
    from mmdet.models.dense_heads import RetinaHead

    return type(head) is RetinaHead  # those derived from it weigh or assign classes by how well boxes fit


@contextlib.contextmanager
def _shown(head: Any, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Let an object show this instead of its class's method."""
    setattr(head, name, value)
    try:
        yield
    finally:
        delattr(head, name)


def _remembered_anchors(compute: Callable[..., Any]) -> Callable[..., Any]:
    found: dict[Any, Any] = {}

    def anchors(featmap_sizes: Any, batch_img_metas: Any, device: Any = "cuda") -> Any:
        shapes = [tuple(meta["pad_shape"]) for meta in batch_img_metas]
        key = (tuple(map(tuple, featmap_sizes)), tuple(shapes), str(device))
        if key not in found:
            found[key] = compute(featmap_sizes, batch_img_metas, device=device)
        priors, flags = found[key]
        return list(priors), list(flags)  # ATSS writes into the lists

    return anchors


def _remembered_targets(compute: Callable[..., Any], steady: Sequence[Any]) -> Callable[..., Any]:
    """Keep the targets of annotations that are the very same objects as these, as long as their anchors are equal."""
    known, found = {id(one) for one in steady}, dict[int, tuple[list[Tensor], Any]]()

    def targets(*arguments: Any, **named: Any) -> Any:
        key = next((id(one) for one in arguments if id(one) in known), None)
        if key is None:
            return compute(*arguments, **named)
        tensors = [one for one in arguments if isinstance(one, Tensor)]  # anchors and which of them are inside
        if key not in found or not all(map(torch.equal, found[key][0], tensors)):
            found[key] = tensors, compute(*arguments, **named)
        return found[key][1]

    return targets


@contextlib.contextmanager
def _without_boxes(head: Any) -> Iterator[None]:
    """Let a RetinaNet's head predict boxes of zeros and find no fault with them."""
    places = head.num_base_priors * head.bbox_coder.encode_size
    before = head.reg_convs, head.retina_reg, head.loss_bbox
    head.reg_convs, head.retina_reg, head.loss_bbox = nn.ModuleList(), _Zeros(places), _Unseen()
    try:
        yield
    finally:
        head.reg_convs, head.retina_reg, head.loss_bbox = before


class _Zeros(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """Return zeros [N, channels, H, W] that take no memory."""
        return features.new_zeros(()).expand(len(features), self.channels, *features.shape[2:])


class _Unseen(nn.Module):
    def forward(self, boxes: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return a loss that nobody looks at."""
        return boxes.new_zeros(())
