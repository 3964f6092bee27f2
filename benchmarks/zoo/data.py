"""Drawn photographs of uneven shapes, as those of a person's data are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ikd.data import draw_dataset

SIDE = 160
"""Longest side, px."""
CUTS = {0: (96, SIDE), 1: (SIDE, 80)}
"""Height and width of those that are cut, by their place."""
LEAST = 4
"""Boxes that a cut leaves less of, px, go."""


def draw_uneven(folder: Path) -> Path:
    """Draw a data set of boxes and masks, two images of each part cut to other shapes; nothing where it is there."""
    if (folder / "val.json").is_file():
        return folder
    import cv2

    drawn = draw_dataset(folder.with_name(f"{folder.name}-whole"), num_train=10, num_val=10, size_px=SIDE, seed=3)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for part in ("train.json", "val.json"):
        content = json.loads((drawn / part).read_text())
        for index, image in enumerate(content["images"]):
            pixels: Any = cv2.imread(str(drawn / "images" / image["file_name"]))
            height, width = CUTS.get(index, pixels.shape[:2])
            image["height"], image["width"] = height, width
            cv2.imwrite(str(folder / "images" / image["file_name"]), pixels[:height, :width])
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        cut = [_cut(box, *sizes[box["image_id"]]) for box in content["annotations"]]
        content["annotations"] = [box for box in cut if min(box["bbox"][2:]) >= LEAST]
        (folder / part).write_text(json.dumps(content))
    return folder


def draw_one_class(folder: Path) -> Path:
    """Draw the same data set with its classes merged; nothing where it is there."""
    whole = draw_uneven(folder)
    merged = folder.with_name(f"{folder.name}-one-class")
    if (merged / "val.json").is_file():
        return merged
    merged.mkdir(exist_ok=True)
    (merged / "images").symlink_to((whole / "images").absolute(), target_is_directory=True)
    for part in ("train.json", "val.json"):
        content = json.loads((whole / part).read_text())
        content["categories"] = [{"id": 1, "name": "shape"}]
        content["annotations"] = [{**box, "category_id": 1} for box in content["annotations"]]
        (merged / part).write_text(json.dumps(content))
    return merged


def _cut(box: dict[str, Any], across: int, down: int) -> dict[str, Any]:
    x, y, width, height = box["bbox"]
    right, below = min(x + width, across), min(y + height, down)
    outline = [[x, y, right, y, right, below, x, below]]
    area = max(0, right - x) * max(0, below - y)
    return {**box, "bbox": [x, y, right - x, below - y], "area": area, "segmentation": outline}
