"""Mosaic and MixUp: images made of several, each with all its copies.

mmdet's transforms of these names know images of three channels and no masks, and their cached forms keep images, so
that a sample would depend on what its process saw before. Here the data set gives the other images' entries, drawn by
(seed, epoch, index), and each goes through the same pipeline as the sample itself up to this point: resized, noisy by
its own boxes, with its own perturbation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from numpy.typing import NDArray

from ikd.augment.scales import MOSAIC
from ikd.errors import refuse

TILES, MIXED = "tiles", "mixed"
"""Keys of a sample: the data set's entries of the other three images of a mosaic, and of the one that is mixed in."""
_LISTS = ("gt_bboxes_labels", "gt_ignore_flags")
Offset = tuple[int, int]


@TRANSFORMS.register_module(name="IkdMosaic")
class Mosaic(BaseTransform):
    """Put four images about a point of a canvas twice as large as one; what lies beyond it is cut off.

    Args:
        source: transforms of the other images, those that the sample has gone through.
        scale: (width, height) of a quarter, px: a recipe's `input.scale`.
        probability: for a sample, 0..1.
        centre: range of the point, in units of `scale`.
        fill: grey level of what no image covers.

    Raises:
        BadInput: at a sample without other images.
    """

    def __init__(
        self,
        source: Sequence[Any],
        *,
        scale: tuple[int, int],
        probability: float,
        centre: tuple[float, float],
        fill: int,
    ) -> None:
        self.source, self.scale = Compose(list(source)), scale
        self.probability, self.centre, self.fill = probability, centre, fill

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Return the mosaic, or the sample as it was; None where one of its images has no box left."""
        others = _entries(results, TILES, "mosaic")
        if np.random.rand() >= self.probability:
            return results
        x, y = (round(side * float(np.random.uniform(*self.centre))) for side in self.scale)
        tiles = [results, *(self.source(one) for one in others)]
        if any(tile is None for tile in tiles):
            return None
        places = []
        for place, tile in enumerate(tiles):
            height, width = tile["img"].shape[:2]
            places.append((y - height if place < 2 else y, x - width if place % 2 == 0 else x))
        across, along = (2 * side for side in self.scale)
        canvas = np.full((along, across, results["img"].shape[2]), self.fill, np.uint8)
        for tile, offset in zip(tiles, places, strict=True):
            _paste(canvas, tile["img"], offset)
        merged = _merged(results, zip(tiles, places, strict=True), (along, across))
        altered = next((tile["altered"] for tile in tiles if tile.get("altered")), None)
        return merged | {"img": canvas, MOSAIC: True} | ({"altered": altered} if altered else {})


@TRANSFORMS.register_module(name="IkdMixUp")
class MixUp(BaseTransform):
    """Lay half of another image, resized, perhaps flipped, and anywhere, over half of this one.

    Args:
        source: transforms of the other image up to the network's size.
        probability: for a sample, 0..1.
        jitter: range of the other's factor.
        fill: grey level of what the other does not cover.
        flip: probability that the other is flipped from left to right.

    Raises:
        BadInput: at a sample without another image.
    """

    def __init__(
        self, source: Sequence[Any], *, probability: float, jitter: tuple[float, float], fill: int, flip: float
    ) -> None:
        self.source, self.flip = Compose(list(source)), RandomFlip(prob=flip)
        self.probability, self.jitter, self.fill = probability, jitter, fill

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Return the mixture, or the sample as it was; None where the other image has no box left."""
        (entry,) = _entries(results, MIXED, "mixup")
        if np.random.rand() >= self.probability:
            return results
        factor = float(np.random.uniform(*self.jitter))
        other = self.source(entry)
        if other is None:
            return None
        other = self.flip(Resize(scale_factor=(factor, factor))(other))
        size = results["img"].shape[:2]
        room = [ours - theirs for ours, theirs in zip(size, other["img"].shape[:2], strict=True)]
        top, left = (int(np.random.randint(min(0, free), max(0, free) + 1)) for free in room)
        canvas = np.full_like(results["img"], self.fill)
        _paste(canvas, other["img"], (top, left))
        mixed = cv2.addWeighted(np.ascontiguousarray(results["img"]), 0.5, canvas, 0.5, 0)
        return _merged(results, [(results, (0, 0)), (other, (top, left))], size) | {"img": mixed}


def _entries(results: dict[str, Any], key: str, section: str) -> list[dict[str, Any]]:
    if key not in results:
        refuse(f"input: {section}", f"needs other images under the sample's {key!r}", None)
    entries: list[dict[str, Any]] = results.pop(key)
    return entries


def _paste(canvas: NDArray[Any], image: NDArray[Any], offset: Offset) -> None:
    """Put an image [h, w, C] on a canvas [H, W, C] in place, its upper left corner at (top, left) of it."""
    (top, left), (height, width) = offset, image.shape[:2]
    first, last = (max(top, 0), max(left, 0)), (min(top + height, len(canvas)), min(left + width, canvas.shape[1]))
    if first[0] < last[0] and first[1] < last[1]:
        part = image[first[0] - top : last[0] - top, first[1] - left : last[1] - left]
        canvas[first[0] : last[0], first[1] : last[1]] = part


def _merged(
    results: dict[str, Any], parts: Iterable[tuple[Mapping[str, Any], Offset]], size: tuple[int, int]
) -> dict[str, Any]:
    """Return a sample with the annotations of several on a canvas (H, W); boxes that lie beyond it are left out."""
    found: dict[str, list[Any]] = {"gt_bboxes": [], "gt_masks": [], **{name: [] for name in _LISTS}}
    for part, (top, left) in parts:
        boxes = part["gt_bboxes"].tensor.numpy() + np.array([left, top, left, top], np.float32)
        boxes = boxes.clip(0, np.array([size[1], size[0], size[1], size[0]], np.float32))
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        found["gt_bboxes"].append(boxes[kept])
        for name in _LISTS:
            found[name].append(part[name][kept])
        if "gt_masks" in results:  # copy-paste may have taken those that no head reads
            masks = np.zeros((int(kept.sum()), *size), np.uint8)
            for mask, own in zip(masks, part["gt_masks"].masks[kept], strict=True):
                _paste(mask, own, (top, left))
            found["gt_masks"].append(masks)
    merged = {name: np.concatenate(found[name]) for name in _LISTS}
    merged["gt_bboxes"] = HorizontalBoxes(np.concatenate(found["gt_bboxes"]).astype(np.float32))
    if found["gt_masks"]:
        merged["gt_masks"] = BitmapMasks(np.concatenate(found["gt_masks"]), *size)
    return results | merged | {"img_shape": tuple(size)}
