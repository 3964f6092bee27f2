"""What is refused before a sweep writes anything."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from ikd.config import Recipe


def check_training(training: str, recipe: Recipe, home: Path) -> None:
    """Refuse a recipe that does not fit its data or detectors; every trial of its sweep would fail.

    Args:
        training: module that trains; asked only where it has a `check`.
        recipe: the base recipe.
        home: the ikd home of the sweep.

    Raises:
        BadInput: what does not fit, and what would.
    """
    check = getattr(importlib.import_module(training), "check", None)
    if check is None:
        return
    before = os.environ.get("IKD_HOME")
    os.environ["IKD_HOME"] = str(home)
    try:
        check(recipe)
    finally:
        os.environ.pop("IKD_HOME") if before is None else os.environ.update(IKD_HOME=before)
