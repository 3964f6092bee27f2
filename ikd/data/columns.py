"""An annotation file as columns: what rules ask of a million boxes, without an object for each."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ikd.data.coco import SECTIONS, malformed
from ikd.data.identity import said_of
from ikd.data.reader.stream import entries, repeated_key
from ikd.errors import DataError, Problem

Floats = NDArray[np.float64]
HUGE = 1e12
"""px; larger numbers are no measures, and products of two smaller ones are finite."""
_NUMBERS = {int, float}  # true and false are none
POLYGON = 6
"""Numbers of the smallest polygon: three points."""


class _Missing:
    """What stands where a key is absent."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


class Mask(NamedTuple):
    """What is judged of one segmentation.

    Attributes:
        kind: "none" (absent, null or empty), "polygons", "rle" or "malformed".
        usable: parts that mmdet takes: polygons with three points or more and as many x as y, or the one RLE.
        unusable: other parts.
        area: px^2, of usable parts, overlaps counted twice.
        bounds: left, top, right, bottom of usable polygons in px.
        height: of an RLE's image, px; 0 for polygons.
        width: of an RLE's image, px; 0 for polygons.
    """

    kind: str
    usable: int = 0
    unusable: int = 0
    area: float = 0.0
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    height: int = 0
    width: int = 0


_NO_MASK, _MALFORMED = Mask("none"), Mask("malformed")


class _Row(NamedTuple):
    """An annotation, packed as soon as it is parsed."""

    id: Any
    image_id: Any
    category_id: Any
    bbox: Any
    area: Any
    iscrowd: Any
    ignore: Any
    mask: Mask
    mask_value: Any
    said: str


@dataclass
class Column:
    """One number of every annotation.

    Attributes:
        values: [N], or [N, 4] for boxes; NaN where there is none.
        odd: what stands in its place by index, where it is no finite number below `HUGE`.
        missing: [N], where the key is absent.
    """

    values: Floats
    odd: dict[int, Any]
    missing: NDArray[np.bool_]

    @property
    def sound(self) -> NDArray[np.bool_]:
        """[N], where there is a number."""
        finite: NDArray[np.bool_] = np.isfinite(self.values)
        return finite if finite.ndim == 1 else np.asarray(finite.all(1), np.bool_)


