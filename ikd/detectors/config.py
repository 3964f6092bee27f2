"""From a detector's name, file or inline dict to a plain mmdet model config."""

from __future__ import annotations

import copy
import difflib
import importlib.util
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from pydantic import ValidationError, validate_call

from ikd.detectors.families import known
from ikd.detectors.kinds.crowd import knows_one_class
from ikd.detectors.kinds.panoptic import parts_of_maps, predict_instances
from ikd.detectors.kinds.text import prepare_text, reads_text
from ikd.detectors.pretrained import drop_remote_weights, refuse_remote_weights
from ikd.detectors.source import by_name, read_source
from ikd.errors import BadInput, refuse

MMDET_PREFIX = "mmdet::"


def detector_config(
    config: str | Mapping[str, Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None,
    pretrained_backbone: bool = False,
) -> ConfigDict:
    """Return the plain mmdet model config of a detector.

    Nothing is ever downloaded unless asked for: an `init_cfg` that points at `torchvision://`, `open-mmlab://` or a
    URL is dropped, and with it what only makes sense on top of pretrained weights: a backbone that lost them gets
    `frozen_stages=-1`, `norm_eval=False` and trainable norms. Weights in a local file are kept. Augmentations of whole
    batches are left out, and images are padded to multiples of `FUSED_STRIDE` at least.

    Args:
        config: `mmdet::FOLDER/NAME.py` (shipped with mmdet), `ikd::NAME` (shipped with ikd, or registered
            by another package), the path of a mmengine config file with a `model`, or the model itself.
        arguments: keyword arguments of an `ikd::` detector.
        overrides: dotted key into the model -> new value; list items by index
            (`roi_head.bbox_head.0.fc_out_channels`). A dict given as value replaces what was there.
        classes: class names of the data set; their number goes into every head. None leaves each its own.
        pretrained_backbone: keep `init_cfg` weights that need a download.

    Raises:
        BadInput: unknown name, argument or key, unreadable file, a file that would run code (see `ikd.trust`), or a
            model in which no head has classes.
    """
    if isinstance(config, str) and config.startswith(PREFIX):
        model = ConfigDict(copy.deepcopy(dict(zoo_config(config, arguments or {}))))
    elif arguments:
        raise BadInput(f"only {PREFIX} detectors take arguments, got {dict(arguments)} for {config!r}; use overrides")
    elif isinstance(config, Mapping):
        model = _model_of(copy.deepcopy(dict(config)), "the inline detector")
    else:
        model = _read(config)
    predict_instances(model)
    prepare_canvas(model)
    _take_mmcvs(model)
    if not pretrained_backbone:
        drop_remote_weights(model, absent=isinstance(config, str) and config.startswith(MMDET_PREFIX))
    apply_overrides(model, overrides or {}, classes)
    if not pretrained_backbone:
        refuse_remote_weights(model)
    if reads_text(model):
        prepare_text(model, classes)
    elif classes is not None:
        set_classes(model, len(classes))
    divisor_of(model)  # an override may have set it
    if batch_augments(model):
        rule = "must not be set: what makes batches is the recipe's `input`, for teacher and adversarial copies alike"
        refuse("overrides data_preprocessor.batch_augments", rule, [one["type"] for one in batch_augments(model)])
    return model


def _take_mmcvs(node: Any) -> None:
    """Take mmcv's layers in place of torch's and torchvision's, in place.

    Torch's synchronised batch norm cannot be built in a single process. torchvision's RoIAlign, which CrowdDet asks
    for, computes what mmcv's does; without it an export needs no more than those of others.
    """
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _take_mmcvs(value)
    if isinstance(node, dict) and node.get("type") == "MMSyncBN":
        node["type"] = "SyncBN"
    if isinstance(node, dict) and node.get("use_torchvision"):
        del node["use_torchvision"]


FUSED_STRIDE = 32
"""Stride of the coarsest map that backbones of four stages give to a neck, in pixels.

A neck that fuses maps by upsampling needs images of whole multiples of it. Levels above come by strided convolutions,
which round up.
"""


def prepare_canvas(model: ConfigDict) -> None:
    """Let batches be made by the recipe alone, of a size that every neck can take: in place.

    `batch_augments` goes, the divisor becomes a multiple of the backbone's coarsest stride, and masks are padded as
    images are, which RTMDet-Ins leaves to its own pipeline.
    """
    preprocessor = model.get("data_preprocessor")
    if isinstance(preprocessor, dict):
        preprocessor.pop("batch_augments", None)
        preprocessor["pad_size_divisor"] = math.lcm(divisor_of(model), fused_stride(model))
        if str((model.get("bbox_head") or {}).get("type", "")).startswith("RTMDetIns"):
            preprocessor["pad_mask"] = True


def fused_stride(model: Mapping[str, Any]) -> int:
    """Return the stride of the coarsest map that the backbone of a model config gives to its neck, in pixels.

    Four stages lead to `FUSED_STRIDE`, and a fifth (RTMDet's P6, a Swin of five stages) to twice that. HRFPN makes its
    coarse levels so too.
    """
    backbone, neck = model.get("backbone"), model.get("neck")
    if isinstance(neck, Mapping) and neck.get("type") == "HRFPN":  # averages whole cells: its levels round down
        return max(FUSED_STRIDE, 4 * int(neck.get("stride", 1)) * 2 ** (int(neck.get("num_outs", 5)) - 1))
    if not isinstance(backbone, Mapping):
        return FUSED_STRIDE
    stages = [one for one in backbone.get("out_indices") or () if isinstance(one, int)]
    if backbone.get("arch") == "P6" or (backbone.get("type") == "SwinTransformer" and max(stages, default=0) > 3):
        return 2 * FUSED_STRIDE
    return FUSED_STRIDE


def divisor_of(model: Mapping[str, Any]) -> int:
    """Return the pixels to whose multiples a model config pads a batch, 1 where it says nothing.

    Raises:
        BadInput: no whole number above 0.
    """
    preprocessor = model.get("data_preprocessor")
    divisor = preprocessor.get("pad_size_divisor", 1) if isinstance(preprocessor, Mapping) else 1
    if isinstance(divisor, bool) or not isinstance(divisor, int) or divisor < 1:
        refuse("detector: data_preprocessor.pad_size_divisor", "must be a whole number of pixels, 1 or more", divisor)
    return divisor


def batch_augments(model: Mapping[str, Any]) -> list[Any]:
    """Return the augmentations of whole batches that a model config holds."""
    preprocessor = model.get("data_preprocessor")
    return list((preprocessor or {}).get("batch_augments") or [])


def left_out(config: str | Mapping[str, Any]) -> list[str]:
    """Return what `detector_config` leaves out of a detector's config: batch augmentations, and parts of maps."""
    if isinstance(config, str) and config.startswith(PREFIX):
        return []
    model = _read(config) if isinstance(config, str) else _model_of(config, "the inline detector")
    return [one["type"] for one in batch_augments(model)] + parts_of_maps(model)


def _read(config: str) -> ConfigDict:
    path = shipped_file(config) if config.startswith(MMDET_PREFIX) else Path(config).expanduser()
    if not path.is_file():
        raise BadInput(
            f"no detector config at {config!r}; give {MMDET_PREFIX}FOLDER/NAME.py, {PREFIX}NAME, or the path of a file"
        )
    try:
        content = read_source(path)
    except BadInput:
        raise
    except Exception as error:  # a config file is a program: it can fail in any way
        if "mmpretrain" in str(error):
            rule = "needs the package mmpretrain, which is not installed"
            raise BadInput(
                f"detector config {config!r} {rule}; install it, or take a Swin or ResNet backbone"
            ) from error
        raise BadInput(f"cannot read detector config {config!r}: {type(error).__name__}: {error}") from error
    return _model_of(content._cfg_dict, repr(config))


def _model_of(content: Mapping[str, Any], name: str) -> ConfigDict:
    model = content.get("model", content)
    if not isinstance(model, Mapping) or "type" not in model:
        raise BadInput(f"{name} must be a model with a type, or hold one as `model`; got keys {sorted(content)}")
    return ConfigDict(by_name(model))


def shipped_file(name: str) -> Path:
    """Return the file of a config that mmdet ships, without importing mmdet."""
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0]) / ".mim" / "configs"
    path = root / name.removeprefix(MMDET_PREFIX)
    if path.is_file() and path.resolve().is_relative_to(root.resolve()):
        return path
    known = [MMDET_PREFIX + str(file.relative_to(root)) for file in root.glob("*/*.py")]
    raise BadInput(f"mmdet ships no config called {name!r}{nearest(name, known)}")


