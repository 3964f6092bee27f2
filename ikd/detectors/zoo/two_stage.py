"""Two-stage detectors: Faster, Mask and Cascade (Mask) R-CNN."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import Channels, Scale, Units
from ikd.detectors.zoo.roi import box_head, mask_branch, rcnn_stage, roi_extractor, two_stage_detector
from ikd.detectors.zoo.trunk import Backbone, Depth, Trunk

_STDS = (0.1, 0.1, 0.2, 0.2)
_CASCADE = (  # overlap from which on a proposal is an object, scale of the box offsets, weight of the loss
    (0.5, _STDS, 1.0),
    (0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    (0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)


def faster_rcnn_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    head_units: Units = 128,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    anchor_scale: Scale = 4.0,
) -> dict[str, Any]:
    """Faster R-CNN for small inputs.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid.
        head_units: width of the two fully connected layers of the box head.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        anchor_scale: side of the anchor in strides of its level.
    """
    trunk = Trunk(backbone, depth, base_channels, neck_channels)
    roi = _standard_roi(neck_channels, head_units)
    return two_stage_detector("FasterRCNN", trunk, roi, rcnn=rcnn_stage(0.5), anchor_scale=anchor_scale)


def mask_rcnn_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    head_units: Units = 128,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    anchor_scale: Scale = 4.0,
) -> dict[str, Any]:
    """Mask R-CNN for small inputs; the data needs instance masks.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the mask head.
        head_units: width of the two fully connected layers of the box head.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        anchor_scale: side of the anchor in strides of its level.
    """
    trunk = Trunk(backbone, depth, base_channels, neck_channels)
    roi = _standard_roi(neck_channels, head_units) | mask_branch(neck_channels)
    rcnn = rcnn_stage(0.5, low_quality=True, masks=True)
    return two_stage_detector("MaskRCNN", trunk, roi, rcnn=rcnn, anchor_scale=anchor_scale)


def cascade_rcnn_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    head_units: Units = 128,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    masks: bool = False,
    deformable: bool = False,
) -> dict[str, Any]:
    """Cascade R-CNN of three stages for small inputs, with `masks` Cascade Mask R-CNN.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the mask heads.
        head_units: width of the two fully connected layers of each box head.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        masks: a mask head a stage; the data needs instance masks.
        deformable: deformable convolutions in the last three backbone stages (depth 50).
    """
    heads = [box_head(neck_channels, head_units, stds, class_agnostic=True) for _, stds, _ in _CASCADE]
    roi = {
        "type": "CascadeRoIHead",
        "num_stages": len(_CASCADE),
        "stage_loss_weights": [weight for _, _, weight in _CASCADE],
        "bbox_roi_extractor": roi_extractor(neck_channels, 7),
        "bbox_head": heads,
        **(mask_branch(neck_channels) if masks else {}),
    }
    trunk = Trunk(backbone, depth, base_channels, neck_channels, deformable)
    return two_stage_detector(
        "CascadeRCNN", trunk, roi, rcnn=[rcnn_stage(overlap, masks=masks) for overlap, _, _ in _CASCADE]
    )


def _standard_roi(channels: int, units: int) -> dict[str, Any]:
    return {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": roi_extractor(channels, 7),
        "bbox_head": box_head(channels, units, _STDS),
    }
