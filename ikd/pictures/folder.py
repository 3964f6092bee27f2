"""The pictures of a trial as they lie on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ikd.files import sha256

FORMAT = 1
MEASURES, DETECTIONS = "measures.json", "detections"


def read_measures(folder: Path) -> Mapping[str, Any] | None:
    """Return what measures.json of a folder of pictures says.

    Returns:
        `student` and `teacher` (or null): `ap`, `ap_by_class` by name, `ap_by_size` by `s`, `m`, `l`, of boxes, 0..1,
        null where there is no such object. `images`: file names of the photographs in `detections`, in their order.
        `teacher_name`; `least_score` of the boxes that are drawn, by `student` and `teacher`; `missing`: what could not
        be made, a line each. None where there are no whole pictures of this version.
    """
    try:
        content = json.loads((folder / MEASURES).read_text(encoding="utf-8"))
        return content if content["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def shows(folder: Path, checkpoint: Path) -> bool:
    """Tell whether a folder holds whole pictures of the student in a checkpoint."""
    found = read_measures(folder)
    return found is not None and checkpoint.is_file() and found.get("checkpoint") == sha256(checkpoint)


def files_of(folder: Path) -> list[Path]:
    """Return the pictures in a folder, those of detections first."""
    return sorted((folder / DETECTIONS).glob("*.jpg")) + sorted(one for one in folder.iterdir() if one.is_file())
