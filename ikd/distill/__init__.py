"""Distillation: losses, and the detector that holds student and teacher."""

from ikd.distill import functional
from ikd.distill._build import LOSSES, RECONSTRUCTIONS, AdaptedLoss, build_loss, takes
from ikd.distill._scale import PyramidSize, Scale, rescale
from ikd.distill.functional import Targets

# DistillDetector is imported from ikd.distill.detector: it needs mmengine, the losses need only torch

__all__ = [
    "LOSSES",
    "RECONSTRUCTIONS",
    "AdaptedLoss",
    "PyramidSize",
    "Scale",
    "Targets",
    "build_loss",
    "functional",
    "rescale",
    "takes",
]
