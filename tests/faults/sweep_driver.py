"""A sweep in a process of its own, to be killed: `python -m tests.faults.sweep_driver SETTINGS`.

SETTINGS is JSON: `space`, `runner` and `values` change the small sweep; `moment` names when the process kills itself:
`{"before": LABEL, "nth": N}` is before the N-th call whose label begins with LABEL, where labels are
`write:METHOD:KEY` for everything written to the study's storage and `mlflow:METHOD` for requests to MLflow.
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
from ikd.sweep import run_sweep
from ikd.tracking import SpooledTracker
from tests.unit.sweep.conftest import make_runner, make_space

MLFLOW_CALLS = ("create_run", "log_batch", "set_terminated")
TRACKER_CALLS = ("start_sweep", "start_trial", "log", "end_trial", "log_artifacts", "end_sweep")


class Moments:
    """Counts what the process writes, and kills it before the one that was asked for."""

    def __init__(self, moment: dict[str, Any] | None) -> None:
        self._wanted = str(moment["before"]) if moment else ""
        self._left = int(moment["nth"]) if moment else 0
        self._lock = threading.Lock()
        self.labels: list[str] = []
        self.slowest = 0.0

    def passed(self, label: str) -> None:
        with self._lock:
            self.labels.append(label)
            if self._wanted and label.startswith(self._wanted):
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

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


def main(text: str) -> int:
    settings = json.loads(text)
    moments = Moments(settings.get("moment"))
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
