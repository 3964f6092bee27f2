"""The teacher's boxes as labels: what it scores by, what it sees, where that is kept."""

from ikd.evaluation.labels.making import label_key, look_for_labels, usual_threshold
from ikd.evaluation.labels.store import LabelBook, LabelStore

__all__ = ["LabelBook", "LabelStore", "label_key", "look_for_labels", "usual_threshold"]
