"""What the head of a detector says, in one form for all heads."""

from ikd.distill.views.locations import Assignment, Level, Locations, joint_logits, place_logits, unassigned
from ikd.distill.views.pairing import paired

__all__ = ["Assignment", "Level", "Locations", "joint_logits", "paired", "place_logits", "unassigned"]
