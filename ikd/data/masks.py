"""Rules for segmentations: detectors without masks never read them, so nothing here stops a training by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ikd.data.columns import POLYGON, Mask
from ikd.data.rules import Bools, Findings, Sound

LOOSE_PX, LOOSE_SHARE = 5.0, 0.1
"""How far a mask may reach out of its box, in px and as a share of the box's side: tools round and simplify."""


def check_masks(sound: Sound, found: Findings) -> Bools:
    """Judge the segmentation of every annotation.

    Returns:
        [N], where a detector with masks learns the mask as the file says it.
    """
    columns = sound.columns
    faults: dict[str, list[tuple[int, str]]] = {"form": [], "parts": [], "size": [], "empty": [], "place": []}
    trained = np.zeros(len(columns), bool)
    for index, mask in enumerate(columns.masks):
        if mask.kind == "none":
            continue
        kind, rule = _fault(mask, sound, index)
        trained[index] = kind in ("", "place")
        if kind:
            faults[kind].append((index, rule))

    def told(listed: list[tuple[int, str]]) -> Iterator[tuple[str, object, str]]:
        for index, rule in listed:
            value = columns.mask_values.get(index)
            yield f"annotations[{index}].segmentation", _said(columns.masks[index]) if value is None else value, rule

    for listed in faults.values():
        found.each(told(listed), "warning")
    return trained


def _fault(mask: Mask, sound: Sound, index: int) -> tuple[str, str]:
    if mask.kind == "malformed":
        return "form", "should be polygons [[x, y, ...], ...] or an RLE of counts and size; it cannot be used as a mask"
    if mask.unusable:
        left = "the box is not taught" if not mask.usable else f"{mask.unusable} of its parts are left out"
        rule = f"should hold polygons of {POLYGON // 2} points or more, as many x as y; to a detector with masks {left}"
        return "parts", rule
    if mask.kind == "rle" and (mask.width, mask.height) != tuple(sound.sizes[index]):
        width, height = sound.sizes[index]
        return "size", f"should have the height and width of its image, [{height:g}, {width:g}]"
    if mask.area <= 0:
        return "empty", "should enclose an area; a detector with masks would learn an empty mask"
    if mask.kind == "polygons" and sound.usable[index] and _strays(mask, sound.columns.boxes.values[index].tolist()):
        return "place", f"should lie inside its box, {sound.columns.boxes.values[index].tolist()}"
    return "", ""


def _strays(mask: Mask, box: list[float]) -> bool:
    x, y, width, height = box
    left, top, right, bottom = mask.bounds
    across, down = LOOSE_PX + LOOSE_SHARE * width, LOOSE_PX + LOOSE_SHARE * height
    return left < x - across or right > x + width + across or top < y - down or bottom > y + height + down


def _said(mask: Mask) -> str:
    if mask.kind == "rle":
        return f"an RLE of size [{mask.height}, {mask.width}] with {mask.area:g} px"
    return "polygons within x {0:g}..{2:g}, y {1:g}..{3:g}".format(*mask.bounds) + f", {mask.area:g} px^2"
