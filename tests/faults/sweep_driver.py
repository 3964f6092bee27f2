"""A sweep in a process of its own, to be killed: `python -m tests.faults.sweep_driver SETTINGS`.

SETTINGS is JSON: `space`, `runner` and `values` change the small sweep; `moment` names when the process kills itself:
`{"before": LABEL, "nth": N}` is before the N-th call whose label begins with LABEL, where labels are
`write:METHOD:KEY` for everything written to the study's storage (a new trial's KEY is its role) and `mlflow:METHOD` for
requests to MLflow. With `"role": ROLE` only what is written while the latest trial has this role counts.
Where `labels` names a file, all labels and the longest call of the tracker are written to it at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ikd.config import load_recipe
from ikd.errors import IkdError
from ikd.signals import Ended, ended_by_signals, tell
from ikd.sweep import run_sweep, trials_of
from ikd.sweep.study.folder import sweep_folder
from ikd.tracking import SpooledTracker
from tests.unit.sweep.conftest import make_runner, make_space

MLFLOW_CALLS = ("create_run", "log_batch", "set_terminated")
NEW = "write:create_new_trial:"
TRACKER_CALLS = ("start_sweep", "start_trial", "log", "end_trial", "log_artifacts", "end_sweep")


class Moments:
    """Counts what the process writes, and kills it before the one that was asked for."""

    def __init__(self, moment: dict[str, Any] | None, role: str) -> None:
        self._wanted = str(moment["before"]) if moment else ""
        self._left = int(moment["nth"]) if moment else 0
        self._during = moment.get("role") if moment else None
        self._role = role  # of the latest trial
        self._lock = threading.Lock()
        self.labels: list[str] = []
        self.slowest = 0.0

    def passed(self, label: str) -> None:
        with self._lock:
            self.labels.append(label)
            if self._wanted and label.startswith(self._wanted) and self._during in (None, self._role):
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            if label.startswith(NEW):
                self._role = label.removeprefix(NEW)

    def watch(self, owner: Any, method: str, label: Callable[[tuple[Any, ...], dict[str, Any]], str]) -> None:
        call = getattr(owner, method)

        def watched(*arguments: Any, **keywords: Any) -> Any:
            self.passed(label(arguments, keywords))
            return call(*arguments, **keywords)

        setattr(owner, method, watched)

    def clock(self, owner: Any, method: str) -> None:
        call = getattr(owner, method)

        def clocked(*arguments: Any, **keywords: Any) -> Any:
            began = time.monotonic()
            try:
                return call(*arguments, **keywords)
            finally:
                self.slowest = max(self.slowest, time.monotonic() - began)

        setattr(owner, method, clocked)


def write_label(method: str) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    def label(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
        key = arguments[2] if len(arguments) > 2 and not method.startswith("create") else ""
        if template := keywords.get("template_trial"):
            key = template.user_attrs["role"]
        return f"write:{method}:{getattr(key, 'name', key)}"

    return label


def watch_storage(moments: Moments) -> None:
    from optuna.storages import RDBStorage

    for method in dir(RDBStorage):
        if method.startswith(("create_", "set_", "delete_")):
            moments.watch(RDBStorage, method, write_label(method))


def watch_mlflow(moments: Moments) -> None:
    from mlflow import MlflowClient

    for method in MLFLOW_CALLS:
        moments.watch(MlflowClient, method, lambda arguments, keywords, name=method: f"mlflow:{name}")  # type: ignore[misc]


def latest_role() -> str:
    """Return the role of the latest trial, as earlier starts have left it."""
    records = trials_of("s") if sweep_folder("s").exists else []
    return records[-1].role if records else "search"


def main(text: str) -> int:
    settings = json.loads(text)
    moments = Moments(settings.get("moment"), latest_role())
    watch_storage(moments)
    if (settings.get("moment") or {}).get("before", "").startswith("mlflow"):
        watch_mlflow(moments)  # only then: its import takes seconds
    for method in TRACKER_CALLS:
        moments.clock(SpooledTracker, method)
    recipe = load_recipe("drawn_r18")
    try:
        with ended_by_signals():
            result = run_sweep(
                make_space(**settings.get("space", {})),
                recipe=recipe.with_values(settings["values"]) if "values" in settings else recipe,
                runner=make_runner(**settings.get("runner", {})), name="s", training="tests.unit.sweep.fake_training",
            )  # fmt: skip
        return result.exit_status
    except Ended as ended:
        return tell(ended)
    except IkdError as error:  # as the ikd command does
        print(f"error: {error}")
        return error.exit_status
    finally:
        if "labels" in settings:
            content = {"labels": moments.labels, "slowest_tracker_call": moments.slowest}
            Path(settings["labels"]).write_text(json.dumps(content))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
