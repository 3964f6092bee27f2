"""What a training says of its data, so that whoever goes on with it can be told what has changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ikd.data.identity import file_stamp, fingerprint, settled
from ikd.data.reader import indexed
from ikd.files import write_text
from ikd.home import cache, digest

PARTS = {"train": "training", "val": "validation"}
_FORMAT = 1  # raise when a part's record says something else


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


@dataclass(frozen=True)
class DataRecord:
    """What a training was shown.

    Attributes:
        classes: in the order in which the detector numbers them.
        train: the training part.
        val: the validation part.
    """

    classes: tuple[str, ...]
    train: PartRecord
    val: PartRecord

    @property
    def fingerprint(self) -> str:
        """One hash of the content of both parts; the order of the classes is no part of it."""
        parts = (self.train.fingerprint, self.val.fingerprint)
        return parts[0] if parts[0] == parts[1] else "-".join(part[:32] for part in parts)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for `of`."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> DataRecord:
        """Return what `as_dict` gave."""
        return cls(tuple(content["classes"]), PartRecord(**content["train"]), PartRecord(**content["val"]))

    def changes_since(self, earlier: DataRecord) -> list[str]:
        """Say for people what is no longer as it was; nothing where a training can go on."""
        said = class_changes(earlier.classes, self.classes)
        for name, words in PARTS.items():
            before, now = getattr(earlier, name), getattr(self, name)
            if before.fingerprint != now.fingerprint:
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


def part_record(annotations: Path, images: Path) -> PartRecord:
    """Return the record of one part; read once for as long as none of its files changes.

    Args:
        annotations: COCO json file.
        images: folder that its file names are relative to.

    Raises:
        DataError: see `fingerprint`.
    """
    stamp = _stamp(annotations, images)
    kept = cache("fingerprints") / f"{stamp}.json"
    if stamp is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return PartRecord(**json.loads(kept.read_text()))
    index = indexed(annotations)
    record = PartRecord(fingerprint(annotations, images), len(index), len(index.boxes))
    if stamp is not None and _stamp(annotations, images) == stamp:
        with contextlib.suppress(OSError):  # a full or read-only disk costs time, no more
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, json.dumps(asdict(record)))
    return record


def _stamp(annotations: Path, images: Path) -> str | None:
    """Return a name for the state of all files of a part; None while one may change without its times telling."""
    try:
        stamps = [("", file_stamp(annotations)), *_files_below(images)]
    except OSError:
        return None
    if not all(settled(stamp) for _, stamp in stamps):
        return None
    return digest([_FORMAT, str(annotations.absolute()), str(images.absolute()), sorted(stamps)])


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
                found.append((os.path.join(place, name), file_stamp(Path(place, name))))
    return found
