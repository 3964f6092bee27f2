"""Noise or crop by what an image shows, as one mmdet transform: AdpHFC and AdpCrop of IKD, and ME of DFMSD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from ikd.augment.crop import ProportionalCrop
from ikd.augment.enhancement import TeacherBoxes
from ikd.augment.pair import AttachPerturbation, stack
from ikd.augment.rule import corrupt, is_small
from ikd.errors import BadInput

AREA_THRESHOLD = 32.0**2  # px^2, COCO's border of small objects
NOISE = MappingProxyType({"sigma": 0.08, "probability": 0.3})
CROP = MappingProxyType({"min_ratio": 0.8, "probability": 1.0})
ENHANCEMENT = MappingProxyType({"boxes": "", "theta": 0.5, "min_score": 0.3})
PAPER: Mapping[str, float] = MappingProxyType({})  # an empty mapping changes none of the paper's values


@TRANSFORMS.register_module()
class SampleSpecificAugment(BaseTransform):
    """Noise for images of small objects only, a crop for all others.

    The rule is judged on the boxes as annotated (IKD; Liang et al., ACM MM 2023, Eq. 4), or, with `enhancement`, on
    those that a teacher found (DFMSD, arXiv 2407.13147, Eq. 4; a reconstruction). Noise goes on the original image,
    before `transforms`; the crop comes after them. In a plain mmdet pipeline, after LoadAnnotations and in place of
    Resize and RandomFlip:

        dict(type="SampleSpecificAugment", noise=dict(sigma=0.08), crop=dict(min_ratio=0.8),
             transforms=[dict(type="Resize", scale=(1333, 800), keep_ratio=True), dict(type="RandomFlip", prob=0.5)])

    with `custom_imports = dict(imports=["ikd.augment"])`. All random numbers come from numpy's global generator.

    Args:
        area_threshold: px^2 of the original image, above 0; an image is small when every box that is no crowd is below.
        noise: `sigma` (of the 0..1 range, 0 or more) and `probability` for a small image; what is left out has the
            paper's value (0.08, 0.3). None switches the noise off.
        crop: `min_ratio` (in (0, 1]) of each side and `probability` for an image that is not small; left-out ones have
            the paper's values (0.8, 1.0). None switches the crop off.
        published: the authors' behaviour where ours differs: the noise branch judges areas on integer-truncated
            corners, and clean and adversarial image are cropped at separate offsets.
        enhancement: `boxes` (file of `TeacherBoxes`), `theta` (above 0, default 0.5) and `min_score` (0..1, default
            0.3): an image is small when the boxes of at least that score cover less than the share theta of it. Altered
            samples get the key `enhanced`. None for the annotated boxes.
        transforms: run between noise and crop. `AttachPerturbation`, if wanted, goes right after Resize here.

    Raises:
        BadInput: a setting is unknown or out of range, or a sample has no annotations loaded.
    """

    def __init__(
        self,
        area_threshold: float = AREA_THRESHOLD,
        *,
        noise: Mapping[str, float] | None = PAPER,
        crop: Mapping[str, float] | None = PAPER,
        published: bool = False,
        enhancement: Mapping[str, Any] | None = None,
        transforms: Sequence[Any] = (),
    ) -> None:
        require(area_threshold > 0, "area_threshold", area_threshold, "must be above 0 (px^2)")
        self.area_threshold, self.published = area_threshold, published
        self.noise = None if noise is None else _noise_settings(noise)
        self.crop = None if crop is None else _crop_settings(crop)
        self.transforms = [TRANSFORMS.build(item) if isinstance(item, Mapping) else item for item in transforms]
        self.enhancement = None if enhancement is None else _enhancement_settings(enhancement)
        self._boxes = None if self.enhancement is None else TeacherBoxes(self.enhancement["boxes"])
        self._makes_pair = any(isinstance(item, AttachPerturbation) for item in self.transforms)
        if self.crop is not None:
            self._window = ProportionalCrop(self.crop["min_ratio"], separate_offsets=published)

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Augments one sample; None when the crop left no box, so that the data set draws another sample."""
        small, small_for_noise = self._judge(results)
        if self.noise is not None and small_for_noise and np.random.rand() < self.noise["probability"]:
            self._add_noise(results, self.noise["sigma"])
            results["enhanced"] = self.enhancement is not None
        for transform in self.transforms:
            results = transform(results)
            if results is None:
                return None
        if self.crop is not None and not small and np.random.rand() < self.crop["probability"]:
            results["enhanced"] = self.enhancement is not None
            return self._window(results)
        return results

    def _judge(self, results: dict[str, Any]) -> tuple[bool, bool]:
        """Tell whether the image is small, for the crop and for the noise."""
        if self._boxes is not None and self.enhancement is not None:
            share = self._boxes.share(results["img_id"], results["ori_shape"][:2], self.enhancement["min_score"])
            return (share < self.enhancement["theta"],) * 2
        boxes, ignored = _annotated(results)
        small = is_small(boxes, self.area_threshold, ignored=ignored)
        return small, is_small(np.trunc(boxes), self.area_threshold, ignored=ignored) if self.published else small

    def _add_noise(self, results: dict[str, Any], sigma: float) -> None:
        noisy = corrupt(results["img"], sigma)
        # the adversarial image is made from the clean one, which has to go through the same transforms
        results["img"] = stack(noisy, results["img"]) if self._makes_pair else noisy

    def __repr__(self) -> str:
        settings = f"area_threshold={self.area_threshold}, noise={self.noise}, crop={self.crop}"
        settings += f", published={self.published}, enhancement={self.enhancement}"
        return f"{type(self).__name__}({settings}, transforms={self.transforms})"


