"""One annotation file in its normal form, with columns of what is asked most, shared by processes."""

from __future__ import annotations

import os
import shutil
import weakref
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.data.reader.building import COLUMNS, NORMAL, NOTES, build
from ikd.data.reader.stream import entries
from ikd.errors import DataError, Problem
from ikd.files import parsed, sha256, whole, whole_folder
from ikd.home import cache, entry
from ikd.progress import mentioned

VERSION = 2
"""Part of the name of a folder in the cache: raise it whenever what is written changes."""

LARGE_BYTES = 1 << 24
"""Larger files take seconds to read, of which whoever waits is told."""


class CocoIndex:
    """What one COCO file says, in its normal form.

    Images come in the order of the file, and each image's annotations in theirs. Nothing is held in memory but what is
    asked for: columns are mapped from files, entries are read when they are wanted.

    Args:
        folder: of the cache.

    Attributes:
        normal: COCO json in ASCII: whole and unique ids, `iscrowd` and `area` everywhere, annotations image by image.
        ids: [I] int64, id of each image; those of the file where they are whole numbers, else 1, 2, ...
        widths: [I] int64, px.
        heights: [I] int64, px.
        first: [I + 1] int64, place of each image's first annotation, and the number of annotations.
        boxes: [A, 4] float64: x, y, width, height, px.
        areas: [A] float64, px^2.
        labels: [A] int64, place of each annotation's class in `classes`.
        crowds: [A] bool.
        ignored: [A] bool: `ignore` is set, as of VOC's difficult objects.
        masked: [A] bool: there is a segmentation.
    """

    ids: NDArray[np.int64]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    first: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowds: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    masked: NDArray[np.bool_]

    def __init__(self, folder: Path) -> None:
        self.folder, self.normal = folder, folder / NORMAL
        for name in COLUMNS:
            setattr(self, name, np.load(folder / f"{name}.npy", mmap_mode="r"))
        self._image_bytes = np.load(folder / "image_bytes.npy", mmap_mode="r")  # [I, 2]: start and end in `normal`
        self._box_bytes = np.load(folder / "box_bytes.npy", mmap_mode="r")
        notes = parsed((folder / NOTES).read_text(encoding="ascii"))
        self.categories: list[dict[str, Any]] = notes["categories"]
        self.renumbered: bool = notes["renumbered"]
        # read at a place, not mapped: pages of half a gigabyte would count as this process's memory
        self._file = os.open(self.normal, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __reduce__(self) -> tuple[type[CocoIndex], tuple[Path]]:
        return type(self), (self.folder,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the file."""
        return tuple(str(category["name"]) for category in self.categories)

    @property
    def category_ids(self) -> list[int]:
        """Ids of the classes, by label."""
        return [int(category["id"]) for category in self.categories]

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """[A] int64: place of each annotation's image."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.first))

    @cached_property
    def with_boxes(self) -> NDArray[np.bool_]:
        """[I] bool: the image has an annotation, which may be set aside or one that mmdet leaves out."""
        return np.diff(self.first) > 0

    @cached_property
    def set_aside(self) -> NDArray[np.bool_]:
        """[A] bool: a crowd or ignored: nothing to be taught, and nothing that must be found."""
        found: NDArray[np.bool_] = np.asarray(self.crowds) | np.asarray(self.ignored)
        return found

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """[A] bool: a training holds the annotation, one that is set aside as mmdet's `ignore_flag`.

        mmdet leaves out those without area, outside the image, and below 1 px.
        """
        left, top, width, height = np.asarray(self.boxes).T
        inside_x = np.minimum(left + width, self.widths[self.owners]) - np.maximum(left, 0)
        inside_y = np.minimum(top + height, self.heights[self.owners]) - np.maximum(top, 0)
        # the product of both, as in mmdet's code: it may be 0 where neither is
        inside = np.maximum(inside_x, 0) * np.maximum(inside_y, 0) != 0
        found: NDArray[np.bool_] = inside & (np.asarray(self.areas) > 0) & (width >= 1) & (height >= 1)
        return found

    def image(self, place: int) -> dict[str, Any]:
        """Return the entry of one image; `original_id` is there where the ids of the file could not be kept."""
        found: dict[str, Any] = parsed(self._read(self._image_bytes[place]))
        return found

    def annotations(self, place: int) -> list[dict[str, Any]]:
        """Return the annotations of one image."""
        found: list[dict[str, Any]] = parsed(b"[" + self._read(self._box_bytes[place]) + b"]")
        return found

    def _read(self, part: NDArray[np.int64]) -> bytes:
        start, end = (int(value) for value in part)
        return os.pread(self._file, end - start, start)


def indexed(annotations: Path) -> CocoIndex:
    """Return the index of a COCO file from the cache, made there now where the content is new (a minute for COCO).

    Raises:
        DataError: the file is unreadable, or an entry cannot be brought into its normal form; names the first such.
    """
    path, folder = _place(annotations)
    if not (folder / NOTES).is_file():
        with entry("coco", folder.name) as held:
            if not (held / NOTES).is_file():
                said = f"indexing {path.name}" if path.stat().st_size > LARGE_BYTES else ""
                with whole_folder(held, replace=True) as draft, mentioned(said):
                    build(path, draft)
                    if _place(annotations)[1] != folder:
                        raise DataError(str(Problem(str(path), "file", None, "changed while it was read; try again")))
    return _open(folder)


def write_normal(annotations: Path, target: Path) -> None:
    """Write the normal form of a COCO file, which plain mmdet and pycocotools read as ikd does.

    Raises:
        DataError: see `indexed`.
        DiskFull: nothing was written.
    """
    source = indexed(annotations).normal
    with whole(target) as partial:
        shutil.copyfile(source, partial)


def categories(annotations: Path) -> tuple[str, ...]:
    """Name the classes of a data set, in the order of the file.

    The order matters: mmdet numbers labels by it, whatever the category ids are.

    Args:
        annotations: a COCO json file.

    Raises:
        DataError: the file is unreadable or has a category without a name.
    """
    if (index := index_there(Path(annotations))) is not None:
        return index.classes
    names = []
    for one in entries(Path(annotations)):
        if one.section == "categories":
            name = one.value.get("name") if isinstance(one.value, dict) else None
            if not isinstance(name, str):
                raise DataError(str(Problem(str(annotations), f"categories[{one.index}].name", name, "must be a text")))
            names.append(name)
        elif names:
            break  # what comes after the classes may be half a gigabyte
    return tuple(names)


def index_there(annotations: Path) -> CocoIndex | None:
    """Return the index of a COCO file where it has been made before.

    Raises:
        DataError: the file is not there, or cannot be read.
    """
    _, folder = _place(annotations)
    return _open(folder) if (folder / NOTES).is_file() else None


_open = lru_cache(maxsize=8)(CocoIndex)


def _place(annotations: Path) -> tuple[Path, Path]:
    """Return the absolute path of a file, and the folder of the cache for what it holds."""
    path = Path(os.path.abspath(annotations))
    try:
        found = path.stat()
        key = _content(path, found.st_size, found.st_mtime_ns, found.st_ino)
    except FileNotFoundError as error:
        raise DataError(str(Problem(str(path), "file", None, "the annotation file must exist"))) from error
    except OSError as error:
        raise DataError(str(Problem(str(path), "file", str(error), "the annotation file must be readable"))) from error
    return path, cache("coco") / f"{key[:32]}-{VERSION}"


@lru_cache(maxsize=64)
def _content(path: Path, *stamp: int) -> str:
    return sha256(path)
