"""CrossKD between the heads of two detectors."""

from ikd.distill.crosskd.compare import crosskd
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.crosskd.towers import Seen
from ikd.distill.losses.crosskd import CrossKD, align_scale, crosskd_classification

__all__ = ["CrossHeads", "CrossKD", "Seen", "align_scale", "check_heads", "crosskd", "crosskd_classification"]
