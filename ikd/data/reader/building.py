"""Making an index of a COCO file: one pass over it, never the whole of it in memory."""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ikd.data.reader import normal
from ikd.data.reader.normal import MOST, Box, Id, Image
from ikd.data.reader.stream import entries
from ikd.errors import DataError, Problem
from ikd.files import write_text

NORMAL, NOTES = "normal.json", "notes.json"
COLUMNS = ("ids", "widths", "heights", "first", "boxes", "areas", "labels", "crowds", "ignored", "masked")
ORIGINAL = "original_id"
"""Key of an entry of the normal form: its id in the file, where ids could not be kept."""


def build(annotations: Path, folder: Path) -> None:
    """Write the normal form and the columns of a COCO file into an empty folder; the notes come last.

    Raises:
        DataError: names the file and the entry.
    """
    spool = folder / "spool"
    with spool.open("wb") as file:
        found = _Pass(str(annotations), file)
        found.read(annotations)
    images = _Ids.of(str(annotations), "images", [image.id for image in found.images])
    classes = _Ids.of(str(annotations), "categories", [identity for identity, _, _ in found.categories])
    owners = found.places(found.owners, images, "image_id")
    labels = found.places(found.labels, classes, "category_id")
    order = np.argsort(owners, kind="stable")
    first = np.searchsorted(owners[order], np.arange(len(images.kept) + 1)).astype(np.int64)
    categories = [value | classes.said(identity) for identity, _, value in found.categories]
    with (folder / NORMAL).open("wb") as file, spool.open("rb") as texts:
        boxes = _Texts(texts.fileno(), found, images, classes, order)
        grouped = (boxes.of(start, end) for start, end in zip(first[:-1].tolist(), first[1:].tolist(), strict=True))
        places = _write(file, found.images, images, grouped, categories)
    spool.unlink()
    columns = places | {
        "ids": np.array(images.kept, np.int64),
        "widths": np.array([image.width for image in found.images], np.int64),
        "heights": np.array([image.height for image in found.images], np.int64),
        "first": first,
        "boxes": np.array(found.boxes).reshape(-1, 4)[order],
        "areas": np.array(found.areas)[order],
        "labels": labels[order],
        **{name: np.array(getattr(found, name), np.bool_)[order] for name in ("crowds", "ignored", "masked")},
    }
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
    write_text(folder / NOTES, json.dumps({"categories": categories, "renumbered": images.renumbered}))


class _Pass:
    """What one pass over a file keeps: images, and columns of the annotations; their texts go to the disk."""

    def __init__(self, file: str, spool: BinaryIO) -> None:
        self._file, self._spool = file, spool
        self.images: list[Image] = []
        self.categories: list[tuple[Id, str, dict[str, Any]]] = []
        self.owners: list[Id] = []
        self.labels: list[Id] = []
        self.numbers: list[int | None] = []
        self.boxes, self.areas = array("d"), array("d")
        self.crowds, self.ignored, self.masked = array("b"), array("b"), array("b")
        self.starts = array("q", [0])
        self._known: dict[Id, Id] = {}

    def read(self, annotations: Path) -> None:
        for entry in entries(annotations):
            if entry.section == "annotations":
                self._keep(normal.annotation(self._file, entry))
            elif entry.section == "images":
                self.images.append(normal.image(self._file, entry))
            else:
                self.categories.append(normal.category(self._file, entry))
        names = Counter(name for _, name, _ in self.categories)
        if twice := [name for name, count in names.items() if count > 1]:
            self._refuse("categories", twice[0], "must name each class once")

    def _keep(self, box: Box) -> None:
        # the same id is one object, not one for each annotation
        self.owners.append(self._known.setdefault(box.image, box.image))
        self.labels.append(self._known.setdefault(box.category, box.category))
        self.numbers.append(box.number)
        self.boxes.extend(box.box)
        self.areas.append(box.area)
        for column, value in ((self.crowds, box.crowd), (self.ignored, box.ignored), (self.masked, box.masked)):
            column.append(value)
        text = box.text.encode("ascii")
        self._spool.write(text)
        self.starts.append(self.starts[-1] + len(text))

    def places(self, wanted: Sequence[Id], ids: _Ids, key: str) -> NDArray[np.int64]:
        """Return the place in its list of what each annotation points to."""
        try:
            return np.fromiter((ids.places[one] for one in wanted), np.int64, len(wanted))
        except KeyError:
            index = next(index for index, one in enumerate(wanted) if one not in ids.places)
            self._refuse(f"annotations[{index}].{key}", wanted[index], f"must be the id of an entry of {ids.section}")

    def _refuse(self, field: str, value: object, rule: str) -> NoReturn:
        raise DataError(str(Problem(self._file, field, value, rule)))


