"""The rules a COCO file has to keep, entry by entry; files on disk are judged in `images`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ikd.data.report import DataProblem

OUTSIDE_SHARE = 0.5  # of a box's area; more than that outside the image is no clipping, the box is misplaced
TOLERANCE_PX = 1e-3  # annotation tools round
_HUGE = 1e12  # px; also keeps products of two sides finite


@dataclass
class Findings:
    """Collects the problems of one annotation file.

    Attributes:
        file: the file they are in.
        problems: what was found so far.
    """

    file: str
    problems: list[DataProblem]

    def error(self, field: str, value: object, rule: str) -> None:
        """Add a fault that stops training."""
        self.problems.append(DataProblem(self.file, field, value, rule))

    def warning(self, field: str, value: object, rule: str) -> None:
        """Add a fault that mmdet gets round by itself."""
        self.problems.append(DataProblem(self.file, field, value, rule, severity="warning"))


def sound_entries(content: dict[str, Any], found: Findings) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Judge every entry of an annotation file on its own.

    Args:
        content: COCO object whose three lists exist.
        found: takes the problems.

    Returns:
        Per list the entries that have all their keys, with their index in the file.
    """
    if not content["images"]:
        found.error("images", 0, "the data set is empty, it needs at least one image")
    if not content["annotations"]:
        found.error("annotations", 0, "the data set is empty, it needs at least one box")
    if not content["categories"]:
        found.error("categories", 0, "the data set needs at least one category")
    keys = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "category_id", "bbox", "area"),
        "categories": ("id", "name"),
    }
    sound = {section: list(_complete(content, section, names, found)) for section, names in keys.items()}
    for section in keys:
        _unique(sound[section], section, "id", found)
    _unique(sound["categories"], "categories", "name", found)
    return sound


def _complete(
    content: dict[str, Any], section: str, keys: Sequence[str], found: Findings
) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, entry in enumerate(content[section]):
        field = f"{section}[{index}]"
        if not isinstance(entry, dict):
            found.error(field, entry, "must be a JSON object")
            continue
        missing = [key for key in keys if key not in entry]
        for key in missing:
            found.error(f"{field}.{key}", None, f"the key {key!r} is missing")
        wrong = [key for key in keys if key in entry and not _typed(key, entry[key])]
        for key in wrong:
            found.error(f"{field}.{key}", entry[key], "must be a text" if key in _TEXTS else "must be a whole number")
        if not missing and not wrong:
            yield index, entry


_TEXTS = ("file_name", "name")
_JUDGED_LATER = ("bbox", "area")


def _typed(key: str, value: object) -> bool:
    if key in _JUDGED_LATER:
        return True
    return isinstance(value, str) if key in _TEXTS else isinstance(value, int) and not isinstance(value, bool)


def _unique(entries: list[tuple[int, dict[str, Any]]], section: str, key: str, found: Findings) -> None:
    first: dict[Any, int] = {}
    for index, entry in entries:
        if entry[key] in first:
            found.error(f"{section}[{index}].{key}", entry[key], f"must be unique, see {section}[{first[entry[key]]}]")
        first.setdefault(entry[key], index)


def check_annotations(
    sound: dict[str, list[tuple[int, dict[str, Any]]]], found: Findings
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Judge boxes against their image and category.

    Args:
        sound: what `sound_entries` returned.
        found: takes the problems.

    Returns:
        Annotation and image of every box that can be trained on.
    """
    images = {image["id"]: image for _, image in sound["images"]}
    names = {category["id"] for _, category in sound["categories"]}
    usable = []
    for index, annotation in sound["annotations"]:
        field = f"annotations[{index}]"
        problems = len(found.problems)
        if annotation["category_id"] not in names:
            found.error(f"{field}.category_id", annotation["category_id"], "must be the id of a category")
        if annotation["image_id"] not in images:
            found.error(f"{field}.image_id", annotation["image_id"], "must be the id of an image")
            continue
        if annotation["id"] == 0:
            found.warning(f"{field}.id", 0, "should not be 0, pycocotools alone would count the box as missed")
        area = annotation["area"]
        if not _finite(area) or area <= 0:
            found.error(f"{field}.area", area, "must be a number above 0 (px^2), mmdet drops the box otherwise")
        _check_box(annotation["bbox"], images[annotation["image_id"]], f"{field}.bbox", found)
        if all(problem.severity == "warning" for problem in found.problems[problems:]):
            usable.append((annotation, images[annotation["image_id"]]))
    return usable


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _HUGE  # False for NaN; an integer of 400 digits would overflow math.isfinite


def _check_box(box: object, image: dict[str, Any], field: str, found: Findings) -> None:
    """Judge one box, x, y, width, height in pixels of its image."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        found.error(field, box, "must be four numbers: x, y, width, height")
    elif not all(_finite(value) for value in box):
        found.error(field, box, "must be finite, no NaN and no infinity")
    elif box[2] <= 0 or box[3] <= 0:
        found.error(field, box, "must not be empty, width and height above 0")
    else:
        _check_place(box, image, field, found)


def _check_place(box: list[float], image: dict[str, Any], field: str, found: Findings) -> None:
    x, y, width, height = box
    inside_x = min(x + width, image["width"]) - max(x, 0)
    inside_y = min(y + height, image["height"]) - max(y, 0)
    size = f"the image ({image['width']}x{image['height']})"
    if max(inside_x, 0) * max(inside_y, 0) < OUTSIDE_SHARE * width * height:
        found.error(field, box, f"must lie inside {size}, more than half of it is outside")
    elif inside_x < width - TOLERANCE_PX or inside_y < height - TOLERANCE_PX:
        found.warning(field, box, f"should lie inside {size}; it is clipped")
    elif width < 1 or height < 1:
        found.warning(field, box, "should be at least 1 px wide and high; mmdet drops it")
