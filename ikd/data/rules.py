"""The rules a COCO file has to keep; files on disk are judged in `images`, all of a file together in `habits`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ikd.data.columns import HUGE, MISSING, Column, Columns, is_number
from ikd.data.report import DataProblem

OUTSIDE_SHARE = 0.5  # of a box's area; more than that outside the image is no clipping, the box is misplaced
TOLERANCE_PX = 1e-3  # annotation tools round
LARGEST_ID = 1e300
LISTED = 100
"""Faults of one rule that are kept one by one; a broken file has as many as boxes."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


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

    def each(self, faults: Iterable[tuple[str, object, str]], severity: Literal["error", "warning"] = "error") -> None:
        """Add faults of one rule, as field, value and rule: the first ones, and how many more there are."""
        kept: list[DataProblem] = []
        others = 0
        for field, value, rule in faults:
            if len(kept) < LISTED:
                kept.append(DataProblem(self.file, field, value, rule, severity=severity))
            else:
                others += 1
        if others:
            kept[-1] = DataProblem(**(vars(kept[-1]) | {"others": others}))
        self.problems += kept


@dataclass(frozen=True)
class Sound:
    """What of an annotation file can be used; N annotations.

    Attributes:
        columns: all of it.
        images: entries with all their keys, by index in the file.
        categories: likewise.
        image_of: [N], index in the file of the annotation's image, -1 where there is none.
        category_of: [N], likewise of its category.
        usable: [N], where nothing about an annotation is wrong.
        sizes: [N, 2], width and height in px of the annotation's image, as the file says; NaN where there is none.
    """

    columns: Columns
    images: dict[int, dict[str, Any]]
    categories: dict[int, dict[str, Any]]
    image_of: NDArray[np.int64]
    category_of: NDArray[np.int64]
    usable: Bools
    sizes: Floats


def check_entries(columns: Columns, found: Findings) -> Sound:
    """Judge every entry of an annotation file, and boxes against their image and category.

    Args:
        columns: of a COCO object whose three lists exist.
        found: takes the problems.
    """
    if not columns.images:
        found.error("images", 0, "the data set is empty, it needs at least one image")
    if not len(columns):
        found.error("annotations", 0, "the data set is empty, it needs at least one box")
    if not columns.categories:
        found.error("categories", 0, "the data set needs at least one category")
    found.each((field, key, "must say every key once, or nobody knows which holds") for field, key in columns.repeated)
    rule = "should be the upright box around the object: it is turned by {:g} degrees, and its bbox is taught as it is"
    found.each(
        (
            (f"annotations[{i}].rotation", plain_number(angle), rule.format(angle))
            for i, angle in columns.turned.items()
        ),
        "warning",
    )
    images = _complete(columns.images, "images", ("id", "file_name", "width", "height"), found)
    categories = _complete(columns.categories, "categories", ("id", "name"), found)
    _unique([(index, image["id"]) for index, image in images.items()], "images", "id", found)
    _unique([(index, one["id"]) for index, one in categories.items()], "categories", "id", found)
    _names(categories, found)
    usable = _annotation_types(columns, found)
    place = {image["id"]: index for index, image in images.items()}
    image_of = _places(columns.image_ids, place)
    category_of = _places(columns.category_ids, {one["id"]: index for index, one in categories.items()})
    usable &= _refers(columns.image_ids, image_of, "image_id", "must be the id of an image", found)
    usable &= _refers(columns.category_ids, category_of, "category_id", "must be the id of a category", found)
    side = np.full((len(columns.images) + 1, 2), np.nan)  # the last row is that of no image
    for index, image in images.items():
        side[index] = image["width"], image["height"]
    sizes: Floats = side[image_of]
    usable &= _areas(columns.areas, found)
    usable &= _boxes(columns.boxes, sizes, found)
    return Sound(columns, images, categories, image_of, category_of, usable, sizes)


def _complete(entries: Sequence[Any], section: str, keys: Sequence[str], found: Findings) -> dict[int, dict[str, Any]]:
    """Return the entries that have all their keys, with their index in the file."""
    sound, missing, wrong = {}, [], []
    for index, entry in enumerate(entries):
        field = f"{section}[{index}]"
        if not isinstance(entry, dict):
            found.error(field, entry, "must be a JSON object")
            continue
        lacking = [(f"{field}.{key}", None, f"the key {key!r} is missing") for key in keys if key not in entry]
        untyped = [
            (f"{field}.{key}", entry[key], rule) for key in keys if key in entry and (rule := _fault(key, entry[key]))
        ]
        missing += lacking
        wrong += untyped
        if not lacking and not untyped:
            sound[index] = entry
    found.each(missing)
    found.each(wrong)
    return sound


