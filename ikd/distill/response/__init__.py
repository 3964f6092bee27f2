"""Losses between what the heads of two detectors predict for the same anchors, points or regions."""

from ikd.distill.response.extra import ResponseTerms
from ikd.distill.response.heads import ReliableScores, ScoreHeads
from ikd.distill.response.hosts import HEADS, Between, SeenLosses, between
from ikd.distill.response.queries import QueryTerm
from ikd.distill.response.soft import SoftTargets
from ikd.distill.response.terms import TERMS
from ikd.distill.views import Assignment, Level, Locations

__all__ = [
    "HEADS",
    "TERMS",
    "Assignment",
    "Between",
    "Level",
    "Locations",
    "QueryTerm",
    "ReliableScores",
    "ResponseTerms",
    "ScoreHeads",
    "SeenLosses",
    "SoftTargets",
    "between",
]
