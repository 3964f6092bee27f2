"""The canvas of a pair: the batches that student and teacher see of the same images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase


class Canvas(nn.Module):
    """Pads images to one size for both detectors, and normalises them for each.

    The size is a multiple of both divisors. The teacher sees the student's batch in its own mean, scale, channel order
    and padding, so that a cell of one detector's map looks at the same pixels as the other's.

    Holds no weights: nothing of it is in a state dict.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, or None.
        beside: other teachers that look at the same batch.

    Attributes:
        memory_format: order in memory of the batches it makes.
    """

    factor: Tensor
    offset: Tensor
    memory_format: torch.memory_format = torch.contiguous_format

    def __init__(self, student: Any, teacher: Any = None, beside: Sequence[Any] = ()) -> None:
        super().__init__()
        own = copy.deepcopy(student.data_preprocessor)  # validation and export keep the student's own divisor
        other = own if teacher is None else teacher.data_preprocessor
        own.pad_size_divisor = self.divisor = canvas_divisor(student, teacher, *beside)
        own.batch_augments = None  # they would give the teacher, or the adversarial copies, another size
        self.preprocessor = own
        (our_mean, our_std), (mean, std) = _statistics(own), _statistics(other)
        self._swaps = _reverses(own) != _reverses(other)
        if self._swaps:
            our_mean, our_std = our_mean.flip(0), our_std.flip(0)
        self._padding = float(getattr(other, "pad_value", 0))
        # (x * our_std + our_mean - mean) / std, in double precision up to here
        self.register_buffer("factor", (our_std / std).float(), persistent=False)
        self.register_buffer("offset", ((our_mean - mean) / std).float(), persistent=False)
        alike = torch.equal(our_std, std) and torch.equal(our_mean, mean) and not self._swaps
        self._shared = alike and float(getattr(own, "pad_value", 0)) == self._padding

    def forward(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the student's batch.

        Args:
            data: `inputs`, images [3, H, W] in pixels, and perhaps `data_samples`, on any device.

        Returns:
            `inputs` [N, 3, H', W'], normalised, and `data_samples`.
        """
        own, images = self.preprocessor, data["inputs"]
        if not _is_plain(own):
            batch: dict[str, Any] = own(dict(data), True)
        else:
            shapes = [_padded(size, self.divisor) for size in sizes_of(images)]
            batch = {"inputs": self._stacked(images), "data_samples": data.get("data_samples")}
            self._describe(batch, shapes)
        batch["inputs"] = batch["inputs"].contiguous(memory_format=self.memory_format)
        return batch

    def _stacked(self, images: Sequence[Tensor]) -> Tensor:
        """Normalise and pad all images at once: mmdet takes five steps for each of them, with an index of its own."""
        own, sizes = self.preprocessor, sizes_of(images)
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        if all(size == (height, width) for size in sizes):
            batch = torch.stack(list(images))
        else:
            batch = images[0].new_zeros(len(images), 3, height, width)
            for row, image in zip(batch, images, strict=True):
                row[:, : image.shape[1], : image.shape[2]] = image
        if _reverses(own):
            batch = batch.flip(1)
        batch = batch.float()
        if own._enable_normalize:
            batch = (batch - own.mean) / own.std
        for row, size in zip(batch, sizes, strict=True):
            _fill_outside(row, size, own.pad_value)
        down, across = _padded((height, width), self.divisor)
        return F.pad(batch, (0, across - width, 0, down - height), value=own.pad_value)

    def _describe(self, batch: dict[str, Any], shapes: Sequence[tuple[int, int]]) -> None:
        """Tell the samples the batch's size, turn their boxes into tensors and pad their masks, as mmdet does."""
        from mmdet.models.utils.misc import samplelist_boxtype2tensor  # mmdet is loaded when there is a detector

        own, samples = self.preprocessor, batch["data_samples"]
        if samples is None:
            return
        for sample, shape in zip(samples, shapes, strict=True):
            sample.set_metainfo({"batch_input_shape": tuple(batch["inputs"].shape[2:]), "pad_shape": shape})
        if own.boxtype2tensor:
            samplelist_boxtype2tensor(samples)
        if own.pad_mask:
            own.pad_gt_masks(samples)
        if own.pad_seg:
            own.pad_gt_sem_seg(samples)

    def for_teacher(self, batch: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Return the student's batch as the teacher wants it; the batch itself where both normalise alike.

        Args:
            batch: [N, 3, H', W'], as `forward` makes it.
            sizes: (height, width) of each image within it; the rest is padding.
        """
        if self._shared:
            return batch
        seen = (batch.flip(1) if self._swaps else batch) * self.factor + self.offset
        for image, size in zip(seen, sizes, strict=True):
            _fill_outside(image, size, self._padding)
        return seen


def canvas_divisor(student: Any, *teachers: Any) -> int:
    """Return what the sides of a training batch are multiples of, in pixels: the least common multiple of all.

    Args:
        student: mmdet detector.
        teachers: those that look at the batch too; None is none.
    """
    detectors = [student, *(one for one in teachers if one is not None)]
    return math.lcm(*(int(getattr(one.data_preprocessor, "pad_size_divisor", 1)) for one in detectors))


@contextmanager
def untouched_statistics(module: nn.Module) -> Iterator[None]:
    """Let forward passes leave running statistics alone; they normalise by the batch's own all the same."""
    layers = [one for one in module.modules() if isinstance(one, _NormBase) and one.training]
    tracking = [layer for layer in layers if layer.track_running_stats]
    for layer in tracking:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True


def _is_plain(preprocessor: BaseDataPreprocessor) -> bool:
    """Return whether a preprocessor is mmdet's own, whose work is known; others do theirs image by image."""
    from mmdet.models.data_preprocessors import DetDataPreprocessor

    return type(preprocessor) is DetDataPreprocessor


def sizes_of(images: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return (height, width) of images [3, H, W]."""
    return [(int(image.shape[1]), int(image.shape[2])) for image in images]


def _padded(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    height, width = (math.ceil(side / divisor) * divisor for side in size)
    return height, width


def _fill_outside(image: Tensor, size: tuple[int, int], value: float) -> None:
    """Fill what is below and right of (height, width) in an image [3, H, W]."""
    height, width = size
    if height < image.shape[1]:
        image[:, height:] = value
    if width < image.shape[2]:
        image[:, :, width:] = value


def _statistics(preprocessor: Any) -> tuple[Tensor, Tensor]:
    """Return mean and scale, [3, 1, 1] each, in the detector's own channel order."""
    if not getattr(preprocessor, "_enable_normalize", False):
        return torch.zeros(3, 1, 1, dtype=torch.double), torch.ones(3, 1, 1, dtype=torch.double)
    ones = torch.ones(3, 1, 1, dtype=torch.double)  # one number may stand for all channels
    return preprocessor.mean.cpu().double() * ones, preprocessor.std.cpu().double() * ones


def _reverses(preprocessor: Any) -> bool:
    return bool(getattr(preprocessor, "_channel_conversion", False))