def _fault(key: str, value: object) -> str:
    """Return what is wrong with the type of a value, empty where nothing is."""
    if key in ("file_name", "name"):
        return "" if isinstance(value, str) and value.strip() else "must be a text that is not empty"
    if key == "id":
        return _id_fault(value)
    return "" if is_whole(value) else "must be a whole number"


def is_whole(value: object) -> bool:
    """Tell whether a JSON value is a whole number; 320.0 is one."""
    return is_number(value) and float(value).is_integer()  # type: ignore[arg-type]


def _id_fault(value: object) -> str:
    known = isinstance(value, str) or (type(value) in (int, float) and -LARGEST_ID < value < LARGEST_ID)  # type: ignore[operator]
    whole = known and (not isinstance(value, float) or value.is_integer())
    return "" if whole else "must be a whole number or a text"


def _unique(entries: Iterable[tuple[int, Any]], section: str, key: str, found: Findings) -> None:
    first: dict[Any, int] = {}
    twice = []
    for index, value in entries:
        if (before := first.setdefault(value, index)) != index:
            twice.append((f"{section}[{index}].{key}", value, f"must be unique, see {section}[{before}]"))
    found.each(twice)


def plain_name(name: str) -> str:
    """Return a class name as a person sees it: Unicode's composed form, nothing unseen, no blanks around, no case."""
    visible = "".join(one for one in unicodedata.normalize("NFC", name) if unicodedata.category(one) not in _UNSEEN)
    return visible.strip().casefold()


_UNSEEN = ("Cc", "Cf")  # control and format characters: NUL, zero width space


def _names(categories: dict[int, dict[str, Any]], found: Findings) -> None:
    _unique([(index, one["name"]) for index, one in categories.items()], "categories", "name", found)
    first: dict[str, int] = {}
    for index, one in categories.items():
        name = one["name"]
        before = first.setdefault(plain_name(name), index)
        if before != index and categories[before]["name"] != name:
            rule = f"should be another class than categories[{before}], {categories[before]['name']!r}: they differ by"
            found.warning(f"categories[{index}].name", name, f"{rule} case, blanks or the form of their letters alone")
        elif not name.isprintable() and "Cs" in map(unicodedata.category, name):
            rule = "must be characters of Unicode, but holds half of a pair, which no file can hold"
            found.error(f"categories[{index}].name", ascii(name), rule)
        elif "Cc" in map(unicodedata.category, name):
            rule = "should hold no control character: no table can show it"
            found.warning(f"categories[{index}].name", ascii(name), rule)
        elif name != name.strip():
            found.warning(
                f"categories[{index}].name", name, "should have no blanks around it; they count as part of it"
            )


def _annotation_types(columns: Columns, found: Findings) -> Bools:
    """Return where nothing is missing and everything has its type."""
    bad = set(columns.strange)
    for index, entry in columns.strange.items():
        found.error(f"annotations[{index}]", entry, "must be a JSON object")
    for key, values in {"image_id": columns.image_ids, "category_id": columns.category_ids}.items():
        bad |= _required(key, values, columns.strange, found)
    lacking = [index for index in np.flatnonzero(columns.boxes.missing).tolist() if index not in columns.strange]
    found.each((f"annotations[{index}].bbox", None, "the key 'bbox' is missing") for index in lacking)
    bad |= set(lacking)
    flags = {"iscrowd": columns.crowds, "ignore": columns.ignores}
    for key, column in flags.items():
        found.each((f"annotations[{i}].{key}", value, "must be 0 or 1") for i, value in column.odd.items())
        bad |= set(column.odd)
    _own_ids(columns.ids, found)
    usable = np.ones(len(columns), bool)
    usable[list(bad)] = False
    return usable


def _own_ids(ids: list[Any], found: Findings) -> None:
    """Judge the ids of annotations, to which nothing refers: what they say does not stop a training."""
    if set(map(type, ids)) == {int} and len(set(ids)) == len(ids) and 0 not in ids:
        return
    first: dict[Any, int] = {}
    twice = []
    for index, value in enumerate(ids):
        if _id_fault(value) and value is not MISSING:
            found.warning(f"annotations[{index}].id", value, "should be a whole number or a text")
        elif value is not MISSING and (before := first.setdefault(value, index)) != index:
            rule = f"should be unique, see annotations[{before}]; they are numbered anew"
            twice.append((f"annotations[{index}].id", value, rule))
    found.each(twice, "warning")
    if 0 in first:
        rule = "should not be 0, pycocotools alone would count the box as missed"
        found.warning(f"annotations[{first[0]}].id", 0, rule)


