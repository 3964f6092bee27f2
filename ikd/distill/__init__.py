"""Distillation: losses, and the detector that holds student and teacher."""

from ikd.distill.canvas import canvas_divisor
from ikd.distill.functional import Targets
from ikd.distill.losses.adapted import AdaptedLoss, AdaptedPyramid
from ikd.distill.losses.imitation.fgfi import Anchors
from ikd.distill.losses.registry import LOSSES, RECONSTRUCTIONS, build_loss, check_loss, of_pyramid, takes
from ikd.distill.losses.weights import PyramidSize, Scale, rescale
from ikd.distill.precision import arrange, autocast_type, check_precision
from ikd.distill.resizing import resized

# DistillDetector is imported from ikd.distill.detector: it needs mmengine, the losses need only torch

__all__ = [
    "LOSSES",
    "RECONSTRUCTIONS",
    "AdaptedLoss",
    "AdaptedPyramid",
    "Anchors",
    "PyramidSize",
    "Scale",
    "Targets",
    "arrange",
    "autocast_type",
    "build_loss",
    "canvas_divisor",
    "check_loss",
    "check_precision",
    "functional",
    "of_pyramid",
    "rescale",
    "resized",
    "takes",
]
