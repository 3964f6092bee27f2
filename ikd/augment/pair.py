"""Clean and adversarial image of one sample, kept in one array so that no geometric transform can part them.

From `AttachPerturbation` to `PackPair` a sample's `img` has six channels, [H, W, 6]: the clean image (with noise, where
there is any), then the adversarial one. Resize, flip and crop of mmdet treat them as one image. Where the adversarial
image is crafted while training, `AttachUnaltered` keeps what it is made from, and `Geometry` what was done since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from ikd.errors import DataError, refuse

UNALTERED = "unaltered"
"""Key of the resized clean sample that an attack crafts from while training."""
WINDOW = "crop_window"
"""Key of what a crop did: whether it came after a flip, and its window."""
CHANNELS = 3
PAIR_CHANNELS = 2 * CHANNELS


@runtime_checkable
class PerturbationReader(Protocol):
    """Where perturbations come from; must be picklable, for the data loader's workers."""

    def read(self, image_id: int) -> NDArray[np.int8]:
        """Return the perturbation of one image.

        Args:
            image_id: the id in the annotation file.

        Returns:
            [H', W', 3], channels in the order of the loaded image (BGR), grey levels, at the size the network sees
            before padding.
        """
        ...


def stack(clean: NDArray[np.uint8], adversarial: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join two images [H, W, 3] into a pair [H, W, 6]."""
    return np.concatenate([clean, adversarial], axis=2)


def add(image: NDArray[np.uint8], delta: NDArray[np.int8] | NDArray[np.int16]) -> NDArray[np.uint8]:
    """Add a perturbation [H, W, 3] to an image of the same shape, within 0..255."""
    total: NDArray[np.uint8] = cv2.add(np.ascontiguousarray(image), np.ascontiguousarray(delta), dtype=cv2.CV_8U)
    return total


def is_pair(image: NDArray[np.uint8]) -> bool:
    """Tell a pair [H, W, 6] from a single image."""
    return image.ndim == 3 and image.shape[2] == PAIR_CHANNELS


@TRANSFORMS.register_module()
class AttachPerturbation(BaseTransform):
    """Make the adversarial image: the resized clean image without noise, plus its stored perturbation, within 0..255.

    Stands right after Resize and before flip and crop, because perturbations are stored at the network's size.

    Args:
        perturbations: a `PerturbationReader`, or the config of one: `type` (dotted name or class) and its arguments.

    Raises:
        BadInput: `perturbations` is neither.
        DataError: at a sample whose perturbation is not int8 [H', W', 3].
    """

    def __init__(self, perturbations: PerturbationReader | Mapping[str, Any]) -> None:
        reader = TRANSFORMS.build(dict(perturbations)) if isinstance(perturbations, Mapping) else perturbations
        if not isinstance(reader, PerturbationReader):
            refuse("augment: perturbations", "must have a method read(image_id)", reader)
        self.reader = reader

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Turn `img` from [H, W, 3] (or a pair of noisy and clean image) into the pair of clean and adversarial."""
        image = results["img"]
        delta = self._delta(results["img_id"], image.shape[:2])
        results["img"] = stack(image[..., :CHANNELS], add(image[..., -CHANNELS:], delta))
        return results

    def _delta(self, image_id: int, size: tuple[int, int]) -> NDArray[np.int8] | NDArray[np.int16]:
        delta = self.reader.read(image_id)
        if delta.dtype != np.int8 or delta.ndim != 3 or delta.shape[2] != CHANNELS:
            got = f"{delta.dtype} {list(delta.shape)}"
            raise DataError(f"the perturbation of image {image_id} must be int8 [H, W, 3], but got {got}")
        if delta.shape[:2] == size:
            return delta
        resized = cv2.resize(delta.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
        return np.rint(resized).astype(np.int16)


@dataclass(frozen=True)
class Geometry:
    """What flip and crop have made of a resized image, to be done once more to what is crafted from it later.

    Attributes:
        flips_first: it was flipped from left to right, before any crop.
        window: top, left, height and width of the crop, px; None without one.
        flips_last: it was flipped from left to right, after the crop.
    """

    flips_first: bool = False
    window: tuple[int, int, int, int] | None = None
    flips_last: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """Return the image [..., H, W] flipped and cropped."""
        if self.flips_first:
            image = image.flip(-1)
        if self.window is not None:
            top, left, height, width = self.window
            image = image[..., top : top + height, left : left + width]
        return image.flip(-1) if self.flips_last else image


@TRANSFORMS.register_module()
class AttachUnaltered(BaseTransform):
    """Keep the resized clean image with its annotations as at test time, for an attack that crafts while training.

    Stands where `AttachPerturbation` stands otherwise. What comes later alters neither image nor boxes of it.
    """

    def __init__(self) -> None:
        self._pack = PackDetInputs(meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `unaltered`, a packed sample; of a pair of noisy and clean image only the noisy one stays `img`."""
        image = results["img"]
        boxes = results["gt_bboxes"].clone()  # a flip moves them in place
        clean = np.ascontiguousarray(image[..., -CHANNELS:])
        results[UNALTERED] = self._pack.transform({**results, "img": clean, "gt_bboxes": boxes})
        results["img"] = np.ascontiguousarray(image[..., :CHANNELS])
        return results


@TRANSFORMS.register_module()
class PackPair(PackDetInputs):
    """Pack as mmdet's PackDetInputs does, and add `adversarial`, uint8 [3, H, W], when the sample is a pair.

    An unaltered sample is passed on as `unaltered`, with the `Geometry` of its altered one as `geometry`.

    The data sample's `enhanced` tells whether masking enhancement has altered the image.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.meta_keys: tuple[str, ...] = (*self.meta_keys, "enhanced")

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return `inputs`, `data_samples`, and for a pair `adversarial`."""
        image = results["img"]
        if UNALTERED in results:
            unaltered = results[UNALTERED]
            unaltered["data_samples"].set_metainfo({"geometry": _geometry(results)})
            return {**super().transform(results), UNALTERED: unaltered}
        if not is_pair(image):
            return super().transform(results)
        packed = super().transform({**results, "img": image[..., :CHANNELS]})
        packed["adversarial"] = from_numpy(np.ascontiguousarray(image[..., CHANNELS:].transpose(2, 0, 1)))
        return packed


def _geometry(results: Mapping[str, Any]) -> Geometry:
    flips = bool(results.get("flip"))
    if WINDOW not in results:
        return Geometry(flips_first=flips)
    flipped_before, window = results[WINDOW]
    return Geometry(flipped_before, window, flips and not flipped_before)
