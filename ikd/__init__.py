"""ikd: hyperparameter search that distils big object detectors into small ones."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.config import Recipe, Runner, SearchSpace
    from ikd.export import export_student
    from ikd.sweep import run_sweep, tune_trainable
    from ikd.training import run_trial

_HOMES = {
    "Recipe": "ikd.config",
    "Runner": "ikd.config",
    "SearchSpace": "ikd.config",
    "export_student": "ikd.export",
    "run_sweep": "ikd.sweep",
    "run_trial": "ikd.training",
    "tune_trainable": "ikd.sweep",
}

__all__ = ["Recipe", "Runner", "SearchSpace", "export_student", "run_sweep", "run_trial", "tune_trainable"]


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