def _required(key: str, values: list[Any], strange: dict[int, Any], found: Findings) -> set[int]:
    if set(map(type, values)) == {int} and max(values) < LARGEST_ID and min(values) > -LARGEST_ID:
        return set()
    lacking = [index for index, value in enumerate(values) if value is MISSING and index not in strange]
    found.each((f"annotations[{index}].{key}", None, f"the key {key!r} is missing") for index in lacking)
    wrong = {index: rule for index, value in enumerate(values) if value is not MISSING and (rule := _id_fault(value))}
    found.each((f"annotations[{index}].{key}", values[index], rule) for index, rule in wrong.items())
    return {*lacking, *wrong}


def _places(ids: list[Any], place: dict[Any, int]) -> NDArray[np.int64]:
    return np.array([place.get(one, -1) if type(one) in (int, float, str) else -1 for one in ids], np.int64)


def _refers(ids: list[Any], places: NDArray[np.int64], key: str, rule: str, found: Findings) -> Bools:
    lost = [index for index in np.flatnonzero(places < 0).tolist() if not _id_fault(ids[index])]
    found.each((f"annotations[{index}].{key}", ids[index], rule) for index in lost)
    known: Bools = places >= 0
    return known


def _areas(areas: Column, found: Findings) -> Bools:
    rule = "must be a number above 0 (px^2), mmdet drops the box otherwise"
    low = np.flatnonzero(areas.values <= 0).tolist()
    found.each(
        (f"annotations[{index}].area", areas.odd.get(index, plain_number(areas.values[index])), rule)
        for index in sorted([*areas.odd, *low])
    )
    sound: Bools = areas.missing | (areas.values > 0)
    return sound


def _boxes(boxes: Column, sizes: Floats, found: Findings) -> Bools:
    """Judge boxes against their image, [N, 2] width and height in px; return where nothing is wrong."""
    for index, value in boxes.odd.items():
        found.error(f"annotations[{index}].bbox", value, _box_fault(value))
    with np.errstate(invalid="ignore", over="ignore"):
        x, y, width, height = boxes.values.T
        empty = (width <= 0) | (height <= 0)
        inside_x = np.minimum(x + width, sizes[:, 0]) - np.maximum(x, 0)
        inside_y = np.minimum(y + height, sizes[:, 1]) - np.maximum(y, 0)
        inside = np.maximum(inside_x, 0) * np.maximum(inside_y, 0)
        placed = ~empty & np.isfinite(inside)
        outside = placed & (inside < OUTSIDE_SHARE * width * height)
        clipped = placed & ~outside & ((inside_x < width - TOLERANCE_PX) | (inside_y < height - TOLERANCE_PX))
        thin = placed & ~outside & ((width < 1) | (height < 1))

    def told(where: Bools, rule: str) -> Iterable[tuple[str, object, str]]:
        for index in np.flatnonzero(where).tolist():
            size = f"the image ({sizes[index, 0]:g}x{sizes[index, 1]:g})" if "{}" in rule else ""
            yield f"annotations[{index}].bbox", shown(boxes.values[index]), rule.format(size)

    found.each(told(empty, "must not be empty, width and height above 0"))
    found.each(told(outside, "must lie inside {}, more than half of it is outside"))
    found.each(told(clipped, "should lie inside {}; it is clipped"), "warning")
    found.each(told(thin, "should be at least 1 px wide and high; mmdet drops it"), "warning")
    return boxes.sound & ~empty & ~outside


def plain_number(value: float) -> float:
    """Return a number as a person wrote it."""
    return int(value) if np.isfinite(value) and float(value).is_integer() else float(value)


def shown(box: Floats) -> list[float]:
    """Return a box [4] as a person wrote it."""
    return [plain_number(value) for value in box.tolist()]


def _box_fault(box: object) -> str:
    four = isinstance(box, list) and len(box) == 4
    if four and all(type(value) in (int, float) for value in box):  # type: ignore[attr-defined]
        return f"must be finite, no NaN and no infinity, and below {HUGE:g}"
    return "must be four numbers: x, y, width, height"
