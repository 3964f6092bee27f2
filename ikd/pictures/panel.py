"""One photograph with boxes on it, drawn by mmdet's visualizer at a size at which labels can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from mmdet.visualization import DetLocalVisualizer
from numpy.typing import NDArray

from ikd.pictures.style import PAPER

SIDE = 560
"""Pixels of a panel's longer side: small photographs are enlarged, large ones reduced."""
_FONT = 8.0
_GLYPH = 0.62
"""Width of a character over its height, on average: enough to keep labels apart."""
_PIXELS_A_POINT = 100 / 72
_MASK_ALPHA = 0.35

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Marks:
    """Boxes that are drawn alike.

    Attributes:
        boxes: [n, 4], corners in pixels of the photograph.
        labels: [n], a text for each.
        colour: of lines, and behind the labels.
        style: of lines, as matplotlib has it.
    """

    boxes: NDArray[Any]
    labels: Sequence[str]
    colour: str
    style: str = "-"


def scale_of(height: int, width: int, side: int = SIDE) -> float:
    """Return what the sides of a photograph are multiplied by to fill a panel."""
    return side / max(height, width, 1)


def fitted(photograph: Pixels, side: int = SIDE) -> Pixels:
    """Return a photograph [H, W, 3] with its longer side brought to `side` pixels."""
    height, width = photograph.shape[:2]
    scale = scale_of(height, width, side)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale > 2 else cv2.INTER_LINEAR
    resized: Pixels = np.asarray(cv2.resize(photograph, size, interpolation=method), dtype=np.uint8)
    return resized


def panel(
    photograph: Pixels,
    marks: Sequence[Marks],
    side: int = SIDE,
    masks: tuple[NDArray[np.bool_], str] | None = None,
) -> Pixels:
    """Draw boxes on a photograph.

    Args:
        photograph: [H, W, 3] RGB.
        marks: what is drawn on it; the labels of the first are placed first, and where one would lie on another, it
            is left out.
        side: pixels of the longer side of what comes out.
        masks: [n, H, W] of the photograph, laid over it in this colour; None lays none.

    Returns:
        [H', W', 3] RGB.
    """
    image = fitted(photograph, side)
    height, width = image.shape[:2]
    factors = np.tile([width / photograph.shape[1], height / photograph.shape[0]], 2)
    visualizer = _visualizer()
    visualizer.set_image(image)
    if masks is not None and len(masks[0]):
        fitting = np.stack([cv2.resize(one.astype(np.uint8), (width, height)) > 0 for one in masks[0]])
        visualizer.draw_binary_masks(fitting, colors=_rgb(masks[1]), alphas=_MASK_ALPHA)
    placed: list[tuple[float, float, float, float]] = []
    texts = []
    for one in marks:
        boxes = np.clip(
            np.asarray(one.boxes, dtype=np.float64).reshape(-1, 4) * factors, 0, [width - 1, height - 1] * 2
        )
        boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
        if not len(boxes):
            continue
        thick = 2.0 if len(boxes) <= 40 else 1.2
        visualizer.draw_bboxes(boxes, edge_colors=one.colour, line_styles=one.style, line_widths=thick, alpha=1.0)
        for box, label in zip(boxes, one.labels, strict=True):
            if (place := _place(box, label, (height, width), placed)) is not None:
                texts.append((label, place[:2], one.colour))
                placed.append(place)
    for label, (left, top), colour in texts:  # on top of all lines
        visualizer.draw_texts(
            label,
            np.array([left, top]),
            font_sizes=_FONT,
            colors=PAPER,
            bboxes={"facecolor": colour, "edgecolor": "none", "pad": 1.0, "alpha": 0.9},
        )
    drawn: Pixels = np.ascontiguousarray(visualizer.get_image()[..., :3])
    return drawn


@cache
def _visualizer() -> Any:
    """Return the one visualizer of this process: making one takes as long as drawing a panel."""
    return DetLocalVisualizer()


def _place(
    box: NDArray[np.float64],
    label: str,
    size: tuple[int, int],
    placed: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom of a label where it lies on no other: above its box, in it, or below it."""
    if not label:
        return None
    height, width = _FONT * _PIXELS_A_POINT + 5, len(label) * _FONT * _PIXELS_A_POINT * _GLYPH + 5
    left = min(max(box[0], 2.0), max(2.0, size[1] - width))
    for top in (box[1] - height, box[1] + 2, box[3] + 2, box[3] - height):
        place = (left, top, left + width, top + height)
        inside = top >= 1 and place[3] <= size[0] - 1
        if inside and not any(_overlap(place, other) for other in placed):
            return place
    return None


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue
