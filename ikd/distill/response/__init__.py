"""Losses between what the heads of two detectors predict for the same anchors, points or regions."""

from ikd.distill.response.heads import ReliableScores, ScoreHeads
from ikd.distill.response.hosts import HEADS, Between, SeenLosses, between

__all__ = ["HEADS", "Between", "ReliableScores", "ScoreHeads", "SeenLosses", "between"]
