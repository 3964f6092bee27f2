"""What only all annotations of a file together show: boxes in another form, areas by guess, classes without a box."""

from __future__ import annotations

import numpy as np

from ikd.data.identity import PARTS
from ikd.data.rules import Bools, Findings, Floats, Sound, plain_name, plain_number, shown

FEW = 3
"""Boxes that may have a strange form by chance."""
LEAVING = 0.15
"""Share of the boxes from which on it is no chance that they leave their images, where as corners all would fit."""
CORNER_SLACK_PX = 1.0
MANY = 10
"""Boxes that do not all lie in one corner of larger images by chance."""
PERCENT = 100
AREA_OVER, AREA_UNDER, MASK_FACTOR, AREA_SLACK_PX2 = 1.1, 0.1, 3.0, 16.0
"""How far an area may be from that of its box (without a mask), and of its mask; small ones are rounded."""


def check_form(sound: Sound, found: Findings) -> None:
    """Notice boxes that are written as two corners, or as shares of the image."""
    boxes, sizes = sound.columns.boxes.values, sound.sizes
    known = np.isfinite(boxes).all(1) & np.isfinite(sizes).all(1)
    if known.sum() < FEW:
        return
    boxes, sizes = boxes[known], sizes[known]
    first = int(np.flatnonzero(known)[0])
    shares = ((boxes >= 0) & (boxes <= 1)).all(1) & (sizes > FEW).all(1)
    if 2 * shares.sum() > len(boxes):
        rule = f"must be pixels, but {shares.sum()} of {len(boxes)} boxes lie within 0..1: shares of the image; "
        found.error(f"annotations[{first}].bbox", shown(boxes[0]), rule + "multiply them by its width and height")
        return
    _check_percent(boxes, sizes, first, found)
    if _check_centres(boxes, sizes, first, found):
        return
    x, y, right, bottom = boxes.T
    fits = (right > x) & (bottom > y) & (x >= -CORNER_SLACK_PX) & (y >= -CORNER_SLACK_PX)
    fits &= (right <= sizes[:, 0] + CORNER_SLACK_PX) & (bottom <= sizes[:, 1] + CORNER_SLACK_PX)
    leaves = (x + right > sizes[:, 0] + CORNER_SLACK_PX) | (y + bottom > sizes[:, 1] + CORNER_SLACK_PX)
    if fits.all() and leaves.sum() >= max(FEW, LEAVING * len(boxes)):
        rule = f"must be x, y, width, height, but {leaves.sum()} of {len(boxes)} boxes leave their image so, and none "
        found.error(f"annotations[{first}].bbox", shown(boxes[0]), rule + "as two corners: write x2 - x1 and y2 - y1")


def _check_percent(boxes: Floats, sizes: Floats, first: int, found: Findings) -> None:
    """Notice boxes [N, 4] that would all fill their images if they were hundredths of width and height [N, 2]."""
    reach = boxes[:, :2] + boxes[:, 2:]
    within = (boxes >= 0).all() and (reach <= PERCENT + CORNER_SLACK_PX).all() and (sizes > 2 * PERCENT).all()
    if len(boxes) < MANY or not within or (reach.max(0) < PERCENT / 2).any():
        return
    rule = f"should be pixels, but all {len(boxes)} boxes lie in the first {PERCENT} px of larger images: if they are "
    found.warning(f"annotations[{first}].bbox", shown(boxes[0]), rule + "hundredths, multiply them by the sides / 100")


def _check_centres(boxes: Floats, sizes: Floats, first: int, found: Findings) -> bool:
    """Notice boxes [N, 4] that leave their images [N, 2] unless x and y are their centres."""
    half = boxes[:, 2:] / 2
    fits = (boxes[:, :2] - half >= -CORNER_SLACK_PX) & (boxes[:, :2] + half <= sizes + CORNER_SLACK_PX)
    leaves = (boxes[:, :2] + boxes[:, 2:] > sizes + CORNER_SLACK_PX).any(1)
    if not (boxes[:, 2:] > 0).all() or not fits.all() or leaves.sum() < max(FEW, LEAVING * len(boxes)):
        return False
    rule = f"must be x, y of the corner, but {leaves.sum()} of {len(boxes)} boxes leave their image so, and none with "
    rule += "x, y as the centre: write x - width / 2 and y - height / 2"
    found.error(f"annotations[{first}].bbox", shown(boxes[0]), rule)
    return True


