"""The box detectors of mmdet's zoo, and how each is made small enough to be tried on a CPU."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from benchmarks.zoo.language import language_folder
from ikd.detectors import reads_text

OTHERS = frozenset(
    "BaseReID ByteTrack CLRNet DeepSORT Detectron2Wrapper Mask2Former Mask2FormerVideo MaskFormer MaskTrackRCNN OCSORT "
    "QDTrack RPN SoftTeacher StrongSORT".split()
)
"""Models that are no box detectors: tracking, re-identification, lanes, proposals alone, wrappers, masks alone."""
RESNETS = frozenset({"RegNet", "Res2Net", "ResNeSt", "ResNeXt", "ResNet", "mmpretrain.ResNet"})
WIDTH = 8
"""Channels of the first stage of a stand-in."""
KEPT = ("dcn", "dilations", "num_stages", "out_indices", "plugins", "stage_with_dcn", "strides")
Overrides = dict[str, Any]


def zoo_root() -> Path:
    """Return the folder of the configs that mmdet is installed with."""
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / ".mim" / "configs"


def zoo_names() -> list[str]:
    """Return the names of all configs that may hold a model, `FOLDER/NAME.py`."""
    root = zoo_root()
    return sorted(str(file.relative_to(root)) for file in root.glob("*/*.py") if file.parent.name != "_base_")


@functools.cache
def model_of(name: str) -> Any:
    """Return the model of a config; None where it has none, or one that is no box detector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = Config.fromfile(zoo_root() / name, lazy_import=False).get("model")
        except ImportError:  # of mmpretrain: the recipe will say so
            return None
        except Exception:  # a config is a program, and some point at files that mmdet does not ship
            return None
    if not model or "type" not in model or model["type"] in OTHERS:
        return None
    return model


def small(model: Mapping[str, Any]) -> Overrides:
    """Return the overrides that make a detector small.

    Those are a stand-in for its backbone, fewer layers and queries, and a language model that nobody has to fetch.
    """
    language = {"language_model.name": str(language_folder())} if reads_text(model) else {}
    return {**_backbone(model), **dict(_transformer(model)), **language}


def _backbone(model: Mapping[str, Any]) -> Overrides:
    backbone, neck = model.get("backbone") or {}, model.get("neck")
    kind = backbone.get("type")
    if kind in ("CSPNeXt", "CSPDarknet"):
        return _csp([64, 128, 192, 256] if backbone.get("arch") == "P6" else [64, 128, 256])
    if "shared_head" in (model.get("roi_head") or {}) or neck is None:
        return _few_rois(model)  # their heads want the width of that stage
    if kind in RESNETS:
        deep = bool(backbone.get("dcn") or backbone.get("plugins"))  # which need bottlenecks
        changes = {key: backbone[key] for key in KEPT if key in backbone}
        plain = {"type": "ResNet", "depth": 50 if deep else 18, "base_channels": WIDTH, "style": "pytorch"}
        widths = [WIDTH * (4 if deep else 1) * 2**stage for stage in range(4)]
        own: Overrides = {"backbone": {**plain, "norm_eval": False, **changes}}
    elif kind == "HRNet":
        widths = [WIDTH * 2**stage for stage in range(4)]
        own = {f"backbone.extra.stage{stage}.num_channels": widths[:stage] for stage in (2, 3, 4)}
        own |= {f"backbone.extra.stage{stage}.num_modules": 1 for stage in (2, 3, 4)}
    elif kind == "SwinTransformer":
        stages = len(backbone["depths"])
        widths = [32 * 2**stage for stage in range(stages)]
        heads = [2 * 2**stage for stage in range(stages)]
        own = {"backbone.embed_dims": 32, "backbone.depths": [1] * stages, "backbone.num_heads": heads}
    else:
        return {}
    return own | _read_by(neck, [widths[stage] for stage in backbone.get("out_indices", range(4))])


def _few_rois(model: Mapping[str, Any]) -> Overrides:
    """Return what leaves a head that runs a whole stage of a backbone on each region few regions."""
    if "shared_head" not in (model.get("roi_head") or {}):
        return {}
    sampled = {"train_cfg.rcnn.sampler.num": 32, "train_cfg.rpn_proposal.max_per_img": 50}
    return {**sampled, "test_cfg.rpn.max_per_img": 50}


def _read_by(neck: Any, widths: list[int]) -> Overrides:
    """Tell a neck, or the first of several, the widths of the stand-in."""
    first, place = (neck[0], "neck.0") if isinstance(neck, (list, tuple)) else (neck, "neck")
    key = "in_channels" if "in_channels" in first else "in_channel"
    return {f"{place}.{key}": widths if isinstance(first.get(key), (list, tuple)) else widths[-1]}


def _csp(widths: list[int]) -> Overrides:
    out = 64
    own = {"backbone.widen_factor": 0.25, "backbone.deepen_factor": 0.167, "neck.num_csp_blocks": 1}
    heads = {"bbox_head.in_channels": out, "bbox_head.feat_channels": out}
    return own | {"neck.in_channels": widths, "neck.out_channels": out} | heads


def _transformer(model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what leaves a transformer few layers, and no more queries than an image of 160 px has cells."""
    if "decoder" not in model:
        return
    yield "encoder.num_layers", 1
    if model["encoder"].get("num_cp"):
        yield "encoder.num_cp", 0  # which needs fairscale
    yield "decoder.num_layers", 2
    if model.get("num_queries", 0) > 100:
        yield "num_queries", 100
    if "group_cfg" in (model.get("dn_cfg") or {}):
        yield "dn_cfg.group_cfg.num_dn_queries", 10
    if (model.get("test_cfg") or {}).get("max_per_img", 0) > 100:
        yield "test_cfg.max_per_img", 100
    if model["type"] == "DDQDETR":
        yield "dense_topk_ratio", 0.5


def kind_of(name: str) -> str:
    """Return detector, backbone's type where it is no ResNet, neck, dense head, and how few classes, for people."""
    model = model_of(name)
    backbone, neck = model.get("backbone") or model.get("detector", {}).get("backbone") or {}, model.get("neck")
    necks = (
        [one["type"] for one in neck] if isinstance(neck, (list, tuple)) else [neck["type"]] if neck else ["no neck"]
    )
    head = (model.get("bbox_head") or model.get("mask_head") or {}).get("type")
    parts = [model["type"], head if head and head != f"{model['type']}Head" else None, " + ".join(necks)]
    special = backbone.get("type") if backbone.get("type") not in RESNETS else None
    alone = "one class" if len(classes_for(name)) == 1 else None
    return ", ".join(part for part in (*parts, special, alone) if part)


def classes_for(name: str) -> list[str]:
    """Return the classes of the data that a config is tried on: one, where its heads know no more."""
    from ikd.detectors import knows_one_class

    return ["a"] if knows_one_class(model_of(name)) else ["a", "b", "c"]


def digest(name: str) -> str:
    """Return the digest of what a config is once it is small; equal ones need to be tried only once.

    Mean, deviation and order of colours are left out, as these differ between otherwise equal ones.
    """
    from ikd.detectors import detector_config
    from ikd.errors import IkdError

    try:
        config = detector_config(f"mmdet::{name}", overrides=small(model_of(name)), classes=classes_for(name))
    except IkdError as error:
        return f"refused: {error}"
    for part, key in (("language_model", "name"), ("bbox_head", "lang_model_name")):
        (config.get(part) or {}).pop(key, None)
    for key in ("mean", "std", "bgr_to_rgb", "rgb_to_bgr"):
        config.get("data_preprocessor", {}).pop(key, None)
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True, default=str).encode()).hexdigest()[:16]
