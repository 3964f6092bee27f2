"""The best student of a sweep as plain mmdet files: weights, config, card, and ONNX where asked for."""

from ikd.export._evaluate import evaluate
from ikd.export._export import export_student
from ikd.export._exported import Exported, SearchContext
from ikd.export._sweep import export_sweep, parse_pick

__all__ = ["Exported", "SearchContext", "evaluate", "export_student", "export_sweep", "parse_pick"]