def _annotated(results: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Reads boxes [n, 4] in original pixels, and which of them are crowds."""
    if results.get("gt_bboxes") is None:
        raise BadInput(
            "SampleSpecificAugment needs the boxes of a sample: put LoadAnnotations(with_bbox=True) before it"
        )
    boxes = results["gt_bboxes"]
    boxes = boxes.numpy() if hasattr(boxes, "numpy") else boxes
    scale = np.tile(np.asarray(results.get("scale_factor", (1.0, 1.0)), dtype=np.float64), 2)
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4) / scale, results.get("gt_ignore_flags")


def _noise_settings(given: Mapping[str, float]) -> dict[str, float]:
    settings = _complete("noise", given, NOISE)
    require(settings["sigma"] >= 0, "noise.sigma", settings["sigma"], "must be 0 or more (of the 0..1 range)")
    return settings


def _crop_settings(given: Mapping[str, float]) -> dict[str, float]:
    settings = _complete("crop", given, CROP)
    require(0 < settings["min_ratio"] <= 1, "crop.min_ratio", settings["min_ratio"], "must be in (0, 1]")
    return settings


def _enhancement_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = _with_defaults("enhancement", given, ENHANCEMENT)
    require(settings["theta"] > 0, "enhancement.theta", settings["theta"], "must be above 0 (share of the image)")
    require(0 <= settings["min_score"] <= 1, "enhancement.min_score", settings["min_score"], "must be in 0..1")
    return settings


def _with_defaults(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(defaults))
    require(not unknown, f"{name}.{unknown[0] if unknown else ''}", None, f"is unknown, {name} has {sorted(defaults)}")
    return {**defaults, **given}


def _complete(name: str, given: Mapping[str, float], defaults: Mapping[str, float]) -> dict[str, float]:
    settings = _with_defaults(name, given, defaults)
    require(0 <= settings["probability"] <= 1, f"{name}.probability", settings["probability"], "must be in 0..1")
    return settings


def require(holds: bool, field: str, value: object, rule: str) -> None:
    """Raises BadInput naming field, rule and value unless a condition holds."""
    if not holds:
        raise BadInput(f"{field} {rule}" + ("" if value is None else f", but got {value!r}"))
