"""Where results go: a tracker that cannot hurt a sweep, for MLflow, and one that writes nothing.

Only the files `mlflow_*.py` import mlflow, in the writer's thread, so that importing this package stays light.
"""

from __future__ import annotations

from ikd.tracking.environment import environment_tags
from ikd.tracking.markdown import block, cell, code, plain
from ikd.tracking.markdown import table as markdown_table
from ikd.tracking.mlflow_check import check_tracking
from ikd.tracking.mlflow_client import ARTIFACTS, hide_password, local_uri
from ikd.tracking.mlflow_pages import SweepPages, sweep_pages
from ikd.tracking.mlflow_registry import RegisteredStudent, StudentFacts, Worth, check_names, register_best
from ikd.tracking.mlflow_ui import serve_ui
from ikd.tracking.names import trial_name
from ikd.tracking.open import open_tracker
from ikd.tracking.protocol import NullTracker, Page, SweepState, Tracker, TrialState
from ikd.tracking.tracker import IDENTITY, SpooledTracker
from ikd.tracking.writer import Sink

__all__ = [
    "ARTIFACTS",
    "IDENTITY",
    "NullTracker",
    "Page",
    "RegisteredStudent",
    "Sink",
    "SpooledTracker",
    "StudentFacts",
    "SweepPages",
    "SweepState",
    "Tracker",
    "TrialState",
    "Worth",
    "block",
    "cell",
    "check_names",
    "check_tracking",
    "code",
    "environment_tags",
    "hide_password",
    "local_uri",
    "markdown_table",
    "open_tracker",
    "plain",
    "register_best",
    "serve_ui",
    "sweep_pages",
    "trial_name",
]
