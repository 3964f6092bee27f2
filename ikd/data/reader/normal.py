"""The normal form of what a COCO file says, entry by entry: what is missing is filled in, what is unclear is refused.

pycocotools and mmdet take a file as it is. They need `iscrowd` and `area`, count a box of id 0 as missed, and take any
`iscrowd` that is not empty for a crowd.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from ikd.data.reader.stream import Entry
from ikd.errors import DataError, Problem

Id = int | str | float
MOST = 1 << 53
"""Ids and sizes are below it, so that they are the same number as floats."""


@dataclass(frozen=True)
class Box:
    """One annotation.

    Attributes:
        image: id of its image, as in the file.
        category: id of its category, as in the file.
        number: its own id; None where there is none that could be kept.
        box: x, y, width, height, px.
        area: px^2, of the box where the file has none.
        crowd: whether it stands for many objects.
        ignored: whether mmdet leaves it out.
        masked: whether it has a segmentation.
        text: JSON in ASCII with `iscrowd` and `area`; the ids are as in the file.
    """

    image: Id
    category: Id
    number: int | None
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    ignored: bool
    masked: bool
    text: str


def annotation(file: str, entry: Entry) -> Box:
    """Bring one annotation into its normal form.

    Raises:
        DataError: names the field.
    """
    value = _object(file, entry)
    image, category = (_id(file, entry, key) for key in ("image_id", "category_id"))
    box = value.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(_finite(side) for side in box)):
        _refuse(file, entry, "bbox", box, "must be four finite numbers: x, y, width, height")
    area = value.get("area")
    if area is not None and not _finite(area):
        _refuse(file, entry, "area", area, "must be a number (px^2), or be left out")
    ids = {"image_id": image, "category_id": category}
    filled: dict[str, Any] = {key: one for key, one in ids.items() if type(value[key]) is not type(one)}
    if area is None:
        filled["area"] = area = box[2] * box[3]
    crowd, ignored = (_flag(file, entry, value, key) for key in ("iscrowd", "ignore"))
    if type(value.get("iscrowd")) is not int:
        filled["iscrowd"] = int(crowd)
    mask = value.get("segmentation")
    if isinstance(mask, dict) and isinstance(size := mask.get("size"), list) and float in map(type, size):
        filled["segmentation"] = mask | {"size": [int(one) if _finite(one) and one % 1 == 0 else one for one in size]}
    number = value.get("id")
    return Box(
        image,
        category,
        number if type(number) is int and 0 < number < MOST else None,
        (box[0], box[1], box[2], box[3]),
        area,
        crowd,
        ignored,
        bool(value.get("segmentation")),
        _with(entry, filled),
    )


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        id: as in the file.
        width: px.
        height: px.
        text: JSON in ASCII with whole sizes; the id is as in the file.
    """

    id: Id
    width: int
    height: int
    text: str


def image(file: str, entry: Entry) -> Image:
    """Bring one image into its normal form.

    Raises:
        DataError: names the field.
    """
    value = _object(file, entry)
    name = value.get("file_name")
    if not isinstance(name, str) or not name:
        _refuse(file, entry, "file_name", name, "must be the name of a file")
    sides = {}
    for key in ("width", "height"):
        side = value.get(key)
        if not (_finite(side) and side == int(side) and 0 < side < MOST):
            _refuse(file, entry, key, side, "must be a whole number of pixels above 0")
        sides[key] = int(side)
    whole = sides | {"id": _id(file, entry, "id")}
    changed = {key: one for key, one in whole.items() if type(value[key]) is not type(one)}
    return Image(whole["id"], sides["width"], sides["height"], _with(entry, changed))


def category(file: str, entry: Entry) -> tuple[Id, str, dict[str, Any]]:
    """Return id, name and all of one category.

    Raises:
        DataError: names the field.
    """
    value = _object(file, entry)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        _refuse(file, entry, "name", name, "must be a text")
    return _id(file, entry, "id"), name, value


def with_values(text: str, values: dict[str, Any]) -> str:
    """Return a JSON object with some of its values replaced, in ASCII."""
    return json.dumps(json.loads(text) | values) if values else text


def _with(entry: Entry, values: dict[str, Any]) -> str:
    """Return the text of an entry with some values, the rest as it is written: writing numbers anew takes longest."""
    if not entry.text.isascii() or any(key in entry.value for key in values):
        return json.dumps(entry.value | values)
    return f"{entry.text[:-1]}, {json.dumps(values)[1:]}" if values else entry.text


def _object(file: str, entry: Entry) -> dict[str, Any]:
    if not isinstance(entry.value, dict):
        raise DataError(str(Problem(file, _place(entry), entry.value, "must be a JSON object")))
    return entry.value


def _id(file: str, entry: Entry, key: str) -> Id:
    """Return an id; 3.0 is 3."""
    value = entry.value.get(key)
    if isinstance(value, str):
        return value
    if not _finite(value):
        _refuse(file, entry, key, value, "must be a whole number or a text")
    return int(value) if value == int(value) else value


def _flag(file: str, entry: Entry, value: dict[str, Any], key: str) -> bool:
    found = value.get(key)
    if found is not None and not (isinstance(found, (bool, int, float)) and found in (0, 1)):
        _refuse(file, entry, key, found, "must be 0 or 1")
    return bool(found)


def _finite(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e300 and math.isfinite(value)  # a whole number of 400 digits overflows isfinite


def _place(entry: Entry) -> str:
    return f"{entry.section}[{entry.index}]"


def _refuse(file: str, entry: Entry, key: str, value: object, rule: str) -> NoReturn:
    raise DataError(str(Problem(file, f"{_place(entry)}.{key}", value, rule)))
