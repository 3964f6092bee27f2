"""CrossKD between the heads of two detectors."""

from ikd.distill.crosskd.compare import crosskd, crosskd_roi
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.crosskd.regions import CrossRegions
from ikd.distill.crosskd.towers import Seen
from ikd.distill.losses.crosskd import CrossKD, align_scale, crosskd_classification

__all__ = [
    "CrossHeads",
    "CrossKD",
    "CrossRegions",
    "Seen",
    "align_scale",
    "check_heads",
    "crosskd",
    "crosskd_classification",
    "crosskd_roi",
]
