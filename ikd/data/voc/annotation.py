"""What one XML file in VOC's form says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from xml.etree.ElementTree import Element

from ikd.data.rules import TOLERANCE_PX
from ikd.data.voc.tree import Fault, read_tree

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FLAGS = {"": 0, "0": 0, "false": 0, "unspecified": 0, "1": 1, "true": 1}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class VocObject:
    """One object.

    Attributes:
        field: where it stands in its file.
        name: of its class.
        corners: xmin, ymin, xmax, ymax as written.
        difficult: 0 or 1.
        truncated: 0 or 1.
    """

    field: str
    name: str
    corners: Box
    difficult: int
    truncated: int


@dataclass(frozen=True)
class VocImage:
    """One XML file.

    Attributes:
        path: of the file.
        picture: name of the picture without any folder, empty where it is not said.
        size: width and height in px; None where it is not said, or 0 as some tools write.
        objects: in their order.
    """

    path: Path
    picture: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_image(path: Path) -> VocImage:
    """Read an XML file; parts of objects, actions and polygons in it are passed over.

    Raises:
        Fault: the first one.
    """
    root = read_tree(path)
    if root.tag != "annotation":
        raise Fault(path, "root", root.tag, "must be <annotation>, as VOC's")
    objects = tuple(_object(path, number, one) for number, one in enumerate(root.findall("object")))
    return VocImage(path, PureWindowsPath(_text(root, "filename")).name, _size(path, root), objects)


def _object(path: Path, number: int, element: Element) -> VocObject:
    field = f"object[{number}]"
    if not (name := _text(element, "name")):
        raise Fault(path, f"{field}.name", None, "must be the name of a class")
    box = element.find("bndbox")
    if box is None:
        turned = ", not a turned one (robndbox)" if element.find("robndbox") is not None else ""
        raise Fault(path, f"{field}.bndbox", None, f"must be a box{turned}")
    left, top, right, bottom = (_number(path, f"{field}.bndbox", box, corner) for corner in CORNERS)
    flags = (_flag(path, field, element, key) for key in ("difficult", "truncated"))
    return VocObject(field, name, (left, top, right, bottom), *flags)


def _text(element: Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


def _number(path: Path, field: str, element: Element, key: str) -> float:
    text = _text(element, key)
    if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
        raise Fault(path, f"{field}.{key}", text, "must be a number of pixels")
    return value


def _flag(path: Path, field: str, element: Element, key: str) -> int:
    text = _text(element, key)
    if text.lower() not in _FLAGS:
        raise Fault(path, f"{field}.{key}", text, "must be 0 or 1")
    return _FLAGS[text.lower()]


def _size(path: Path, root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None or not (_text(size, "width") or _text(size, "height")):
        return None
    width, height = (_number(path, "size", size, key) for key in ("width", "height"))
    if not width or not height:
        return None
    for key, value in (("width", width), ("height", height)):
        if value < 0 or not value.is_integer():
            raise Fault(path, f"size.{key}", value, "must be a whole number of pixels above 0")
    return int(width), int(height)


def box_of(path: Path, one: VocObject, size: tuple[int, int], *, zero_based: bool) -> tuple[Box, bool]:
    """Return COCO's box (x, y, width, height, px) of an object, and whether it was cut at the border of its picture.

    VOC's corners are pixels, the first one called 1, and the last one is inside; so the left edge is xmin - 1 and the
    right edge xmax.

    Args:
        path: of the XML file.
        one: in it.
        size: width and height of the picture, px.
        zero_based: the corners are edges from 0 on, as tools write them that know nothing of VOC's count.

    Raises:
        Fault: the box is empty, or outside of the picture.
    """
    left, top, right, bottom = one.corners
    if not zero_based:
        left, top = left - 1, top - 1
    if not (left < right and top < bottom):
        rule = "must have xmin below xmax and ymin below ymax"
        raise Fault(path, f"{one.field}.bndbox", list(one.corners), rule)
    inside = max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        rule = f"must lie inside the picture ({size[0]}x{size[1]})"
        raise Fault(path, f"{one.field}.bndbox", list(one.corners), rule)
    cut = any(abs(new - old) > TOLERANCE_PX for new, old in zip(inside, (left, top, right, bottom), strict=True))
    return (inside[0], inside[1], inside[2] - inside[0], inside[3] - inside[1]), cut