def check_areas(sound: Sound, found: Findings) -> None:
    """Compare areas with boxes and masks: COCO's small, medium and large go by them, and so do APs, APm and APl."""
    columns = sound.columns
    areas, boxes = columns.areas.values, columns.boxes.values
    judged = sound.usable & np.isfinite(areas)
    box_areas = boxes[:, 2] * boxes[:, 3]
    mask_areas = np.array([mask.area if mask.kind in ("polygons", "rle") else 0.0 for mask in columns.masks], float)
    masked = mask_areas > 0
    with np.errstate(invalid="ignore"):
        over = areas > AREA_OVER * box_areas + AREA_SLACK_PX2
        under = ~masked & (areas < AREA_UNDER * box_areas - AREA_SLACK_PX2 / 4)
        off = masked & (areas > MASK_FACTOR * mask_areas + AREA_SLACK_PX2) & (AREA_OVER * areas < box_areas)
        off |= masked & (areas < mask_areas / MASK_FACTOR - AREA_SLACK_PX2)
    wrong = np.flatnonzero(judged & (over | under | off))
    if not len(wrong):
        return
    why = "APs, APm, APl and the table of sizes go by it"
    if judged.sum() > FEW and len(np.unique(areas[judged])) == 1 and len(np.unique(box_areas[judged])) > 1:
        index = int(wrong[0])
        rule = f"should be the object's in px^2, but is the same for all {judged.sum()} boxes; {why}"
        found.warning(f"annotations[{index}].area", plain_number(areas[index]), rule)
        return

    def rule_of(index: int) -> str:
        if masked[index] and not over[index]:
            return f"should be about its mask's, {mask_areas[index]:g} px^2; {why}"
        return f"should be at most about width x height, {box_areas[index]:g} px^2, and no small part of it; {why}"

    found.each(
        ((f"annotations[{i}].area", plain_number(areas[i]), rule_of(i)) for i in wrong.tolist()),
        "warning",
    )


def check_repeats(sound: Sound, found: Findings) -> None:
    """Notice boxes that stand twice in an image, with the same class: a detector can find an object but once."""
    listed = np.flatnonzero(sound.usable & (sound.columns.crowds.values != 1))
    rows = np.column_stack([sound.image_of, sound.category_of, sound.columns.boxes.values])[listed]
    order = np.lexsort(rows.T)  # stable: equal ones stay in the order of the file
    again = np.flatnonzero((rows[order[1:]] == rows[order[:-1]]).all(1)) + 1
    if not len(again):
        return
    place = int(again[np.argmin(listed[order[again]])])
    index, before = int(listed[order[place]]), int(listed[order[place - 1]])
    rule = f"should be there once: {len(again)} of {len(listed)} boxes repeat another of their image and class, this "
    rule += f"one annotations[{before}]; each counts as an object of its own, which no detector can find beside it"
    found.warning(f"annotations[{index}].bbox", shown(sound.columns.boxes.values[index]), rule)


def check_classes(sound: Sound, boxes: dict[str, int], elsewhere: dict[str, int], part: str, found: Findings) -> None:
    """Notice classes without a box.

    Args:
        sound: the file.
        boxes: number of boxes by class that are taught, or measured.
        elsewhere: the same of the other part.
        part: "train", "val" or "test".
        found: takes the problems.
    """
    parents = [one.get("supercategory") for one in sound.categories.values() if boxes.get(one["name"])]
    for index, one in sound.categories.items():
        name = one["name"]
        if boxes.get(name) or not any(boxes.values()):
            continue
        field = f"categories[{index}].name"
        if not elsewhere.get(name):
            known = {plain_name(parent) for parent in parents if isinstance(parent, str)}
            over = ", and is the supercategory of the others" if plain_name(name) in known else ""
            if part == "train":
                rule = (
                    f"should have a box: it has none in train or val{over}; remove it, every head has an output for it"
                )
                found.warning(field, name, rule)
        elif part == "train":
            found.warning(field, name, "should have a box in the training part: no student can learn it")
        else:
            measured = sum(count > 0 for count in boxes.values())
            rule = f"should have a box in the {PARTS[part]} part: mAP is over the {measured} other classes"
            found.warning(field, name, rule)


def check_crowds(sound: Sound, alone: Bools, part: str, found: Findings) -> None:
    """Refuse a part in which nothing can be taught, or nothing measured.

    Args:
        sound: the file.
        alone: [N], boxes of single objects that are taught, or measured.
        part: "train", "val" or "test".
        found: takes the problems.
    """
    if not len(sound.columns) or alone.any():
        return
    what = "nothing can be taught" if part == "train" else "nothing can be measured"
    crowds = sound.columns.crowds.values == 1
    ignored = sound.columns.ignores.values == 1
    if crowds.all():
        rule = f"must be 0 for a single object: all {len(crowds)} boxes are crowds, so {what}"
        found.error("annotations[0].iscrowd", 1, rule)
    elif ignored.all():
        found.error("annotations[0].ignore", 1, f"must be 0 for an object: all {len(ignored)} are ignored, so {what}")
    elif not any(problem.severity == "error" for problem in found.problems):
        rule = f"must hold an object that mmdet takes: every box is a crowd, ignored or under 1 px, so {what}"
        found.error("annotations", len(sound.columns), rule)
