"""Simple copy-paste (Ghiasi et al., CVPR 2021): objects of another image, pasted where they were in theirs.

mmdet's transform of that name asks for two images of one size, returns another integer type, redraws the boxes of
objects that nothing hides, and pastes crowds; this one keeps what is not touched as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from numpy.typing import NDArray

from ikd.augment.pair import joined, parted
from ikd.config import CopyPaste as Section
from ikd.errors import refuse

PARTNER = "partner"
"""Key of a sample: the data set's entry of another image, from which objects come."""
VISIBLE = 0.1
"""Share of an object that must remain in sight: pasted ones within the image, others beside what is pasted."""
DEFAULTS = MappingProxyType(Section().model_dump(exclude={"enabled"}))
Masks = NDArray[np.bool_]  # [n, H, W]


@TRANSFORMS.register_module(name="IkdCopyPaste")
class CopyPaste(BaseTransform):
    """Paste some objects of the sample's partner into the image and each of its copies.

    Stands after Resize. Crowd boxes are never pasted, and those of the image stay as they are. An object of which less
    than `VISIBLE` is left in sight is dropped with its mask; the box of one that is partly hidden shrinks to what is
    left. All random numbers come from numpy's global generator.

    Args:
        source: transforms that load the partner and bring it to the network's size, annotations included.
        probability: for an image, 0..1.
        objects: largest number pasted, 1 or more; the number is drawn from 1 up, the objects without replacement.
        by: paste along the `mask`, or the whole `box`.
        keep_masks: leave the masks in the sample; a detector without a mask head has no use for them.

    Raises:
        BadInput: a setting is out of range, or, at a sample, there is no partner.
    """

    def __init__(
        self,
        source: Sequence[Any],
        *,
        probability: float = DEFAULTS["probability"],
        objects: int = DEFAULTS["objects"],
        by: str = DEFAULTS["by"],
        keep_masks: bool,
    ) -> None:
        if not 0 <= probability <= 1:
            refuse("input: copy_paste.probability", "must be in 0..1", probability)
        if not (type(objects) is int and objects >= 1):
            refuse("input: copy_paste.objects", "must be a whole number, 1 or more", objects)
        if by not in ("mask", "box"):
            refuse("input: copy_paste.by", "must be mask or box", by)
        self.source, self.probability, self.objects, self.by = Compose(list(source)), probability, objects, by
        self.keep_masks = keep_masks

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the sample, with objects pasted or as it was."""
        if PARTNER not in results:
            refuse("input: copy_paste", f"needs another image under the sample's {PARTNER!r}", None)
        partner = results.pop(PARTNER)
        if np.random.rand() < self.probability:
            results = self._pasted(results, self.source(partner))
        if not self.keep_masks:
            results.pop("gt_masks", None)
        return results

    def _pasted(self, results: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        size = results["img"].shape[:2]
        shapes = _on_canvas(self._shapes(source), size)  # [n, H, W]
        chosen = self._chosen(source, shapes)
        if not len(chosen):
            return results
        over: NDArray[np.bool_] = np.any(shapes[chosen], axis=0)  # [H, W]
        image, copies = parted(results)
        image, copies = image.copy(), {name: one.copy() for name, one in copies.items()}
        theirs, their_copies = parted(source)
        for name, one in {"": image, **copies}.items():
            one[over] = _on_canvas(their_copies.get(name, theirs).transpose(2, 0, 1), size)[:, over].T
        kept, boxes = self._left(results, over)
        pasted = _boxes_of(shapes[chosen])
        results = joined(results, image, copies)
        results["gt_bboxes"] = HorizontalBoxes(np.concatenate([boxes, pasted]).astype(np.float32))
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            results[key] = np.concatenate([results[key][kept], source[key][chosen]])
        if "gt_masks" in results:
            masks = results["gt_masks"].masks[kept] * ~over
            own = _on_canvas(source["gt_masks"].masks, size)[chosen]
            results["gt_masks"] = BitmapMasks(np.concatenate([masks, own]), *size)
        return results

    def _shapes(self, results: Mapping[str, Any]) -> Masks:
        """Return what of an image each of its objects takes, [n, H, W]."""
        if self.by == "mask":
            return np.asarray(results["gt_masks"].masks, dtype=bool)
        height, width = results["img"].shape[:2]
        x1, y1, x2, y2 = np.rint(results["gt_bboxes"].tensor.numpy()).T[:, :, None]  # [n, 1] each
        columns, rows = np.arange(width), np.arange(height)
        across, along = (x1 <= columns) & (columns < x2), (y1 <= rows) & (rows < y2)
        return np.asarray(along[:, :, None] & across[:, None, :])

    def _chosen(self, source: Mapping[str, Any], on_canvas: Masks) -> NDArray[np.intp]:
        """Draw the objects to paste, among those that are no crowds and lie within the image."""
        whole = self._shapes(source).sum(axis=(1, 2))
        seen = on_canvas.sum(axis=(1, 2))
        able = np.flatnonzero((seen > VISIBLE * whole) & ~source["gt_ignore_flags"])
        if not len(able):
            return able
        count = np.random.randint(1, min(len(able), self.objects) + 1)
        return np.sort(np.random.choice(able, size=count, replace=False))

    def _left(self, results: Mapping[str, Any], over: NDArray[np.bool_]) -> tuple[Masks, NDArray[np.float64]]:
        """Return which objects of the image remain, [n] bool, and the boxes of those, [m, 4]."""
        boxes = results["gt_bboxes"].tensor.numpy().astype(np.float64)
        shapes = self._shapes(results)
        visible = shapes & ~over
        before, after = shapes.sum(axis=(1, 2)), visible.sum(axis=(1, 2))
        crowds = np.asarray(results["gt_ignore_flags"], dtype=bool)
        kept = crowds | (after > VISIBLE * before) | (before == 0)  # a box below a pixel takes none
        hidden = kept & ~crowds & (after < before)
        if hidden.any():
            tight = _boxes_of(visible[hidden])
            boxes[hidden, :2] = np.maximum(boxes[hidden, :2], tight[:, :2])
            boxes[hidden, 2:] = np.minimum(boxes[hidden, 2:], tight[:, 2:])
        return kept, boxes[kept]


def _on_canvas(arrays: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Cut arrays [n, h, w] to a size (H, W), or fill them with zeros to the right and below."""
    found = np.zeros((len(arrays), *size), arrays.dtype)
    height, width = min(size[0], arrays.shape[1]), min(size[1], arrays.shape[2])
    found[:, :height, :width] = arrays[:, :height, :width]
    return found


def _boxes_of(masks: Masks) -> NDArray[np.float64]:
    """Return the tight box x1 y1 x2 y2 of each mask [n, H, W], none of them empty."""
    across: NDArray[np.bool_] = np.any(masks, axis=1)
    along: NDArray[np.bool_] = np.any(masks, axis=2)
    firsts = across.argmax(axis=1), along.argmax(axis=1)
    lasts = across.shape[1] - across[:, ::-1].argmax(axis=1), along.shape[1] - along[:, ::-1].argmax(axis=1)
    return np.stack([*firsts, *lasts], axis=1).astype(np.float64)
