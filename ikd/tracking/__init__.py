"""Where results go: the MLflow writer, which cannot hurt a sweep, and one that writes nothing.

The only package that imports mlflow, and it does so in the writer's thread, so that importing this one stays light.
"""

from __future__ import annotations

from ikd.tracking._environment import environment_tags
from ikd.tracking._mlflow import local_uri
from ikd.tracking._names import trial_name
from ikd.tracking._open import open_tracker
from ikd.tracking._protocol import NullTracker, SweepState, Tracker, TrialState
from ikd.tracking._registry import RegisteredStudent, register_best
from ikd.tracking._tracker import MlflowTracker
from ikd.tracking._ui import serve_ui

__all__ = [
    "MlflowTracker",
    "NullTracker",
    "RegisteredStudent",
    "SweepState",
    "Tracker",
    "TrialState",
    "environment_tags",
    "local_uri",
    "open_tracker",
    "register_best",
    "serve_ui",
    "trial_name",
]
