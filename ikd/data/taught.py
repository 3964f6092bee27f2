"""What mmdet makes of a checked annotation file: what is taught, what is left out, and how big objects are then."""

from __future__ import annotations

import numpy as np

from ikd.data.network_size import rescaled
from ikd.data.report import VANISHING_PX, Sizes, Taught
from ikd.data.rules import Bools, Sound

_STEP_PX = 32


def taken(sound: Sound) -> tuple[Bools, Bools]:
    """Return [N] which annotations mmdet keeps, as its `CocoDataset.parse_data_info`, and which are single objects."""
    columns = sound.columns
    boxes = columns.boxes.values
    with np.errstate(invalid="ignore"):
        kept = sound.usable & (boxes[:, 2] >= 1) & (boxes[:, 3] >= 1) & (columns.ignores.values != 1)
    return kept, kept & (columns.crowds.values != 1)


def count_taught(sound: Sound, *, keep_empty: bool) -> Taught:
    """Count what of a file mmdet's CocoDataset teaches.

    mmdet leaves out images without any box in the file; one whose boxes are all dropped stays, as background.

    Args:
        sound: a checked file.
        keep_empty: the recipe's `data.keep_empty`.
    """
    columns = sound.columns
    kept, alone = taken(sound)
    named = np.unique(sound.image_of[sound.usable])
    shown = np.unique(sound.image_of[alone])
    trained = len(sound.images) if keep_empty else len(named)
    with np.errstate(invalid="ignore"):
        ignored = sound.usable & (columns.ignores.values == 1)
        thin = sound.usable & ~ignored & (columns.boxes.values[:, 2:] < 1).any(1)
    return Taught(
        images=len(columns.images),
        boxes=len(columns),
        taught_images=trained,
        empty_images=trained - len(shown),
        taught_boxes=int(alone.sum()),
        without_box=len(sound.images) - trained,
        crowds=int((kept & ~alone).sum()),
        ignored=int(ignored.sum()),
        thin=int(thin.sum()),
        faulty=int((~sound.usable).sum()),
        areas_filled=int(columns.areas.missing.sum()),
        crowds_filled=int(columns.crowds.missing.sum()),
    )


def sizes_of(sound: Sound, scale: tuple[int, int], *, keep_ratio: bool) -> Sizes | None:
    """Return how big the taught objects of a checked file are at a recipe's input; None where there are none."""
    _, alone = taken(sound)
    if not alone.any():
        return None
    real = sound.sizes[alone]
    factors = rescaled(real, scale, keep_ratio=keep_ratio) / real
    boxes = sound.columns.boxes.values[alone]
    sides = np.sqrt(boxes[:, 2] * factors[:, 0] * boxes[:, 3] * factors[:, 1])
    tenth, quarter, median, ninth = (float(value) for value in np.percentile(sides, (10, 25, 50, 90)))
    vanishing = int((sides < VANISHING_PX).sum())
    suggested = None
    if 2 * vanishing > len(sides):
        wanted = VANISHING_PX / quarter
        most = max(1.0, float(np.median(1 / factors.max(1))))  # more than the image's own pixels shows nothing new
        larger = tuple(int(np.ceil(side * min(wanted, most) / _STEP_PX)) * _STEP_PX for side in scale)
        suggested = (larger[0], larger[1]) if larger != tuple(scale) else None
    return Sizes((scale[0], scale[1]), len(sides), vanishing, tenth, median, ninth, suggested)
