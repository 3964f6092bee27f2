"""What a data set and each of its images show, whatever their files and ids are called.

What is kept of single images (perturbations, a teacher's boxes) is found by `image_digest` alone: neither an id nor a
name says which image it belongs to, as both change with every export. A training notes a `DataRecord` of what it was
shown, so that whoever goes on with it can be told what has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from time import time_ns
from typing import Any

from ikd.data.coco import on_disk
from ikd.data.reader import indexed
from ikd.data.reader.stream import entries
from ikd.data.threads import in_threads
from ikd.errors import DataError, Problem
from ikd.files import parsed, sha256, write_text
from ikd.home import cache, digest

Objects = dict[Any, list[tuple[Any, str]]]
_NUMBERS = {int, float}
_VERSION = "ikd data 1"  # part of every hash: a change of the recipe below must not pass for the same data
PARTS = {"train": "training", "val": "validation", "test": "test", "unlabelled": "unlabelled"}
"""Names of the parts, for people."""
_RECORD = 1  # raise when a part's record says something else
SETTLED_SECONDS = 2.0
"""A file younger than this may change once more without its times telling, so nothing is remembered of it."""
_known: dict[str, tuple[tuple[int, ...], bytes]] = {}
_lock = Lock()


def image_digest(path: Path | str) -> str:
    """Hash the bytes of an image file: what everything that is kept of an image is found by.

    A process remembers it as long as the file's size, times and place on the disk are the same.

    Args:
        path: of the file.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    name, stamp = os.fspath(path), file_stamp(path)
    known = _known.get(name)
    if known is not None and known[0] == stamp:
        return known[1].hex()
    digest = sha256(Path(path))
    if settled(stamp) and file_stamp(path) == stamp:
        with _lock:
            _known[name] = stamp, bytes.fromhex(digest)
    return digest


def file_stamp(path: Path | str) -> tuple[int, ...]:
    """Return numbers that change with a file: its size, times of content and entry (ns), and place on the disk."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def settled(stamp: tuple[int, ...]) -> bool:
    """Whether a file is old enough for its stamp to tell the next change."""
    return time_ns() - max(stamp[1:3]) > SETTLED_SECONDS * 1e9


def settled_stamp(path: Path) -> tuple[int, ...] | None:
    """Return the stamp of a file; None where there is none, or where it would not tell the next change."""
    try:
        stamp = file_stamp(path)
    except (OSError, ValueError):
        return None
    return stamp if settled(stamp) else None


def fingerprint(annotations: Path, images: Path) -> str:
    """Hash one split by content.

    Equal for two copies whose files are renamed, ids renumbered, or json lists and keys reordered; different as soon as
    a byte of an image file, a box, area, crowd flag, mask or the class of a box changes.

    Args:
        annotations: COCO json file.
        images: folder that its file names are relative to.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        DataError: a file is missing, or an entry lacks what the hash needs. `check_dataset` lists every such fault.
    """
    images_of, names, objects = _read(Path(annotations))
    try:
        return digest_of(
            names, images_of, objects, lambda image: image_digest(Path(images) / on_disk(image["file_name"]))
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        rule = f"every entry must be complete ({type(error).__name__}: {error}); see `ikd data check`"
        raise DataError(str(Problem(str(annotations), "annotations", None, rule))) from error
    except OSError as error:
        raise DataError(str(Problem(str(annotations), "images", str(error), "every image must be readable"))) from error


def _read(annotations: Path) -> tuple[list[Any], dict[Any, str], Objects]:
    """Return images, class names by id, and what is said of the objects of each image; masks are texts at once."""
    images: list[Any] = []
    names: dict[Any, str] = {}
    objects: Objects = defaultdict(list)
    try:
        for entry in entries(annotations):
            if entry.section == "images":
                images.append(entry.value)
            elif entry.section == "categories":
                names[entry.value["id"]] = str(entry.value["name"])
            else:
                objects[entry.value["image_id"]].append((entry.value["category_id"], said_of(entry.value)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        rule = f"every entry must be complete ({type(error).__name__}: {error}); see `ikd data check`"
        raise DataError(str(Problem(str(annotations), "annotations", None, rule))) from error
    return images, names, objects


def combine(parts: list[str]) -> str:
    """Hash a list of texts; the borders between them count."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def digest_of(
    names: Mapping[Any, str],
    images: Sequence[Any],
    objects: Mapping[Any, Sequence[tuple[Any, str]]],
    pixels: Callable[[Any], str],
) -> str:
    """Hash a split of which all is known.

    Args:
        names: of the classes, by id.
        images: their entries in the file.
        objects: by image id, each object's category id and what `said_of` returns.
        pixels: returns the SHA-256 of an image's file.
    """

    def digest(image: Any) -> str:
        # the same text whatever the ids
        texts = sorted(f"[{json.dumps(names[category])}, {text}" for category, text in objects.get(image["id"], ()))
        return combine([pixels(image), f"{int(image['width'])}x{int(image['height'])}", *texts])

    return combine([_VERSION, *sorted(names.values()), *sorted(in_threads(digest, images))])


def said_of(annotation: Mapping[str, Any]) -> str:
    """Return what an annotation says besides ids and class, the same whatever the order of keys, and 1 against 1.0."""
    box = [float(value) for value in annotation["bbox"]]
    area = annotation.get("area")
    ignored = [bool(annotation.get("iscrowd", 0)), bool(annotation.get("ignore", 0))]
    mask = _numbers_as_float(annotation.get("segmentation") or None)
    content = [box, float(box[2] * box[3] if area is None else area), ignored, mask]
    return json.dumps(content, sort_keys=True)[1:]


