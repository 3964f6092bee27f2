"""Small DETRs of each family that KD-DETR is for, without dropout, and a batch for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from ikd.detectors import build_detector, detector_config
from tests.unit.distill.heads import BOXES, SIDE, batch

WIDTH = 32
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "detr": ("detr/detr_r50_8xb2-150e_coco", {}),
    "conditional": ("conditional_detr/conditional-detr_r50_8xb2-50e_coco", {}),
    "dab": ("dab_detr/dab-detr_r50_8xb2-50e_coco", {}),
    "deformable": ("deformable_detr/deformable-detr_r50_16xb2-50e_coco", {}),
    "refined": ("deformable_detr/deformable-detr_r50_16xb2-50e_coco", {"with_box_refine": True}),
    "two_stage": (
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco",
        {"with_box_refine": True, "as_two_stage": True},
    ),
    "dino": ("dino/dino-4scale_r50_8xb2-12e_coco", {}),
    "ddq": ("ddq/ddq-detr-4scale_r50_8xb2-12e_coco", {}),
}
FAMILIES = tuple(name for name in CONFIGS if name != "ddq")
_SIZES = {
    "feedforward_channels": 2 * WIDTH,
    "dropout": 0.0,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "ffn_drop": 0.0,
}
_DEFORMABLE = {
    f"{part}.dropout": 0.0 for part in ("encoder.layer_cfg.self_attn_cfg", "decoder.layer_cfg.cross_attn_cfg")
}


def detr(family: str, seed: int = 0, **changes: Any) -> Any:
    """Build a small detector; `changes` are overrides of its config, with `__` for dots, and `classes`, a number."""
    name, own = CONFIGS[family]
    count = changes.pop("classes", 3)
    plain = detector_config(f"mmdet::{name}.py", classes=["0"])
    maps = [16, 32, 64] if len(plain["neck"]["in_channels"]) == 3 else [64]
    width = 256 if family in ("conditional", "two_stage") else WIDTH  # mmdet codes their places by 256 numbers
    sizes = _SIZES | {"embed_dims": width, "num_feats": width // 2}
    overrides: dict[str, Any] = {
        **dict(_sized(plain, sizes)),
        **(_DEFORMABLE if len(maps) == 3 else {}),
        "bbox_head.embed_dims": width,
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": False},
        "backbone.out_indices": [1, 2, 3] if len(maps) == 3 else [3],
        "neck.in_channels": maps,
        "neck.out_channels": width,
        "num_queries": 12,
        "encoder.num_layers": 1,
        "decoder.num_layers": 2,
        "test_cfg.max_per_img": 12,
        **own,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    torch.manual_seed(seed)
    classes = [str(one) for one in range(count)]
    detector = build_detector(detector_config(f"mmdet::{name}.py", overrides=overrides, classes=classes))
    return _varied(detector)


def _sized(config: Any, sizes: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _sized(value, sizes, f"{prefix}{key}.")
        elif key in sizes:
            yield prefix + key, sizes[key]


def _varied(detector: Any) -> Any:
    """Make the outputs of the heads differ from query to query, which zeros at the start do not."""
    for name, parameter in detector.bbox_head.named_parameters():
        if parameter.dim() > 1 and parameter.requires_grad and "reg" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return detector


def data() -> dict[str, Any]:
    """Return two images in pixels, as training gives them."""
    images, samples = batch(BOXES)
    pixels = [(one * 20 + 100).clamp(0, 255).byte() for one in images]
    samples = copy.deepcopy(samples)
    for sample in samples:
        sample.set_metainfo({"ori_shape": (SIDE, SIDE), "scale_factor": (1.0, 1.0)})
    return {"inputs": pixels, "data_samples": samples}
