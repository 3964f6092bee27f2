"""The complete mmdet pipelines that trials train and validate with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Literal

from ikd.augment import copy_paste as _copy_paste  # noqa: F401, registers its transform
from ikd.augment import joint as _joint  # noqa: F401, and these
from ikd.augment import photometric as _photometric  # noqa: F401, and this
from ikd.augment.geometry import Geometry, Transform, mixed, mosaic, padded, scaled
from ikd.augment.pair import CHANNELS, AttachPerturbation, PerturbationReader
from ikd.augment.sample_specific import SampleSpecificAugment
from ikd.config import Cutout, Data, Input, Pad, Recipe
from ikd.data import image_loader
from ikd.detectors import head_row
from ikd.errors import refuse

_ORDERS = ("flip_crop", "crop_flip")
_INPUT, _DATA = Input(), Data(root="")
Orientation = Literal["apply", "ignore"]


def train_pipeline(  # noqa: PLR0913 (what a recipe says of its input)
    *,
    scale: tuple[int, int],
    keep_ratio: bool = _INPUT.keep_ratio,
    flip: float = _INPUT.flip,
    order: Literal["flip_crop", "crop_flip"] = _INPUT.order,
    augment: Mapping[str, Any] | None = None,
    perturbations: PerturbationReader | Mapping[str, Any] | None = None,
    beside: Sequence[Mapping[str, Any]] = (),
    crafted_later: bool = False,
    with_masks: bool = False,
    settings: Input = _INPUT,
    mixes: bool = False,
    keep_empty: bool = _DATA.keep_empty,
    with_reference: bool = False,
    orientation: Orientation = _DATA.orientation,
) -> list[dict[str, Any]]:
    """Write the training pipeline of one phase.

    With `augment` and `perturbations` it is IKD's first phase, without both the plain second one.

    Args:
        scale: what mmdet's Resize takes: longest and shortest side with `keep_ratio`, else width and height, px.
        keep_ratio: keep the aspect ratio.
        flip: probability of a horizontal flip, 0..1.
        order: of flip and crop; the authors flip first for RetinaNet and RepPoints, and crop first for Mask R-CNN.
        augment: arguments of `SampleSpecificAugment`, without `transforms`; None for no such augmentation.
        perturbations: as `AttachPerturbation` takes them; None for no adversarial image.
        beside: those against other teachers that teach at once.
        crafted_later: keep what an adversarial image is made from, in place of `perturbations`.
        with_masks: load and transform instance masks too.
        settings: a recipe's `input`, of which the sections are read. The data set puts the entries of other images
            that copy-paste, mosaic and mixup take under the sample's `partner`, `tiles` and `mixed`, as
            `ikd.training`'s does.
        mixes: mosaic and mixup act, those that are enabled.
        keep_empty: a window may hold no box; a recipe's `data.keep_empty`.
        with_reference: keep the image before noise and joint augmentation as the copy `reference`.
        orientation: a recipe's `data.orientation`.

    Returns:
        Configs of mmdet transforms. A sample ends as `inputs` (uint8 [3, H, W], BGR), `data_samples`, with
        perturbations `adversarial` (uint8 [3, H, W], the same geometry, never noisy), and with an enhancement of form
        `added` the copy `enhanced` (uint8 [3, H', W']). With `crafted_later` it
        has `unaltered`, the packed sample as resized, whose `geometry` says what flip and crop have done since.

    Raises:
        BadInput: an argument is out of range; nothing else is checked later, except the perturbations themselves.
    """
    _check_geometry(scale, flip, order)
    resize: list[Transform] = [{"type": "Resize", "scale": tuple(scale), "keep_ratio": keep_ratio}]
    if perturbations is not None:
        AttachPerturbation(perturbations, beside)  # refused here, not in a worker
        resize.append({"type": "AttachPerturbation", "perturbations": perturbations, "beside": beside})
    elif crafted_later:
        resize.append({"type": "AttachUnaltered"})
    pasting = settings.copy_paste
    load: list[Transform] = [
        image_loader(orientation),
        {
            "type": "LoadAnnotations",
            "with_bbox": True,
            "with_mask": with_masks or (pasting.enabled and pasting.by == "mask"),
        },
        *([{"type": "AttachReference"}] if with_reference else []),
    ]
    geometry = Geometry(scale, keep_ratio, keep_empty=keep_empty)
    pictures = _pictures(settings, [*load[:2], *resize], with_masks=with_masks)
    flips: list[Transform] = [{"type": "RandomFlip", "prob": flip}] if flip else []
    sizes = scaled(settings.multi_scale, geometry, mosaic=mixes and settings.mosaic.enabled)
    if mixes:
        # each image by itself up to here: of four about a point, none is the one whose boxes decide
        own = resize if augment is None else [_specific(augment, resize)]
        source = [*load, *own]
        quarters = mosaic(settings.mosaic, source, geometry)
        others = mixed(settings.mixup, source, flip)
        return [*source, *quarters, *sizes, *pictures, *flips, *padded(settings.pad), *others, {"type": "PackPair"}]
    middle = [*resize, *sizes, *pictures]
    if augment is None:
        middle += flips
    elif order == "flip_crop" or _adds(augment):
        middle = [_specific(augment, [*middle, *flips])]
    else:
        middle = [_specific(augment, middle), *flips]
    return [*load, *middle, *padded(settings.pad), {"type": "PackPair"}]


def _pictures(settings: Input, source: list[Transform], *, with_masks: bool) -> list[Transform]:
    """Return what is done to the picture at the network's size; `source` brings another image there."""
    found: list[Transform] = []
    if settings.copy_paste.enabled:
        pasting = settings.copy_paste.model_dump(exclude={"enabled"})
        found.append({"type": "IkdCopyPaste", "source": source, "keep_masks": with_masks, **pasting})
    if settings.joint.acts:
        found.append({"type": "IkdJoint", **settings.joint.model_dump(exclude={"enabled"})})
    if settings.photometric.enabled:
        found.append({"type": "IkdPhotometric", **settings.photometric.model_dump(exclude={"enabled"})})
    if settings.cutout.enabled:
        found.append(_holes(settings.cutout))
    return found


