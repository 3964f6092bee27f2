"""Annotations and detections made by hand, and pictures of them, without a detector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ikd.config import Recipe
from ikd.data import DataFiles
from ikd.pictures.detections import write_detections
from ikd.pictures.judged import Judged, judge
from ikd.pictures.making import write_charts
from ikd.pictures.style import drawing

Box = tuple[float, float, float, float]
"""Left, top, width, height, px."""


@dataclass(frozen=True)
class Scene:
    """A validation part on the disk, and what a detector has found there."""

    files: DataFiles
    detections: Sequence[Mapping[str, Any]]

    def judged(self) -> Judged:
        return judge(self.files.val, self.detections)

    def drawn(self, folder: Path, recipe: Recipe) -> Path:
        """Draw all that needs no detector, twice the same one side by side."""
        own = self.judged()
        with drawing():
            write_detections(folder / "detections", recipe, self.files, own, ("big <b>$x$", own))
            write_charts(folder, self.files, own, ("big <b>$x$", own))
        return folder


def scene(
    folder: Path,
    truths: Mapping[str, Sequence[tuple[int, Box]]],
    found: Mapping[str, Sequence[tuple[int, Box, float]]],
    *,
    classes: Sequence[str] = ("cat", "dog"),
    crowds: Mapping[str, Sequence[tuple[int, Box]]] | None = None,
    size: tuple[int, int] = (60, 80),
) -> Scene:
    """Write a validation part.

    Args:
        folder: is filled.
        truths: label and box of each object, by file name.
        found: label, box and score of each detection, by file name.
        classes: names, by label; ids begin at 7.
        crowds: label and box of crowds, by file name.
        size: height and width of each photograph, px.
    """
    images, detections = list[dict[str, Any]](), list[dict[str, Any]]()
    annotations = list[dict[str, Any]]()
    for number, name in enumerate(truths, start=1):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), dtype=np.uint8)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        for crowd, boxes in ((0, truths[name]), (1, (crowds or {}).get(name, ()))):
            annotations += [
                {"image_id": number, "category_id": 7 + label, "bbox": list(box), "iscrowd": crowd}
                | {"id": len(annotations) + 1 + place, "area": box[2] * box[3]}
                for place, (label, box) in enumerate(boxes)
            ]
        detections += [
            {"image_id": number, "category_id": 7 + label, "bbox": list(box), "score": score}
            for label, box, score in found.get(name, ())
        ]
    categories = [{"id": 7 + label, "name": name} for label, name in enumerate(classes)]
    file = folder / "val.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(content), encoding="utf-8")
    return Scene(DataFiles(file, folder / "images", file, folder / "images", tuple(classes)), detections)
