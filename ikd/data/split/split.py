"""`ikd data split`: from annotation files to parts that have no image, no copy and no film in common."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ikd.data.coco import read_annotations
from ikd.data.files import lines_of
from ikd.data.part import Part, PartName, Settings
from ikd.data.report import DataReport
from ikd.data.split.dealing import dealt
from ikd.data.split.groups import grouped
from ikd.errors import DataError, refuse
from ikd.files import write_text

ALL, VAL = ("train", "val", "test"), ("val", "test")
SHARES = {ALL: (0.7, 0.15, 0.15), VAL: (0.5, 0.5)}


@dataclass(frozen=True)
class PartMade:
    """A part as it was written.

    Attributes:
        name: train, val or test.
        file: its annotations.
        images: how many.
        groups: of images that are kept together.
        boxes: by class.
    """

    name: str
    file: Path
    images: int
    groups: int
    boxes: dict[str, int]


@dataclass(frozen=True)
class DataSplit:
    """What a data set was divided into.

    Attributes:
        parts: in order.
        lines: of a recipe, that read them.
    """

    parts: tuple[PartMade, ...]
    lines: str

    def __str__(self) -> str:
        """Return a table and the lines for a recipe."""
        rows = [["part", "images", "groups", *self.parts[0].boxes]]
        rows += [[one.name, *map(str, (one.images, one.groups, *one.boxes.values()))] for one in self.parts]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*table, "in a recipe:", self.lines])


def parse_shares(text: str) -> tuple[float, ...]:
    """Read `0.7,0.15,0.15`.

    Raises:
        BadInput: no numbers above 0 that add up to 1.
    """
    try:
        shares = tuple(float(one) for one in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(one > 0 for one in shares) or not math.isclose(sum(shares), 1.0, abs_tol=1e-3):
        refuse("--shares", "must be numbers above 0 that add up to 1", text, "for example 0.7,0.15,0.15")
    return shares


def split_dataset(
    directory: Path,
    to: Path,
    *,
    annotations: str | None = None,
    images: str = "images",
    shares: tuple[float, ...] | None = None,
    seed: int = 0,
    group: str | None = None,
) -> DataSplit:
    """Divide a data set into parts by groups of images: copies, pictures alike and frames of a film stay together.

    With `annotations`, that file is divided into train, val and test. Without, val.json is divided into val and test
    and train.json stays as it is, since teachers may have seen it; what is in a group with an image of train stays in
    val.

    Args:
        directory: folder of the data set.
        to: folder for the new files, train.json, val.json, test.json; none of them is overwritten.
        annotations: COCO json, relative to the folder.
        images: folder of the images, relative to the folder.
        shares: of the parts; None is 0.7, 0.15, 0.15, and of val 0.5, 0.5.
        seed: the same one makes the same parts.
        group: a regular expression: images are of one film where it finds the same text in their names.

    Raises:
        BadInput: something is missing, faulty, there already, or cannot be divided so; nothing is written.
    """
    names = ALL if annotations is not None else VAL
    shares = shares or SHARES[names]
    _check(names, shares, to, group)
    source = directory / (annotations or "val.json")
    fixed = None if annotations is not None else _sound("train", directory / "train.json", directory / images)
    divided = _sound("val" if fixed is not None else "train", source, directory / images)
    parts, groups = _dealt(divided, fixed, shares, seed, group)
    chosen = [[place for place, part in enumerate(parts) if part == index] for index in range(len(names))]
    for name, places in zip(names, chosen, strict=True):
        if not places:
            rule = f"must have groups of images for each part, and there is none left for {name}"
            advice = "give other shares, say with --group what belongs together, or divide all anew with --all"
            refuse(str(source), rule, f"{len(set(groups))} groups", advice)
    content = read_annotations(source)
    made = [
        _write(content, places, to / f"{name}.json", name, len({groups[place] for place in places}))
        for name, places in zip(names, chosen, strict=True)
    ]
    files = {name: (to if name in names else directory) / f"{name}.json" for name in ALL}
    return DataSplit(tuple(made), lines_of(directory.absolute(), files, images))


def _check(names: tuple[str, ...], shares: tuple[float, ...], to: Path, group: str | None) -> None:
    if group is not None:
        try:
            re.compile(group)
        except re.error as error:
            refuse("--group", f"must be a regular expression ({error})", group)
    if len(shares) != len(names):
        refuse("--shares", f"must be {len(names)} numbers, of {', '.join(names)}", ",".join(map(str, shares)))
    for name in names:
        if (to / f"{name}.json").exists():
            refuse("--to", "must be a folder without the files to be written", str(to / f"{name}.json"))


def _sound(name: PartName, file: Path, images: Path) -> Part:
    """Read a part without errors.

    Raises:
        DataError: lists them.
    """
    part = Part(name, file, images)
    part.judge(Settings(), part.by_class if part.readable else {})
    problems = tuple(one for one in part.found.problems if one.severity == "error")
    DataReport(images.parent, (), {}, (), problems, None).raise_for_errors()
    if not part.sound.images:
        raise DataError(f"{file}: images: must hold an image to divide, but has none")
    return part


def _dealt(
    part: Part, fixed: Part | None, shares: tuple[float, ...], seed: int, pattern: str | None
) -> tuple[list[int], list[int]]:
    """Return the part and the group of each image of a file; what hangs together with a fixed part gets the first."""
    count = len(part.facts)
    both = [part, *([fixed] if fixed is not None else [])]
    names = [one.sound.images[index]["file_name"] for one in both for index in one.facts]
    facts = [fact for one in both for fact in one.facts.values()]
    groups = grouped(names, facts, max(1, int(min(shares) * count)), pattern)
    tied = set(groups[count:])
    rows = defaultdict(list)
    for place, one in enumerate(groups[:count]):
        if one not in tied:
            rows[one].append(place)
    weights = np.zeros((count, 1 + len(part.columns.categories)))
    weights[:, 0] = 1.0
    listed = np.flatnonzero(part.alone)
    np.add.at(weights, (part.sound.image_of[listed], 1 + part.sound.category_of[listed]), 1.0)
    parts = [0] * count
    if rows:
        counts = np.stack([weights[places].sum(0) for places in rows.values()])
        for chosen, places in zip(dealt(counts, shares, seed), rows.values(), strict=True):
            for place in places:
                parts[place] = chosen
    return parts, groups[:count]


def _write(content: dict[str, Any], chosen: list[int], file: Path, name: str, groups: int) -> PartMade:
    """Write the images at some places and all that is said of them; everything else stays as it was."""
    images = [content["images"][place] for place in chosen]
    ids = {one["id"] for one in images}
    objects = [one for one in content["annotations"] if one["image_id"] in ids]
    classes = {one["id"]: one["name"] for one in content["categories"]}
    boxes = dict.fromkeys(classes.values(), 0)
    for one in objects:
        boxes[classes[one["category_id"]]] += 1
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(content | {"images": images, "annotations": objects}))
    return PartMade(name, file, len(images), groups, boxes)
