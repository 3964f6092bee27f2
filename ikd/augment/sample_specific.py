"""Noise or crop by what an image shows, as one mmdet transform: AdpHFC and AdpCrop of IKD, and ME of DFMSD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from ikd.augment.crop import ProportionalCrop
from ikd.augment.enhancement import TeacherBoxes
from ikd.augment.pair import (
    APART,
    ENHANCED,
    UNTOUCHED,
    AttachPerturbation,
    AttachUnaltered,
    content_of,
    joined,
    parted,
)
from ikd.augment.rule import corrupt, judged_small
from ikd.config import Augment, Distill, MaskingEnhancement, Recipe
from ikd.errors import refuse

_SECTION = Augment()
NOISE = MappingProxyType(_SECTION.noise.model_dump(exclude={"enabled"}))
CROP = MappingProxyType(_SECTION.crop.model_dump(exclude={"enabled"}))
ENHANCEMENT = MappingProxyType({"boxes": "", **Distill().me.model_dump(include={"theta", "min_score", "form"})})
PAPER: Mapping[str, float] = MappingProxyType({})  # an empty mapping changes none of the paper's values


def specific_arguments(recipe: Recipe, boxes: Path | None) -> dict[str, Any] | None:
    """Return the arguments of `SampleSpecificAugment` that a recipe asks for, without `transforms`.

    Args:
        recipe: of a stage.
        boxes: file of what drives masking enhancement; None without it.

    Returns:
        None when neither sample-specific augmentation nor masking enhancement is on.
    """
    augment, me = recipe.augment, recipe.distill.me
    if not (augment.enabled or me.enabled):
        return None
    noise, crop = augment.noise, augment.crop
    return {
        "area_threshold": augment.area_threshold,
        "noise": noise.model_dump(exclude={"enabled"}) if noise.enabled else None,
        "crop": crop.model_dump(exclude={"enabled"}) if crop.enabled else None,
        "published": augment.published,
        "enhancement": {"boxes": str(boxes)} | me.model_dump(include={*ENHANCEMENT}) if me.enabled else None,
    }


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
    Defaults are those of a recipe (`augment`, `distill.me`).

    Args:
        area_threshold: px^2 of the original image, above 0; an image is small when every box that is no crowd is below.
        noise: `sigma` (of the 0..1 range, 0 or more) and `probability` for a small image; what is left out has the
            paper's value. None switches the noise off.
        crop: `min_ratio` (in (0, 1]) of each side and `probability` for an image that is not small; left-out ones have
            the paper's values. None switches the crop off.
        published: the authors' behaviour where ours differs: the noise branch judges areas on integer-truncated
            corners, and clean and adversarial image are cropped at separate offsets.
        enhancement: `boxes` (file of `TeacherBoxes`), `theta` (above 0) and `min_score` (0..1): an image is small when
            the boxes of at least that score cover less than the share theta of it. With `form: replaced` altered
            samples get the key `enhanced`; with `added` every sample gets a copy `enhanced` besides, altered or not,
            whose crop leaves the image and its boxes alone. None for the annotated boxes.
        transforms: run between noise and crop. `AttachPerturbation` or `AttachUnaltered`, if wanted, goes right after
            Resize here.

    What was applied, `noise` or `crop`, stands under the key `altered` of a sample.

    Raises:
        BadInput: a setting is unknown or out of range, or a sample has no annotations loaded.
    """

    def __init__(
        self,
        area_threshold: float = _SECTION.area_threshold,
        *,
        noise: Mapping[str, float] | None = PAPER,
        crop: Mapping[str, float] | None = PAPER,
        published: bool = _SECTION.published,
        enhancement: Mapping[str, Any] | None = None,
        transforms: Sequence[Any] = (),
    ) -> None:
        if not area_threshold > 0:
            refuse("augment: area_threshold", "must be above 0 (px^2)", area_threshold)
        self.area_threshold, self.published = area_threshold, published
        self.noise = None if noise is None else _complete("noise", noise, NOISE)
        self.crop = None if crop is None else _complete("crop", crop, CROP)
        self.transforms = [TRANSFORMS.build(item) if isinstance(item, Mapping) else item for item in transforms]
        self.enhancement = None if enhancement is None else _complete("enhancement", enhancement, ENHANCEMENT)
        self._boxes = None if self.enhancement is None else TeacherBoxes(self.enhancement["boxes"])
        self._added = self.enhancement is not None and self.enhancement["form"] == "added"
        self._makes_pair = any(isinstance(item, AttachPerturbation | AttachUnaltered) for item in self.transforms)
        if self.crop is not None:
            self._window = ProportionalCrop(self.crop["min_ratio"], separate_offsets=published)

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Augment one sample; None when the crop left no box, so that the data set draws another sample."""
        small, small_for_noise = self._judge(results)
        noisy = self.noise is not None and small_for_noise and np.random.rand() < self.noise["probability"]
        results = self._corrupted(results, noisy=bool(noisy))
        for transform in self.transforms:
            results = transform(results)
            if results is None:
                return None
        if self.crop is not None and not small and np.random.rand() < self.crop["probability"]:
            self._note(results, "crop")
            return self._cropped_copy(results) if self._added else self._window(results)
        return results

    def _corrupted(self, results: dict[str, Any], *, noisy: bool) -> dict[str, Any]:
        """Return the sample with noise, where it is to have any, in the image or in its copy."""
        image, copies = parted(results)
        if noisy and self.noise is not None:
            self._note(results, "noise")
            corrupted = corrupt(image, self.noise["sigma"])
            if self._added:
                copies[ENHANCED] = corrupted
            else:
                # the adversarial image is made from the clean one, which has to go through the same transforms
                copies |= {UNTOUCHED: image} if self._makes_pair else {}
                image = corrupted
        elif self._added:
            copies[ENHANCED] = image
        return joined(results, image, copies) if self._added or noisy else results

    def _cropped_copy(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the copy alone; the loss on it reads no boxes."""
        image, copies = parted(results)
        results[APART] = {ENHANCED: self._window.image_alone(copies.pop(ENHANCED))}
        return joined(results, image, copies)

    def _note(self, results: dict[str, Any], what: str) -> None:
        results["altered"], results["enhanced"] = what, self.enhancement is not None and not self._added

    def _judge(self, results: dict[str, Any]) -> tuple[bool, bool]:
        """Tell whether the image is small, for the crop and for the noise."""
        if self._boxes is not None and self.enhancement is not None:
            share = self._boxes.share(content_of(results), results["ori_shape"][:2], self.enhancement["min_score"])
            return (share < self.enhancement["theta"],) * 2
        boxes, ignored = _annotated(results)
        return judged_small(boxes, self.area_threshold, ignored=ignored, published=self.published)

    def __repr__(self) -> str:
        settings = f"area_threshold={self.area_threshold}, noise={self.noise}, crop={self.crop}"
        settings += f", published={self.published}, enhancement={self.enhancement}"
        return f"{type(self).__name__}({settings}, transforms={self.transforms})"


