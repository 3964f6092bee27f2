"""The images that a rehearsal sees: those of the most different shapes."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ikd.data import DataFiles, indexed
from ikd.files import write_text

COUNT = 2
"""Images of each part: batches of one size hide what padding breaks."""


def write_excerpt(files: DataFiles, folder: Path) -> DataFiles:
    """Write annotations of the few images of both parts that a rehearsal sees, and return where they lie.

    Raises:
        DataError: an annotation file is unreadable.
    """
    few = files.photographs.first(COUNT) if files.photographs is not None else None
    short = dataclasses.replace(files, train=folder / "train.json", val=folder / "val.json", photographs=few)
    for part, place in ((files.train, short.train), (files.val, short.val)):
        write_text(place, json.dumps(_chosen(part, part.stat().st_mtime_ns)))
    return short


def looks(files: DataFiles) -> list[Any]:
    """Return what of these images can make a step fail: their sizes, and the boxes and masks on them."""
    found: list[Any] = [list(files.classes)]
    for part in (files.train, files.val):
        chosen = _chosen(part, part.stat().st_mtime_ns)
        found += [[image["width"], image["height"]] for image in chosen["images"]]
        found += [[box["bbox"], box["category_id"], bool(box.get("segmentation"))] for box in chosen["annotations"]]
    return found


@lru_cache(maxsize=8)
def _chosen(annotations: Path, stamp: int) -> dict[str, Any]:
    """Return the COCO content cut down to the image of the flattest and that of the steepest shape.

    Images with a box are preferred: the others are not trained on.
    """
    index = indexed(annotations)
    places = np.flatnonzero(index.with_boxes) if index.with_boxes.any() else np.arange(len(index))
    widths = index.widths[places]
    places = places[np.lexsort((index.ids[places], widths, widths / index.heights[places]))]
    ends = [int(places[0]), int(places[-1])] if len(places) >= COUNT else places.tolist()
    return {
        "images": [index.image(place) for place in ends],
        "annotations": [box for place in ends for box in index.annotations(place)],
        "categories": index.categories,
    }
