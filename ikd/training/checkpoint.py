"""Checkpoints: written whole or not at all, checked before they are read, loaded without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ikd.errors import CheckpointError
from ikd.files import link_whole, write_whole
from ikd.trial import TrialFolder

FORMAT = 1
Content = dict[str, Any]


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint: a reader sees the old file or the new one, also after a crash.

    Raises:
        DiskFull: the old file is intact.
    """
    write_whole(path, lambda file: torch.save({"format": FORMAT, **content}, file))


def save_last(content: Mapping[str, Any], folder: TrialFolder, *, keep: bool = False) -> None:
    """Write last.pth, and keep what stood there as previous.pth.

    Args:
        content: of the checkpoint; `epoch` names the file that is kept.
        folder: of the trial.
        keep: give it the second name epoch-K.pth, under which it stays.

    Raises:
        DiskFull: last.pth is intact.
    """
    if folder.last.is_file():
        link_whole(folder.last, folder.previous)
    save(content, folder.last)
    if keep:
        link_whole(folder.last, folder.path / folder.kept_name(content["epoch"]))


def load(path: Path) -> Content:
    """Read a checkpoint written by `save`, tensors and plain values only.

    Raises:
        CheckpointError: missing, cut short, damaged, unsafe, or not one of ours.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch itself takes a flipped bit for a weight
            if damaged := file.testzip():
                raise zipfile.BadZipFile(f"{damaged} does not have the checksum it was written with")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is not ours fails in any way
        rule = "must be a whole checkpoint of tensors and plain values"
        raise CheckpointError(f"{path}: {rule}: {_reason(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: must be a checkpoint of format {FORMAT} written by ikd, but got {got!r}")
    return content


def resumable(directory: Path) -> Path | None:
    """Return the checkpoint from which a trial can go on: last.pth, else previous.pth, else None.

    One that is missing, cut short or damaged is passed over. Whose it is, `run_trial` looks at.
    """
    folder = TrialFolder(directory)
    for path in (folder.last, folder.previous):
        try:
            load(path)
        except CheckpointError:
            continue
        return path
    return None


def _reason(error: Exception) -> str:
    """Return the line of torch's advice that names what is wrong."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line.strip() for line in lines if "Unsupported" in line), lines[0])


def student_file(model: Any, *, classes: tuple[str, ...], info: Mapping[str, Any]) -> Content:
    """Return what `best.pth` holds: the student or its average alone, in mmdet's own layout, which it loads."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.validated.state_dict().items()}
    return {"state_dict": weights, "meta": {"dataset_meta": {"classes": list(classes)}, **info}}
