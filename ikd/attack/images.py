"""The training images as the teacher sees them at test time, in batches of one size."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.config import Data, Input, Recipe
from ikd.data import categories, image_digest, image_loader
from ikd.evaluation import equal_sizes, read_ahead


@dataclass(frozen=True)
class TrainingImages:
    """Which images are attacked, and at what size.

    Attributes:
        annotations: COCO json file.
        images: folder of its files.
        input_size: (width, height) into which images are resized, as in mmdet's `Resize(scale=...)`.
        keep_ratio: whether they fit into that size with their aspect, or are stretched to it.
        orientation: a recipe's `data.orientation`.
    """

    annotations: Path
    images: Path
    input_size: tuple[int, int]
    keep_ratio: bool = Input().keep_ratio
    orientation: Literal["apply", "ignore"] = Data(root="").orientation

    @classmethod
    def of(cls, recipe: Recipe, annotations: Path, images: Path) -> TrainingImages:
        """Return the images of a recipe as it reads them."""
        return cls(annotations, images, recipe.input.scale, recipe.input.keep_ratio, recipe.data.orientation)


@dataclass(frozen=True)
class Batch:
    """Images of one size.

    Attributes:
        pixels: [N, 3, H, W] uint8, BGR, zero-padded below and right.
        samples: N mmdet data samples.
        size: (height, width) without the padding.
    """

    pixels: Tensor
    samples: list[Any]
    size: tuple[int, int]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(self.pixels.to(device), [sample.to(device) for sample in self.samples], self.size)

    @property
    def images(self) -> list[str]:
        """Digests of the images, by which a store keeps what is made of them."""
        return [image_digest(sample.img_path) for sample in self.samples]


def open_dataset(source: TrainingImages, *, with_masks: bool) -> Any:
    """Return mmdet's COCO data set over all images, resized and packed as at test time, annotations included."""
    from mmengine.registry import DefaultScope

    from ikd.data.reader.dataset import IndexedCocoDataset

    pipeline = [
        image_loader(source.orientation),
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": with_masks},
        {"type": "Resize", "scale": tuple(source.input_size), "keep_ratio": source.keep_ratio},
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]
    # pycocotools prints what it does; outside mmdet's scope the transforms' names mean mmcv's
    with contextlib.redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("mmdet"):
        return IndexedCocoDataset(
            ann_file=str(source.annotations),
            data_prefix={"img": str(source.images)},
            metainfo={"classes": categories(source.annotations)},
            pipeline=pipeline,
        )


def digests(dataset: Any) -> list[str]:
    """Return the digest of every image, in the data set's order."""
    return [image_digest(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset))]


def batches(dataset: Any, wanted: Sequence[int], *, batch_size: int, divisor: int, workers: int = 0) -> Iterator[Batch]:
    """Yield the images at the indices `wanted`, up to `batch_size` of one size at a time.

    Only images of the same size share a batch: each keeps the padding it would have alone, so no result depends on
    its neighbours. With `workers` as many processes read and resize ahead; what is yielded is the same.
    """
    for items in equal_sizes(read_ahead(dataset, wanted, workers=workers), batch_size):
        yield batch_of(items, divisor)


def batch_of(items: Sequence[Mapping[str, Any]], divisor: int) -> Batch:
    """Stack packed samples of one size, padded to multiples of `divisor`."""
    pixels = torch.stack([item["inputs"] for item in items])
    height, width = int(pixels.shape[2]), int(pixels.shape[3])
    padded = F.pad(pixels, (0, -width % divisor, 0, -height % divisor))
    return Batch(padded, [item["data_samples"] for item in items], (height, width))
