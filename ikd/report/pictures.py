"""Pictures of a trial, small enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.pictures import read_measures
from ikd.report.parts import Picture
from ikd.sweep import TrialRecord
from ikd.trial import TrialFolder

NAMES = {
    "ap.png": "AP of student and teacher",
    "pr.png": "precision over recall",
    "confusion.png": "confusion of the student",
    "confusion_teacher.png": "confusion of the teacher",
    "batch.jpg": "a batch as it is trained",
}
WIDTHS = (1280, 960, 720, 480, 320)
"""In px, to which an image is shrunk, the first at which it fits."""
QUALITY = 80
"""Of JPEG, 0 to 100."""


@dataclass(frozen=True)
class Pictures:
    """What lies in a trial's folder of pictures.

    Attributes:
        folder: it.
        command: that makes what lacks.
    """

    folder: Path
    command: str

    @property
    def detections(self) -> list[Path]:
        """Images with truth, teacher and student, the worst first."""
        return sorted([*self.folder.glob("detections/*.jpg"), *self.folder.glob("detections/*.png")])

    @property
    def lacking(self) -> list[str]:
        """What of all there may be is not there, and why where that is known."""
        names = [name for name in NAMES if not (self.folder / name).is_file()]
        said = [str(one) for one in self.measures.get("missing") or ()]
        return said or [*([] if self.detections else ["detections"]), *names]

    @property
    def measures(self) -> Mapping[str, Any]:
        """What measures.json says; nothing where there are no whole pictures."""
        return read_measures(self.folder) or {}

    def embedded(self, room: int) -> list[Picture]:
        """Return the pictures as they stand in a page.

        Args:
            room: bytes that all of them may take; each is shrunk to its share, and left out where that is too little.
        """
        files = [(path, f"image {path.stem}: truth, teacher, student") for path in self.detections]
        files += [(self.folder / name, text) for name, text in NAMES.items() if (self.folder / name).is_file()]
        share = room // max(len(files), 1)
        found = [(uri, text) for path, text in files if (uri := _shrunk(path, share)) is not None]
        return [Picture(uri, text) for uri, text in found]


def pictures_of(sweep: str, record: TrialRecord) -> Pictures:
    """Return the pictures of a trial, there or not."""
    return Pictures(TrialFolder(record.directory).pictures, f"ikd show {sweep} {record.number} --pictures")


def _shrunk(path: Path, room: int) -> str | None:
    """Return a picture as a `data:` address of at most so many bytes; None where it cannot be read or made so small."""
    import cv2  # loads for a while, and most sweeps have no pictures

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return None
    for width in WIDTHS:
        scale = min(1.0, width / image.shape[1])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        done, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if done and 4 * len(content) // 3 <= room:
            return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
    return None