@dataclass
class Columns:
    """A COCO file by columns; N annotations, M images, C categories.

    Attributes:
        images: entries as they stand; M.
        categories: entries as they stand; C.
        strange: annotations that are no JSON object, by index.
        ids: N, as they stand, as the next two.
        image_ids: N.
        category_ids: N.
        boxes: x, y, width, height in px.
        areas: px^2.
        crowds: 0 or 1.
        ignores: 0 or 1.
        masks: N.
        said: N, what the fingerprint takes of each.
        mask_values: what stands in place of masks that cannot be read, or whose parts cannot, by index.
        repeated: fields of entries that say a key twice, and the key.
        turned: angles of boxes that are not upright, in degrees, by index.
    """

    images: list[Any]
    categories: list[Any]
    strange: dict[int, Any]
    ids: list[Any]
    image_ids: list[Any]
    category_ids: list[Any]
    boxes: Column
    areas: Column
    crowds: Column
    ignores: Column
    masks: list[Mask]
    said: list[str]
    mask_values: dict[int, Any] = field(default_factory=dict)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    turned: dict[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def read_columns(path: Path) -> tuple[Columns, Problem | None]:
    """Read an annotation file without judging its entries.

    Annotations are packed while they are parsed, so that the numbers of their masks are never all in memory.

    Returns:
        The columns (empty when unreadable), and what is wrong with the file as a whole, or None.
    """
    content: dict[str, list[Any]] = {section: [] for section in SECTIONS}
    repeated, turned = [], {}
    try:
        for entry in entries(path):
            if key := repeated_key(entry):
                repeated.append((f"{entry.section}[{entry.index}]", key))
            if entry.section == "annotations" and (angle := _angle(entry.value)):
                turned[entry.index] = angle
            packed = _pack(entry.value) if entry.section == "annotations" else entry.value
            content[entry.section].append(packed)
    except DataError as error:
        cause = str(error).removeprefix(f"{path}: file: ")
        return columns_of({}), malformed(path)[1] or Problem(str(path), "file", None, cause)
    return replace(columns_of(content), repeated=repeated, turned=turned), None


def columns_of(content: Mapping[str, Any]) -> Columns:
    """Return a COCO object, its annotations packed, by columns."""
    entries = content.get("annotations", [])
    strange = {index: entry for index, entry in enumerate(entries) if not isinstance(entry, _Row)}
    rows = [entry if isinstance(entry, _Row) else _NOTHING for entry in entries]
    return Columns(
        images=content.get("images", []),
        categories=content.get("categories", []),
        strange=strange,
        ids=[row.id for row in rows],
        image_ids=[row.image_id for row in rows],
        category_ids=[row.category_id for row in rows],
        boxes=_boxes(rows),
        areas=_column([row.area for row in rows]),
        crowds=_column([row.iscrowd for row in rows], flags=True),
        ignores=_column([row.ignore for row in rows], flags=True),
        masks=[row.mask for row in rows],
        said=[row.said for row in rows],
        mask_values={index: row.mask_value for index, row in enumerate(rows) if row.mask_value is not None},
    )


def _angle(entry: object) -> float:
    """Return by how much tools say that a box is turned, beside COCO's keys or among their own; 0 where it is not."""
    if not isinstance(entry, dict):
        return 0.0
    attributes = entry.get("attributes")
    angle: Any = entry.get("rotation") or (attributes.get("rotation") if isinstance(attributes, dict) else None)
    return float(angle) if is_number(angle) else 0.0


_FOUR = struct.Struct("4d")


def _pack(entry: Any) -> Any:
    """Pack an annotation; null is nothing there, and what is no JSON object is left alone."""
    if not isinstance(entry, dict):
        return entry
    entry = {key: value for key, value in entry.items() if value is not None}
    get, mask, segmentation = entry.get, _NO_MASK, entry.get("segmentation")
    if segmentation is not None:
        mask = mask_of(segmentation)
    bbox = get("bbox", MISSING)
    packed = _FOUR.pack(*bbox) if _is_box(bbox) else bbox
    return _Row(
        *(get("id", MISSING), get("image_id", MISSING), get("category_id", MISSING), packed, get("area", MISSING)),
        *(get("iscrowd", MISSING), get("ignore", MISSING), mask),
        segmentation if mask.kind == "malformed" or mask.unusable else None,
        _said(entry),
    )


def _said(entry: dict[str, Any]) -> str:
    try:
        return said_of(entry)
    except (KeyError, TypeError, ValueError, OverflowError):  # of no use, as an error of the check will tell
        return ""


_NOTHING = _Row(MISSING, MISSING, MISSING, MISSING, MISSING, MISSING, MISSING, _NO_MASK, None, "")


def _is_box(value: Any) -> bool:
    if type(value) is not list or len(value) != 4 or not set(map(type, value)) <= _NUMBERS:
        return False
    a, b, c, d = value  # written out, as it is done a million times
    return -HUGE < a < HUGE and -HUGE < b < HUGE and -HUGE < c < HUGE and -HUGE < d < HUGE


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a finite number below `HUGE`; true and false are none."""
    # False for NaN; an integer of 400 digits would overflow math.isfinite
    return type(value) in _NUMBERS and -HUGE < value < HUGE  # type: ignore[operator]


def mask_of(segmentation: Any) -> Mask:
    """Judge a segmentation by its form; nothing is drawn."""
    if isinstance(segmentation, dict):
        return _rle(segmentation)
    if not isinstance(segmentation, list):
        return _MALFORMED
    if not segmentation:
        return _NO_MASK
    usable = [part for part in segmentation if isinstance(part, list) and len(part) % 2 == 0 and len(part) >= POLYGON]
    area, xs, ys = 0.0, [], []
    for part in usable:
        if not set(map(type, part)) <= _NUMBERS:
            return _MALFORMED
        x, y = part[0::2], part[1::2]
        xs += [min(x), max(x)]
        ys += [min(y), max(y)]
        if not -HUGE < min(xs[-2], ys[-2]) <= max(xs[-1], ys[-1]) < HUGE:
            return _MALFORMED
        area += abs(sum(map(mul, x, y[1:] + y[:1])) - sum(map(mul, y, x[1:] + x[:1]))) / 2  # shoelace
    if area != area:  # the least and largest of numbers may be right where one is NaN
        return _MALFORMED
    bounds = (float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))) if usable else _NO_MASK.bounds
    return Mask("polygons", len(usable), len(segmentation) - len(usable), float(area), bounds)


def _rle(segmentation: dict[str, Any]) -> Mask:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if not (
        isinstance(size, list) and len(size) == 2 and all(is_number(one) and one > 0 and one % 1 == 0 for one in size)
    ):
        return _MALFORMED
    size = [int(side) for side in size]  # some tools write whole numbers with a point
    if isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts):
        fits, area = sum(counts) == size[0] * size[1], float(sum(counts[1::2]))
    elif isinstance(counts, str) and counts.isascii():
        runs = _runs(counts)
        fits, area = sum(runs) == size[0] * size[1] and min(runs, default=-1) >= 0, float(sum(runs[1::2]))
    else:
        return _MALFORMED
    return Mask("rle", 1, 0, area, height=size[0], width=size[1]) if fits else _MALFORMED


def _runs(counts: str) -> list[int]:
    """Decode the runs of a compressed RLE: five bits a character, little end first, from the third run on differences.

    pycocotools would read beyond a text that ends within a run.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts.encode():
        bits = character - 48
        if not 0 <= bits < 64:
            return []
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    return runs if shift == 0 else []


def _boxes(rows: list[_Row]) -> Column:
    known = [type(row.bbox) is bytes for row in rows]
    values = np.full((len(rows), 4), np.nan)
    values[np.array(known, bool)] = np.frombuffer(
        b"".join(row.bbox for row, one in zip(rows, known, strict=True) if one), np.float64
    ).reshape(-1, 4)
    odd = {index: row.bbox for index, row in enumerate(rows) if not known[index] and row.bbox is not MISSING}
    return Column(values, odd, np.array([row.bbox is MISSING for row in rows], bool))


def _column(raw: list[Any], *, flags: bool = False) -> Column:
    if set(map(type, raw)) <= _NUMBERS and not flags and all(-HUGE < value < HUGE for value in raw):
        return Column(np.array(raw, np.float64), {}, np.zeros(len(raw), bool))
    missing = np.array([value is MISSING for value in raw], bool)
    sound = [is_number(value) or (flags and value in (False, True)) if value is not MISSING else False for value in raw]
    if flags:
        sound = [one and value in (0, 1) for one, value in zip(sound, raw, strict=True)]
    values = np.array([float(value) if one else np.nan for one, value in zip(sound, raw, strict=True)], np.float64)
    odd = {index: value for index, value in enumerate(raw) if not sound[index] and value is not MISSING}
    return Column(values, odd, missing)
