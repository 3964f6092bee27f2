"""Checkpoints: written whole or not at all, loaded without running code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ikd.errors import CheckpointError

FORMAT = 1
Content = dict[str, Any]


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically: a reader sees the old file or the new one, also after a crash."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> Content:
    """Read a checkpoint written by `save`, tensors and plain values only.

    Raises:
        CheckpointError: missing, cut short, unsafe, or not one of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        rule = "must be a whole checkpoint of tensors and plain values"
        raise CheckpointError(f"{path}: {rule}: {_reason(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: must be a checkpoint of format {FORMAT} written by ikd, but got {got!r}")
    return content


def _reason(error: Exception) -> str:
    """Return the line of torch's advice that names what is wrong."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line.strip() for line in lines if "Unsupported" in line), lines[0])


def student_file(model: Any, *, classes: tuple[str, ...], info: Mapping[str, Any]) -> Content:
    """Return what `best.pth` holds: the student alone in mmdet's own layout, so that mmdet can load it directly."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.student.state_dict().items()}
    return {"state_dict": weights, "meta": {"dataset_meta": {"classes": list(classes)}, **info}}
