"""The images of one sample, kept in one array so that no geometric transform can part them.

Until `PackPair` a sample's `img` is [H, W, 3 k]: first the image that the detector trains on (with noise, where there
is any), then its copies, named in this order by the sample's `copies`:

* `reference`: the image before noise and joint augmentation, for what compares both (`distill.confidence`),
* `untouched`: the image without the noise, until `AttachPerturbation` takes it,
* `enhanced`: what masking enhancement made of it, where that comes in addition (`distill.me.form: added`),
* `adversarial`: with a perturbation against the teacher, and `adversarial_1`, ... against others that teach at once.

Resize, flip and crop of mmdet treat all of them as one image.
Where the adversarial image is crafted while training, `AttachUnaltered` keeps what it is made from, and `Geometry` what
was done since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from ikd.augment.aside import SCORED, followed
from ikd.data import image_digest
from ikd.errors import DataError, refuse

UNALTERED = "unaltered"
"""Key of the resized clean sample that an attack crafts from while training."""
WINDOW = "crop_window"
"""Key of what a crop did: whether it came after a flip, and its window."""
CHANNELS = 3
REFERENCE, UNTOUCHED, ENHANCED, ADVERSARIAL = "reference", "untouched", "enhanced", "adversarial"


def copy_against(place: int) -> str:
    """Return the name of the copy with a perturbation against a teacher, by its place among those of a stage."""
    return f"{ADVERSARIAL}_{place}" if place else ADVERSARIAL


APART = "apart"
"""Key of a sample: copies [H', W', 3] by name that have a geometry of their own."""


@runtime_checkable
class PerturbationReader(Protocol):
    """Where perturbations come from; must be picklable, for the data loader's workers."""

    def read(self, image: str) -> NDArray[np.int8]:
        """Return the perturbation of one image.

        Args:
            image: digest of its file, as `ikd.data.image_digest` gives it.

        Returns:
            [H', W', 3], channels in the order of the loaded image (BGR), grey levels, at the size the network sees
            before padding.
        """
        ...


def content_of(results: Mapping[str, Any]) -> str:
    """Return the digest of the image of a sample: ids and names change with every export of a data set.

    Raises:
        DataError: its file cannot be read.
    """
    try:
        return image_digest(results["img_path"])
    except OSError as error:
        raise DataError(f"{results['img_path']}: must be readable: {error}") from error


def parted(results: Mapping[str, Any]) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """Return the image of a sample and its copies by name, [H, W, 3] each, as views into its array."""
    image, names = results["img"], results.get("copies", ())
    copies = {name: image[..., CHANNELS * i : CHANNELS * (i + 1)] for i, name in enumerate(names, start=1)}
    return image[..., :CHANNELS], copies


def joined(
    results: dict[str, Any], image: NDArray[np.uint8], copies: Mapping[str, NDArray[np.uint8]]
) -> dict[str, Any]:
    """Give a sample an image and its copies, all [H, W, 3], as one array."""
    results["img"], results["copies"] = np.concatenate([image, *copies.values()], axis=2), tuple(copies)
    return results


def add(image: NDArray[np.uint8], delta: NDArray[np.int8] | NDArray[np.int16]) -> NDArray[np.uint8]:
    """Add a perturbation [H, W, 3] to an image of the same shape, within 0..255."""
    total: NDArray[np.uint8] = cv2.add(np.ascontiguousarray(image), np.ascontiguousarray(delta), dtype=cv2.CV_8U)
    return total