def _numbers_as_float(value: Any) -> Any:
    if isinstance(value, list):
        if set(map(type, value)) <= _NUMBERS:
            return list(map(float, value))
        return [_numbers_as_float(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers_as_float(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) else value


@dataclass(frozen=True)
class PartRecord:
    """One part of a data set.

    Attributes:
        fingerprint: of its content; says nothing about the order of classes.
        images: how many.
        boxes: how many, crowds and those that are not trained on included.
    """

    fingerprint: str
    images: int
    boxes: int

    def __str__(self) -> str:
        """Return the counts for people."""
        return f"{self.images} images with {self.boxes} boxes"

    @property
    def short(self) -> str:
        """Half of the fingerprint, for several in a row."""
        return self.fingerprint[:32]


@dataclass(frozen=True)
class DataRecord:
    """What a training was shown.

    Attributes:
        classes: in the order in which the detector numbers them.
        train: the training part.
        val: the validation part.
        unlabelled: photographs without labels; None where none are shown.
    """

    classes: tuple[str, ...]
    train: PartRecord
    val: PartRecord
    unlabelled: PartRecord | None = None

    @property
    def labelled(self) -> str:
        """One hash of the content of both labelled parts; the order of the classes is no part of it."""
        same = self.train.fingerprint == self.val.fingerprint
        return self.train.fingerprint if same else f"{self.train.short}-{self.val.short}"

    @property
    def fingerprint(self) -> str:
        """One hash of the content of all that is shown."""
        return self.labelled if self.unlabelled is None else f"{self.labelled}-{self.unlabelled.short}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for `of`."""
        found = {**asdict(self), "classes": list(self.classes)}
        if self.unlabelled is None:
            found.pop("unlabelled")
        return found

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> DataRecord:
        """Return what `as_dict` gave."""
        more = content.get("unlabelled")
        parts = [PartRecord(**one) if one else None for one in (content["train"], content["val"], more)]
        train, val, unlabelled = parts
        assert train is not None
        assert val is not None
        return cls(tuple(content["classes"]), train, val, unlabelled)

    def changes_since(self, earlier: DataRecord) -> list[str]:
        """Say for people what is no longer as it was; nothing where a training can go on."""
        said = class_changes(earlier.classes, self.classes)
        for name in ("train", "val", "unlabelled"):
            words, before, now = PARTS[name], getattr(earlier, name), getattr(self, name)
            if before is None or now is None:
                changed = "is no longer there" if before is not None else "was not there before"
                said += [] if before is now else [f"the {words} part {changed}"]
            elif before.fingerprint != now.fingerprint:
                same = str(before) == str(now)
                text = f"has {now} as before, but not the same ones" if same else f"had {before}, and has {now}"
                said.append(f"the {words} part {text}")
        return said


def class_changes(before: tuple[str, ...], now: tuple[str, ...]) -> list[str]:
    """Say for people how the classes differ, their order included; nothing where they do not."""
    if before == now:
        return []
    if sorted(before) == sorted(now):
        at = next(place for place, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1])
        return [f"the classes are in another order: class {at} was {before[at]!r}, and is {now[at]!r}"]
    gone, new = ([name for name in one if name not in other] for one, other in ((before, now), (now, before)))
    parts = [f"{word} {', '.join(map(repr, names))}" for word, names in (("without", gone), ("with", new)) if names]
    return [f"there were {len(before)} classes, and are {len(now)}: {', '.join(parts) or 'some names are doubled'}"]


def part_records(*parts: tuple[Path, Path]) -> list[PartRecord]:
    """Return the record of each part; read once for as long as none of its files changes.

    Args:
        parts: COCO json file, and folder that its file names are relative to.

    Raises:
        DataError: see `fingerprint`.
    """
    return [_record_of(part, state) for part, state in zip(parts, states_of(*parts), strict=True)]


def _record_of(part: tuple[Path, Path], state: str | None) -> PartRecord:
    if state is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return PartRecord(**parsed(_kept(state).read_text()))
    index = indexed(part[0])
    record = PartRecord(fingerprint(*part), len(index), len(index.boxes))
    if state is not None:  # of before they were read: if a file has changed since, nobody finds this
        keep_record(state, record)
    return record


def keep_record(state: str, record: PartRecord) -> None:
    """Keep the record of a part whose files were read after `state` was taken of them, for `part_records`."""
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, no more
        _kept(state).parent.mkdir(parents=True, exist_ok=True)
        write_text(_kept(state), json.dumps(asdict(record)))


def _kept(state: str) -> Path:
    return cache("fingerprints") / f"{state}.json"


def states_of(*parts: tuple[Path, Path]) -> list[str | None]:
    """Return a name for the state of all files of each part; None while one may change without its times telling.

    Args:
        parts: as of `part_records`.
    """
    folders = {images: state_below(images) for _, images in parts}  # parts may share one: walking COCO's takes seconds
    states: list[str | None] = []
    for file, images in parts:
        stamp, below = settled_stamp(file), folders[images]
        places = [str(file.absolute()), str(images.absolute())]
        states.append(None if stamp is None or below is None else digest([_RECORD, *places, stamp, below]))
    return states


def state_below(folder: Path) -> str | None:
    """Return a name for the state of all files in a folder; None while one may change without its times telling."""
    try:
        stamps = _files_below(folder)
    except OSError:
        return None
    return digest(sorted(stamps)) if all(settled(stamp) for _, stamp in stamps) else None


def _files_below(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and stamp of every file in a folder, linked folders included, each of them once."""
    found, seen = [], set[tuple[int, int]]()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()  # which of two names of a folder is met first must not change
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a link to nowhere; if the json names it, reading says so
                file = os.path.join(place, name)
                found.append((file, file_stamp(file)))
    return found