@dataclass(frozen=True)
class _Ids:
    """The ids of one list, and the whole numbers that stand for them.

    Attributes:
        section: the list.
        places: of each id in the list.
        kept: the ids themselves where all are whole numbers, else 1, 2, ...
    """

    section: str
    places: dict[Id, int]
    kept: list[int]

    @classmethod
    def of(cls, file: str, section: str, given: Sequence[Id]) -> _Ids:
        places: dict[Id, int] = {}
        for place, one in enumerate(given):
            if places.setdefault(one, place) != place:
                rule = f"must be unique, see {section}[{places[one]}]"
                raise DataError(str(Problem(file, f"{section}[{place}].id", one, rule)))
        whole = [one for one in given if isinstance(one, int) and abs(one) < MOST]
        return cls(section, places, whole if len(whole) == len(given) else list(range(1, len(given) + 1)))

    @property
    def renumbered(self) -> bool:
        return any(one is not kept for one, kept in zip(self.places, self.kept, strict=True))

    def said(self, one: Id) -> dict[str, Id]:
        """Return what an entry says of its id in place of what it said."""
        kept = self.kept[self.places[one]]
        return {} if kept == one else {"id": kept, ORIGINAL: one}


class _Texts:
    """The texts of the annotations, with ids that are whole and unique."""

    def __init__(self, spool: int, found: _Pass, images: _Ids, classes: _Ids, order: NDArray[np.int64]) -> None:
        self._spool, self._found, self._order = spool, found, order
        self._changed = [
            (key, column, ids)
            for key, column, ids in (("image_id", found.owners, images), ("category_id", found.labels, classes))
            if ids.renumbered
        ]
        numbers = found.numbers
        self._numbered = None not in numbers and len(set(numbers)) == len(numbers)

    def of(self, start: int, end: int) -> Iterator[str]:
        """Yield the texts of the annotations from one place in the order to another."""
        for place in range(start, end):
            index = int(self._order[place])
            first, last = self._found.starts[index], self._found.starts[index + 1]
            text = os.pread(self._spool, last - first, first).decode("ascii")
            values: dict[str, Any] = {key: ids.kept[ids.places[column[index]]] for key, column, ids in self._changed}
            yield normal.with_values(text, values if self._numbered else values | {"id": place + 1})


def _write(
    file: BinaryIO,
    images: Sequence[Image],
    ids: _Ids,
    grouped: Iterator[Iterator[str]],
    categories: list[dict[str, Any]],
) -> dict[str, NDArray[np.int64]]:
    """Write the normal form; return where each image's entry stands in it, and where its annotations, [I, 2]."""
    places: dict[str, list[tuple[int, int]]] = {"image_bytes": [], "box_bytes": []}
    at = file.write(b'{"info": {"description": "written by ikd"}, "licenses": [], "images": [')
    lists = {"image_bytes": ([normal.with_values(image.text, ids.said(image.id))] for image in images)}
    for name, groups in (*lists.items(), ("box_bytes", grouped)):
        begun = False
        for group in groups:
            text = ",\n".join(group).encode("ascii")
            if text and begun:
                at += file.write(b",\n")
            begun = begun or bool(text)
            places[name].append((at, at + len(text)))
            at += file.write(text)
        at += file.write(b'], "annotations": [' if name == "image_bytes" else b'], "categories": ')
    file.write(json.dumps(categories).encode("ascii") + b"}\n")
    return {name: np.array(found, np.int64).reshape(-1, 2) for name, found in places.items()}
