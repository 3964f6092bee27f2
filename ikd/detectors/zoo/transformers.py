"""Detectors with a transformer that decodes queries: DAB-DETR and DINO."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from ikd.detectors.zoo.parts import preprocessor
from ikd.detectors.zoo.small import SmallDetector, takes

_FIRST_OF_DINO, _LAST_STAGE = 3, 5
_UNITS_A_HEAD = 8
_LOSSES = {
    "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
    "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0},
    "loss_iou": {"type": "GIoULoss", "loss_weight": 2.0},
}
_ASSIGNER = {
    "type": "HungarianAssigner",
    "match_costs": [
        {"type": "FocalLossCost", "weight": 2.0, "eps": 1e-8},
        {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
        {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
    ],
}
Queries = Annotated[int, Field(ge=1, le=900)]
Layers = Annotated[int, Field(ge=1, le=6)]


@takes()
def dab_detr_r18(small: SmallDetector, *, queries: Queries = 40, layers: Layers = 2) -> dict[str, Any]:
    """Return a DAB-DETR for small inputs, on C5; its queries are boxes.

    Args:
        small: what it is made of; `neck_channels` is the width of the transformer.
        queries: boxes that the decoder begins with, at least as many as objects in an image.
        layers: of the encoder, and of the decoder.
    """
    dims = small.neck_channels
    ffn = {
        "embed_dims": dims,
        "feedforward_channels": 4 * dims,
        "num_fcs": 2,
        "ffn_drop": 0.0,
        "act_cfg": {"type": "PReLU"},
    }
    heads = dims // math.gcd(dims, _UNITS_A_HEAD)
    attention = {"embed_dims": dims, "num_heads": heads, "attn_drop": 0.0, "proj_drop": 0.0}
    return {
        "type": "DABDETR",
        "num_queries": queries,
        "with_random_refpoints": False,
        "num_patterns": 0,
        "data_preprocessor": preprocessor(),
        "backbone": small.backbone_config(_LAST_STAGE),
        "neck": {
            "type": "ChannelMapper",
            "in_channels": small.channels(_LAST_STAGE),
            "kernel_size": 1,
            "out_channels": dims,
            "act_cfg": None,
            "norm_cfg": None,
            "num_outs": 1,
        },
        "encoder": {
            "num_layers": layers,
            "layer_cfg": {
                "self_attn_cfg": {"embed_dims": dims, "num_heads": heads, "dropout": 0.0, "batch_first": True},
                "ffn_cfg": ffn,
            },
        },
        "decoder": {
            "num_layers": layers,
            "query_dim": 4,
            "query_scale_type": "cond_elewise",
            "with_modulated_hw_attn": True,
            "return_intermediate": True,
            "layer_cfg": {
                "self_attn_cfg": {**attention, "cross_attn": False},
                "cross_attn_cfg": {**attention, "cross_attn": True},
                "ffn_cfg": ffn,
            },
        },
        "positional_encoding": {"num_feats": dims // 2, "temperature": 20, "normalize": True},
        "bbox_head": {
            "type": "DABDETRHead",
            "num_classes": 80,
            "embed_dims": dims,
            **_LOSSES,
        },
        "train_cfg": {"assigner": _ASSIGNER},
        "test_cfg": {"max_per_img": queries},
    }


@takes()
def dino_r18(
    small: SmallDetector, *, queries: Queries = 40, layers: Layers = 2, encoder_layers: Layers = 1
) -> dict[str, Any]:
    """Return a DINO for small inputs, on C3 to C5; it learns on thousands of images what a DAB-DETR needs millions for.

    Args:
        small: what it is made of; `neck_channels` is the width of the transformer.
        queries: places of the encoder that the decoder begins with, at least as many as objects in an image.
        layers: of the decoder.
        encoder_layers: of the encoder.
    """
    dims, channels = small.neck_channels, small.channels(_FIRST_OF_DINO)
    heads = math.gcd(dims, _UNITS_A_HEAD)
    attention = {"embed_dims": dims, "num_heads": heads, "dropout": 0.0}
    ffn = {"embed_dims": dims, "feedforward_channels": 4 * dims, "ffn_drop": 0.0}
    sampled = {**attention, "num_levels": len(channels)}
    return {
        "type": "DINO",
        "num_queries": queries,
        "num_feature_levels": len(channels),
        "with_box_refine": True,
        "as_two_stage": True,
        "data_preprocessor": preprocessor(),
        "backbone": small.backbone_config(_FIRST_OF_DINO),
        "neck": {
            "type": "ChannelMapper",
            "in_channels": channels,
            "kernel_size": 1,
            "out_channels": dims,
            "act_cfg": None,
            "norm_cfg": {"type": "GN", "num_groups": heads},
            "num_outs": len(channels),
        },
        "encoder": {"num_layers": encoder_layers, "layer_cfg": {"self_attn_cfg": sampled, "ffn_cfg": ffn}},
        "decoder": {
            "num_layers": layers,
            "return_intermediate": True,
            "layer_cfg": {"self_attn_cfg": attention, "cross_attn_cfg": sampled, "ffn_cfg": ffn},
            "post_norm_cfg": None,
        },
        "positional_encoding": {"num_feats": dims // 2, "temperature": 20, "normalize": True, "offset": 0.0},
        "bbox_head": {
            "type": "DINOHead",
            "num_classes": 80,
            "embed_dims": dims,
            "sync_cls_avg_factor": True,
            **_LOSSES,
        },
        "dn_cfg": {
            "label_noise_scale": 0.5,
            "box_noise_scale": 1.0,
            "group_cfg": {"dynamic": True, "num_groups": None, "num_dn_queries": queries},
        },
        "train_cfg": {"assigner": _ASSIGNER},
        "test_cfg": {"max_per_img": queries},
    }