# the RPN knows object or not; the semantic branch of HTC counts stuff classes of another annotation file
_OTHER_CLASSES = frozenset({"rpn_head", "semantic_head"})


def set_classes(model: ConfigDict, count: int) -> None:
    """Set `num_classes` in every head of `model`, in place: one- and two-stage, cascades, masks, point heads.

    Raises:
        BadInput: no head of this model counts classes, there are none to set, or more than its heads can know.
    """
    if count < 1:
        raise BadInput(f"a detector needs at least one class, got {count}")
    if count > 1 and knows_one_class(model):
        rule = f"must be 1 for a {model['type']}, whose head tells objects from none and no class from another"
        refuse("detector: num_classes", rule, count, "take data of one class, or another detector, such as FasterRCNN")
    heads = [(key, head) for key, head in model.items() if key.endswith("_head") and key not in _OTHER_CLASSES]
    if not sum(_set(head, count, is_box_head=key == "bbox_head") for key, head in heads):
        if "detector" in model:  # SoftTeacher and its like
            raise BadInput(f"{model.get('type')} wraps another detector; name that one instead")
        raise BadInput(f"{model.get('type')}: found no head with num_classes in {', '.join(sorted(model))}")


def _set(node: Any, count: int, *, is_box_head: bool) -> int:
    """Set the classes under `node` and return in how many places."""
    if isinstance(node, (list, tuple)):
        return sum(_set(item, count, is_box_head=is_box_head) for item in node)
    if not isinstance(node, Mapping):
        return 0
    number = 0
    # a box head that leaves num_classes out would silently take its class's 80
    if "num_classes" in node or (is_box_head and "type" in node):
        node["num_classes"] = count  # type: ignore[index]
        number += 1
    for key, value in node.items():
        if key not in _OTHER_CLASSES:
            number += _set(value, count, is_box_head=key == "bbox_head")
    return number


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return `; nearest: a, b` for the known names that resemble `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def apply_overrides(model: ConfigDict, overrides: Mapping[str, Any], classes: Sequence[str] | None) -> None:
    """Set each dotted key of `overrides` in `model`, in place.

    The last part of a key may be new (an argument the config leaves at its default); all before it must exist.

    Raises:
        BadInput: unknown parent, index outside its list, or a `num_classes` other than the data set's.
    """
    for key, value in overrides.items():
        *parents, last = key.split(".")
        if last == "num_classes" and "rpn_head" not in parents and classes is not None and value != len(classes):
            raise BadInput(f"override {key}={value!r}: the data set has {len(classes)} classes; leave num_classes out")
        node: Any = model
        for depth, part in enumerate(parents):
            node = node[_place(node, part, key, ".".join(parents[:depth]))]
        if isinstance(node, dict):
            node[last] = _config(value)
        else:
            node[_place(node, last, key, ".".join(parents))] = _config(value)


def _config(value: Any) -> Any:
    return ConfigDict(value) if isinstance(value, Mapping) else value


def _place(node: Any, part: str, key: str, where: str) -> str | int:
    """Return the key or index under which `part` lies in `node`."""
    inside = where or "the model"
    if isinstance(node, Mapping):
        if part in node:
            return part
        known = ", ".join(sorted(node))
        raise BadInput(f"override {key!r}: {inside} has no {part!r}{nearest(part, node)}; it has {known}")
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            return int(part)
        last = len(node) - 1
        raise BadInput(f"override {key!r}: {inside} is a list; wanted an index 0..{last}, got {part!r}")
    raise BadInput(f"override {key!r}: {inside} is {node!r} and holds no {part!r}")


PREFIX = "ikd::"


def zoo_config(name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model config of the small detector `name`, such as `ikd::retinanet_r18`.

    Raises:
        BadInput: no such detector, an unknown argument, or a value of the wrong type or range; names what is allowed.
    """
    zoo = known().zoo
    function = zoo.get(name.removeprefix(PREFIX))
    if function is None:
        names = [PREFIX + key for key in zoo]
        raise BadInput(f"no detector is called {name!r}{nearest(name, names)}; ikd ships {', '.join(names)}")
    checked = validate_call(config=ConfigDict(strict=True))(function)
    try:
        return checked(**arguments)
    except ValidationError as error:
        allowed = ", ".join(f"{key}={item.default!r}" for key, item in inspect.signature(function).parameters.items())
        problems = "; ".join(_problem(item) for item in error.errors())
        raise BadInput(f"{name}: {problems}; allowed arguments and their defaults: {allowed}") from None


def _problem(item: Any) -> str:
    argument = item["loc"][0] if item["loc"] else "arguments"
    if item["type"] == "unexpected_keyword_argument":
        return f"unknown argument {argument}={item['input']!r}"
    return f"{argument}={item['input']!r}: {item['msg']}"
