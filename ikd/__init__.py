"""ikd: hyperparameter search that distils big object detectors into small ones.

From a program or a notebook:

    from pathlib import Path

    import ikd

    result = ikd.run_sweep("search_spaces/ikd.yaml", runner="runners/local.yaml", name="mine")
    sweep = ikd.Sweep("mine")       # a sweep that runs, was interrupted, or is complete
    sweep.chosen                    # the chosen configuration, and what to expect of it
    sweep.gain()                    # what it brings, with an interval
    sweep.frame(), sweep.curves()   # pandas: a row a trial, a row a validation
    sweep.report()                  # report.html in the sweep's folder
    ikd.export_sweep("mine", Path("student"))

`load_recipe`, `load_space` and `load_runner` read the three files; `tune_trainable` and `run_trial` train one recipe.
Each name is loaded when it is first used: `import ikd` loads neither torch nor Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.config import Recipe, Runner, SearchSpace, load_recipe, load_runner, load_space
    from ikd.export import export_student, export_sweep
    from ikd.report import Sweep
    from ikd.sweep import SweepResult, run_sweep, tune_trainable
    from ikd.training import run_trial

_HOMES = {
    "Recipe": "ikd.config",
    "Runner": "ikd.config",
    "SearchSpace": "ikd.config",
    "Sweep": "ikd.report",
    "SweepResult": "ikd.sweep",
    "export_student": "ikd.export",
    "export_sweep": "ikd.export",
    "load_recipe": "ikd.config",
    "load_runner": "ikd.config",
    "load_space": "ikd.config",
    "run_sweep": "ikd.sweep",
    "run_trial": "ikd.training",
    "tune_trainable": "ikd.sweep",
}

__all__ = [
    "Recipe",
    "Runner",
    "SearchSpace",
    "Sweep",
    "SweepResult",
    "export_student",
    "export_sweep",
    "load_recipe",
    "load_runner",
    "load_space",
    "run_sweep",
    "run_trial",
    "tune_trainable",
]


def __dir__() -> list[str]:
    """Return the public names: a notebook completes by them."""
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    """Import on first use: `import ikd` must not load torch, mmdet, ray or mlflow."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ikd")
        except PackageNotFoundError:  # a bare checkout
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module 'ikd' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
