"""Detectors with a transformer that decodes queries: DAB-DETR."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from ikd.detectors.zoo.parts import preprocessor
from ikd.detectors.zoo.small import SmallDetector, takes

_LAST_STAGE = 5
_UNITS_A_HEAD = 8
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
            "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0},
            "loss_iou": {"type": "GIoULoss", "loss_weight": 2.0},
        },
        "train_cfg": {
            "assigner": {
                "type": "HungarianAssigner",
                "match_costs": [
                    {"type": "FocalLossCost", "weight": 2.0, "eps": 1e-8},
                    {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
                    {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
                ],
            }
        },
        "test_cfg": {"max_per_img": queries},
    }