@TRANSFORMS.register_module()
class AttachPerturbation(BaseTransform):
    """Make the adversarial image: the resized clean image without noise, plus its stored perturbation, within 0..255.

    Stands right after Resize and before flip and crop, because perturbations are stored at the network's size.

    Args:
        perturbations: a `PerturbationReader`, or the config of one: `type` (dotted name or class) and its arguments.
        beside: more of them, against other teachers: one more copy each.

    Raises:
        BadInput: one of `perturbations` and `beside` is neither.
        DataError: at a sample whose perturbation is not int8 [H', W', 3].
    """

    def __init__(
        self,
        perturbations: PerturbationReader | Mapping[str, Any],
        beside: Sequence[PerturbationReader | Mapping[str, Any]] = (),
    ) -> None:
        self.readers = [_reader(one) for one in (perturbations, *beside)]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the copy `adversarial`, made from `untouched`, whose place it takes, or else from the image itself."""
        image, copies = parted(results)
        content, size = content_of(results), (image.shape[0], image.shape[1])
        source = copies.pop(UNTOUCHED, image)
        for place, reader in enumerate(self.readers):
            copies[copy_against(place)] = add(source, self._delta(reader, content, size))
        return joined(results, image, copies)

    @staticmethod
    def _delta(reader: PerturbationReader, image: str, size: tuple[int, int]) -> NDArray[np.int8] | NDArray[np.int16]:
        delta = reader.read(image)
        if delta.dtype != np.int8 or delta.ndim != 3 or delta.shape[2] != CHANNELS:
            got = f"{delta.dtype} {list(delta.shape)}"
            raise DataError(f"the perturbation of the image of SHA-256 {image} must be int8 [H, W, 3], but got {got}")
        if delta.shape[:2] == size:
            return delta
        resized = cv2.resize(delta.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
        return np.rint(resized).astype(np.int16)


def _reader(perturbations: PerturbationReader | Mapping[str, Any]) -> PerturbationReader:
    reader = TRANSFORMS.build(dict(perturbations)) if isinstance(perturbations, Mapping) else perturbations
    if not isinstance(reader, PerturbationReader):
        refuse("augment: perturbations", "must have a method read(image_id)", reader)
    return reader


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
        """Add `unaltered`, a packed sample, from the copy `untouched`, which goes, or else from the image itself."""
        image, copies = parted(results)
        clean = _forwards(np.ascontiguousarray(copies.pop(UNTOUCHED, image)))
        boxes = results["gt_bboxes"].clone()  # a flip moves them in place
        results[UNALTERED] = self._pack.transform({**results, "img": clean, "gt_bboxes": boxes})
        return joined(results, image, copies)


@TRANSFORMS.register_module()
class PackPair(PackDetInputs):
    """Pack as mmdet's PackDetInputs does, and add each copy of the image by its name, uint8 [3, H, W].

    The data sample's `altered` tells what was applied (`noise`, `crop`, else absent); its `enhanced`, whether it was
    masking enhancement that did so to the image itself; its `joint`, whether joint augmentation altered it.
    An unaltered sample is passed on as `unaltered`, with the `Geometry` of the altered one as `geometry`. Scored boxes
    beside the labels become the data sample's `scored_instances`.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.meta_keys: tuple[str, ...] = (*self.meta_keys, "altered", "enhanced", "joint")

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return `inputs`, `data_samples`, and the copies."""
        image, copies = parted(results)
        packed = super().transform({**results, "img": _forwards(image)})
        for name, one in {**copies, **results.get(APART, {})}.items():
            packed[name] = from_numpy(_forwards(np.ascontiguousarray(one.transpose(2, 0, 1))))
        if SCORED in results:
            packed["data_samples"].scored_instances = followed(results)
        if UNALTERED in results:
            packed[UNALTERED] = results[UNALTERED]
            packed[UNALTERED]["data_samples"].set_metainfo({"geometry": _geometry(results)})
        return packed


def _forwards(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels that torch reads: a single column that was flipped is contiguous to numpy, and goes backwards."""
    return pixels if all(stride >= 0 for stride in pixels.strides) else pixels.copy()


def _geometry(results: Mapping[str, Any]) -> Geometry:
    flips = bool(results.get("flip"))
    if WINDOW not in results:
        return Geometry(flips_first=flips)
    flipped_before, window = results[WINDOW]
    return Geometry(flipped_before, window, flips and not flipped_before)