def test_pipeline(
    *,
    scale: tuple[int, int],
    keep_ratio: bool = _INPUT.keep_ratio,  # noqa: PT028, no test
    bordered: bool = False,  # noqa: PT028, no test
    pad: Pad = _INPUT.pad,  # noqa: PT028, no test
    orientation: Orientation = _DATA.orientation,  # noqa: PT028, no test
) -> list[dict[str, Any]]:
    """Write the validation pipeline: resizing only.

    Args:
        scale: what mmdet's Resize takes, px.
        keep_ratio: keep the aspect ratio.
        bordered: for a head that reads the border (`ikd.detectors.Head`): note one, of the pixel that makes sides even.
        pad: one size for all; a recipe's `input.pad`.
        orientation: a recipe's `data.orientation`.

    Returns:
        Configs of mmdet transforms, all of them mmdet's own.

    Raises:
        BadInput: an argument is out of range.
    """
    _check_geometry(scale, 0.0, _ORDERS[0])
    meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    load = image_loader(orientation)
    resize = {"type": "Resize", "scale": tuple(scale), "keep_ratio": keep_ratio}
    filling = (
        [{"type": "Pad", "size": tuple(pad.size), "pad_val": {"img": (pad.fill,) * CHANNELS}}] if pad.enabled else []
    )
    if not bordered:
        return [load, resize, *filling, {"type": "PackDetInputs", "meta_keys": meta}]
    pack = {"type": "PackDetInputs", "meta_keys": (*meta, "border")}
    return [{**load, "to_float32": True}, resize, *filling, _BORDER, pack]


def test_pipeline_of(recipe: Recipe, head: object) -> list[dict[str, Any]]:
    """Write the validation pipeline of a recipe for a detector.

    Args:
        recipe: says how large images are, and which way up.
        head: the detector's box head, or the name of its type; None where it has none.

    Returns:
        As `test_pipeline`.
    """
    return test_pipeline(
        scale=recipe.input.scale,
        keep_ratio=recipe.input.keep_ratio,
        bordered=head_row(head).reads_border,
        pad=recipe.input.pad,
        orientation=recipe.data.orientation,
    )


_BORDER: dict[str, Any] = {
    **{"type": "RandomCenterCropPad", "test_mode": True, "test_pad_mode": ["size_divisor", 2]},
    **{"ratios": None, "border": None, "mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": True},
}


def _check_geometry(scale: tuple[int, int], flip: float, order: str) -> None:
    if len(scale) != 2 or not all(isinstance(side, int) and side >= 1 for side in scale):
        refuse("augment: scale", "must be two whole numbers of pixels, 1 or more", scale)
    if not 0 <= flip <= 1:
        refuse("augment: flip", "must be in 0..1", flip)
    if order not in _ORDERS:
        refuse("augment: order", f"must be one of {', '.join(_ORDERS)}", order)


def _adds(augment: Mapping[str, Any]) -> bool:
    """Tell whether enhanced images are copies: once cropped they are apart, so that no flip may come after."""
    enhancement = augment.get("enhancement")
    return enhancement is not None and enhancement.get("form") == "added"


def _holes(cutout: Cutout) -> dict[str, Any]:
    ratio = (cutout.ratio, cutout.ratio)
    hole = {"type": "CutOut", "n_holes": cutout.holes, "cutout_ratio": ratio, "fill_in": 0}  # 0: any number of channels
    return {"type": "RandomApply", "transforms": [hole], "prob": cutout.probability}


def _specific(augment: Mapping[str, Any], transforms: list[dict[str, Any]]) -> dict[str, Any]:
    known = signature(SampleSpecificAugment).parameters.keys() - {"transforms"}
    if unknown := sorted(augment.keys() - known):
        refuse("augment", f"takes {', '.join(sorted(known))}", unknown[0])
    SampleSpecificAugment(**augment)  # refused here, not in a worker
    return {"type": "SampleSpecificAugment", **augment, "transforms": transforms}
