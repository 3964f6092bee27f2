"""The best student of a sweep as plain mmdet files: weights, config, card, and ONNX where asked for."""

from ikd.evaluation import evaluate
from ikd.export.export import export_student
from ikd.export.exported import Exported, SearchContext
from ikd.export.sweep import export_sweep, parse_pick

__all__ = ["Exported", "SearchContext", "evaluate", "export_student", "export_sweep", "parse_pick"]
