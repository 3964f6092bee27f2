"""A teacher's checkpoint without the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ikd.config import Recipe, Teacher
from ikd.detectors import build_detector
from ikd.training import DataFiles, model_config


def save_untrained(base: Recipe, detector: dict[str, Any], file: Path) -> Path:
    """Write random weights of `detector` for the classes of the recipe's data."""
    torch.manual_seed(5)
    classes = DataFiles.of(base).classes
    model = build_detector(model_config(Teacher.model_validate(detector), classes))
    torch.save({"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": list(classes)}}}, file)
    return file
