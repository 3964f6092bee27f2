"""The gradient of a teacher's loss with respect to its input, image by image independent of the rest of the batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ikd.attack.losses import OBJECTNESS, classification_loss, detection_loss
from ikd.detectors import loss_mode

_SUMS: dict[str, Callable[[Any], Tensor]] = {"cls": classification_loss, "cls+reg": detection_loss}


def prepared_samples(
    samples: Sequence[Any], input_shape: tuple[int, int], pad_shapes: Sequence[tuple[int, int]]
) -> list[Any]:
    """Return copies of the samples with the shapes that mmdet's heads read, boxes as plain tensors, masks padded."""
    prepared = []
    for sample, pad_shape in zip(samples, pad_shapes, strict=True):
        copy = sample.clone()
        border = (0, input_shape[0], 0, input_shape[1])  # nothing above and left; see `ikd.detectors.Head`
        copy.set_metainfo({"batch_input_shape": input_shape, "pad_shape": pad_shape, "border": border})
        for name in ("gt_instances", "ignored_instances"):
            instances = copy.get(name)
            if instances is None:
                continue
            instances = instances.clone()
            if "bboxes" in instances and not isinstance(instances.bboxes, Tensor):
                instances.bboxes = instances.bboxes.tensor
            if "masks" in instances and (instances.masks.height, instances.masks.width) != input_shape:
                instances.masks = instances.masks.pad(input_shape, 0)
            setattr(copy, name, instances)
        prepared.append(copy)
    return prepared


def supervised_loss(teacher: Any, inputs: Tensor, samples: Sequence[Any], kind: str, seeds: Sequence[int]) -> Tensor:
    """Return a scalar whose gradient at each image of [N, 3, H, W] is a multiple of that of the image alone.

    A head divides by a count over the batch. Where it has one term that only scales the gradients of all images, so
    the batch goes through at once. Where it has several (RPN and RoI, classes and boxes, the layers of a transformer)
    the terms would mix differently in each batch: there the head runs image by image on the features of the whole
    batch. What a head draws, RoIs or denoising queries, it draws from `seeds`.
    """
    total = _SUMS[kind]
    if kind == "cls" and _has_one_term(teacher):
        with seeded(seeds[0], inputs.device):
            return total(teacher_loss(teacher, inputs, samples))
    features = teacher.extract_feat(inputs)
    terms = []
    for index, (sample, seed) in enumerate(zip(samples, seeds, strict=True)):
        part = tuple(level[index : index + 1] for level in features)
        with _given_features(teacher, part), seeded(seed, inputs.device):
            terms.append(total(teacher_loss(teacher, inputs[index : index + 1], [sample])))
    return torch.stack(terms).sum()


def _has_one_term(teacher: Any) -> bool:
    """Whether a detector has a single classification loss, apart from its levels."""
    if hasattr(teacher, "roi_head") or hasattr(teacher, "forward_transformer"):
        return False
    head = getattr(teacher, "bbox_head", None)
    return not any(hasattr(head, name) for name in OBJECTNESS)


def teacher_loss(teacher: Any, inputs: Tensor, samples: Sequence[Any]) -> dict[str, Any]:
    """Return the training losses of a frozen detector, which stays as it is; see `loss_mode`."""
    with loss_mode(teacher):
        return dict(teacher.loss(inputs, list(samples)))


@contextlib.contextmanager
def _given_features(teacher: Any, features: tuple[Tensor, ...]) -> Iterator[None]:
    """Let the teacher's `loss` find these features instead of computing them."""
    teacher.extract_feat = lambda *_: features
    try:
        yield
    finally:
        del teacher.extract_feat  # the class's method shows again


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give mmdet's samplers, which use the global generators, their own numbers; those generators stay as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
