"""What a detector's config says beside its model, which a recipe says in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ikd.detectors.config import MMDET_PREFIX, PREFIX, left_out, shipped_file
from ikd.detectors.source import read_source


def unread_settings(config: str | Mapping[str, Any]) -> dict[str, str]:
    """Return what of a config changes a training and is not read, by the recipe field that says it.

    Pipelines, schedules and data are not told: every config has them, and so has every recipe.

    Args:
        config: of a student, as in a recipe; one of ikd's own has its model alone.

    Returns:
        Recipe field -> name in the config.
    """
    changed = left_out(config)
    found = {"input.batch_scale": changed[0]} if changed else {}
    content = whole_config(config)
    if content.get("load_from"):
        found["student.checkpoint"] = "load_from"
    hooks = content.get("custom_hooks") or ()
    if any(isinstance(one, Mapping) and str(one.get("type")).endswith("EMAHook") for one in hooks):
        found["schedule.ema"] = "EMAHook"
    return found


def whole_config(config: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all that a detector's config says; nothing for one of ikd's own."""
    if not isinstance(config, str):
        return config
    if config.startswith(PREFIX):
        return {}
    path = shipped_file(config) if config.startswith(MMDET_PREFIX) else Path(config).expanduser()
    content: Mapping[str, Any] = read_source(path)
    return content
