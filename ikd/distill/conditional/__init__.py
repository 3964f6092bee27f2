"""The decoder of ICD: it learns to find objects in the teacher's maps, and so shows where these say what."""

from ikd.distill.conditional.decoder import InstanceDecoder
from ikd.distill.conditional.queries import Queries, draw_queries

__all__ = ["InstanceDecoder", "Queries", "draw_queries"]