def _annotated(results: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Read boxes [n, 4] in original pixels, and which of them are crowds."""
    if results.get("gt_bboxes") is None:
        hint = "put LoadAnnotations(with_bbox=True) before SampleSpecificAugment"
        refuse("augment: gt_bboxes", "must be the boxes of the sample", None, hint)
    boxes = results["gt_bboxes"]
    boxes = boxes.numpy() if hasattr(boxes, "numpy") else boxes
    scale = np.tile(np.asarray(results.get("scale_factor", (1.0, 1.0)), dtype=np.float64), 2)
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4) / scale, results.get("gt_ignore_flags")


_FORMS = get_args(MaskingEnhancement.model_fields["form"].annotation)
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "noise.probability": (lambda value: 0 <= value <= 1, "must be in 0..1"),
    "noise.sigma": (lambda value: value >= 0, "must be 0 or more (of the 0..1 range)"),
    "crop.probability": (lambda value: 0 <= value <= 1, "must be in 0..1"),
    "crop.min_ratio": (lambda value: 0 < value <= 1, "must be in (0, 1]"),
    "enhancement.theta": (lambda value: value > 0, "must be above 0 (share of the image)"),
    "enhancement.form": (_FORMS.__contains__, f"must be one of {', '.join(_FORMS)}"),
    "enhancement.min_score": (lambda value: 0 <= value <= 1, "must be in 0..1"),
}


def _complete(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one group, what is left out at its default.

    Raises:
        BadInput: an unknown setting, or one out of range.
    """
    for setting, value in given.items():
        if setting not in defaults:
            refuse(f"augment: {name}", f"takes {', '.join(sorted(defaults))}", setting)
        holds, rule = _RULES.get(f"{name}.{setting}", (None, ""))
        if holds is not None and not holds(value):
            refuse(f"augment: {name}.{setting}", rule, value)
    return {**defaults, **given}
