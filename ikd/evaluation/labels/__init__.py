"""The teacher's boxes as labels: what it scores by, what it sees, where that is kept."""

from ikd.evaluation.labels.making import LEAST_SIDE_PX, label_key, look_for_labels, usual_threshold
from ikd.evaluation.labels.store import Boxes, LabelBook, LabelStore

__all__ = ["LEAST_SIDE_PX", "Boxes", "LabelBook", "LabelStore", "label_key", "look_for_labels", "usual_threshold"]
