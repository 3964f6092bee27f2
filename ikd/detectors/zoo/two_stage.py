"""Two-stage detectors: Faster, Mask and Cascade (Mask) R-CNN."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.roi import box_head, mask_branch, rcnn_stage, roi_extractor, two_stage_detector
from ikd.detectors.zoo.small import Scale, SmallDetector, takes

_STDS = (0.1, 0.1, 0.2, 0.2)
_CASCADE = (  # overlap from which on a proposal is an object, scale of the box offsets, weight of the loss
    (0.5, _STDS, 1.0),
    (0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    (0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)


@takes("head_units")
def faster_rcnn_r18(small: SmallDetector, *, anchor_scale: Scale = 4.0) -> dict[str, Any]:
    """Return a Faster R-CNN for small inputs; `anchor_scale` is the side of the anchor in strides of its level."""
    return two_stage_detector(
        "FasterRCNN", small, _standard_roi(small), rcnn=rcnn_stage(0.5), anchor_scale=anchor_scale
    )


@takes("head_units")
def mask_rcnn_r18(small: SmallDetector, *, anchor_scale: Scale = 4.0) -> dict[str, Any]:
    """Return a Mask R-CNN for small inputs, anchors as in `faster_rcnn_r18`; the data needs instance masks."""
    roi = _standard_roi(small) | mask_branch(small.neck_channels)
    rcnn = rcnn_stage(0.5, low_quality=True, masks=True)
    return two_stage_detector("MaskRCNN", small, roi, rcnn=rcnn, anchor_scale=anchor_scale)


@takes("head_units", "masks", "deformable")
def cascade_rcnn_r18(small: SmallDetector) -> dict[str, Any]:
    """Return a Cascade R-CNN of three stages for small inputs, with `masks` a Cascade Mask R-CNN."""
    roi = {
        "type": "CascadeRoIHead",
        "num_stages": len(_CASCADE),
        "stage_loss_weights": [weight for _, _, weight in _CASCADE],
        "bbox_roi_extractor": roi_extractor(small.neck_channels, 7),
        "bbox_head": [box_head(small, stds, class_agnostic=True) for _, stds, _ in _CASCADE],
        **(mask_branch(small.neck_channels) if small.masks else {}),
    }
    return two_stage_detector(
        "CascadeRCNN", small, roi, rcnn=[rcnn_stage(overlap, masks=small.masks) for overlap, _, _ in _CASCADE]
    )


def _standard_roi(small: SmallDetector) -> dict[str, Any]:
    return {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": roi_extractor(small.neck_channels, 7),
        "bbox_head": box_head(small, _STDS),
    }
