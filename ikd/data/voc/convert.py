"""`ikd data from-voc`: XML files in VOC's form as COCO json, one file a part."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ikd.data.files import lines_of
from ikd.data.images import size_of
from ikd.data.part import PartName
from ikd.data.report import DataProblem, listing
from ikd.data.rules import Findings
from ikd.data.voc.annotation import VocImage, box_of, read_image
from ikd.data.voc.layout import VOC_CLASSES, Parts, files_of, picture_of, usual_parts
from ikd.data.voc.tree import Fault
from ikd.errors import DataError, refuse
from ikd.files import write_text
from ikd.trial import Notify

STEP = 100  # files between two words of progress
_RECIPE_PARTS = get_args(PartName)


@dataclass(frozen=True)
class PartImported:
    """A part as it was written.

    Attributes:
        file: its COCO json.
        images: how many.
        without: images without an object.
        objects: how many, difficult ones included.
        difficult: of these.
    """

    file: Path
    images: int
    without: int
    objects: int
    difficult: int


@dataclass(frozen=True)
class VocImport:
    """What was made of a data set in VOC's form.

    Attributes:
        directory: of the pictures, and root of a recipe.
        parts: by name.
        classes: in their order.
        warnings: what should be looked at.
    """

    directory: Path
    parts: dict[str, PartImported]
    classes: tuple[str, ...]
    warnings: tuple[DataProblem, ...]

    def __str__(self) -> str:
        """Return a table, the classes, what should be looked at, and how to go on."""
        rows = [["part", "images", "without object", "objects", "of these difficult"]]
        rows += [
            [name, *map(str, (one.images, one.without, one.objects, one.difficult))] for name, one in self.parts.items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.append(f"classes: {', '.join(self.classes)}")
        lines += [listing(self.warnings)] if self.warnings else []
        files = {name: one.file for name, one in self.parts.items() if name in _RECIPE_PARTS}
        if files:
            root = self.directory.absolute()
            lines += ["in a recipe:", lines_of(root, files, "."), "validate: [bbox, voc]  # COCO's AP and VOC's AP50"]
        lines += [
            f"divide it: ikd data split {self.directory} --all {one.file.absolute()} --images . --to FOLDER"
            for name, one in self.parts.items()
            if name not in files
        ]
        return "\n".join(lines)


@dataclass
class _Reading:
    """What has been read so far, and what was found wrong with it."""

    directory: Path
    zero_based: bool
    found: Findings = field(default_factory=lambda: Findings("", []))
    images: dict[Path, VocImage] = field(default_factory=dict)
    entries: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def read(self, xml: Path) -> None:
        """Read an XML file and find its picture."""
        if xml in self.images:
            return  # of another part
        image = read_image(xml)
        picture, fault = picture_of(xml, image.picture)
        if picture is None:
            raise Fault(xml, "filename", image.picture, fault)
        if image.picture and image.picture != picture.name:
            rule = f"should be the name of the picture, {picture.name}, that has the name of the XML file and is taken"
            self._warn(xml, "filename", image.picture, rule)
        width, height = self._size(image, picture)
        name = Path(os.path.relpath(picture, self.directory)).as_posix()
        boxes = [self._box(image, place, (width, height)) for place in range(len(image.objects))]
        self.images[xml] = image
        self.entries[xml] = {"file_name": name, "width": width, "height": height, "boxes": boxes}

    def _size(self, image: VocImage, picture: Path) -> tuple[int, int]:
        """Return width and height of a picture, as the XML file says where it can be right."""
        try:
            stored = size_of(picture)
        except ValueError as error:
            raise Fault(image.path, "filename", image.picture, f"must be a readable picture ({error})") from error
        if image.size in (None, stored.stored, stored.turned):
            return image.size or stored.turned
        said, is_, other = image.size, stored.turned, stored.turned[::-1]
        if said != other:
            rule = f"must be that of the picture, {is_[0]}x{is_[1]}; was it made smaller after its boxes were drawn?"
            raise Fault(image.path, "size", f"{said[0]}x{said[1]}", rule)
        self._warn(image.path, "size", f"{said[0]}x{said[1]}", f"should be that of the picture, {is_[0]}x{is_[1]}")
        return is_

    def _box(self, image: VocImage, place: int, size: tuple[int, int]) -> tuple[float, ...]:
        one = image.objects[place]
        box, cut = box_of(image.path, one, size, zero_based=self.zero_based)
        if cut:
            low = min(one.corners[:2]) < 1 and not self.zero_based
            hint = "; VOC counts pixels from 1, if this tool does not, give --zero-based" if low else ""
            rule = f"should lie inside the picture ({size[0]}x{size[1]}); it is cut at its border{hint}"
            self._warn(image.path, f"{one.field}.bndbox", list(one.corners), rule)
        return box

    def _warn(self, path: Path, name: str, value: object, rule: str) -> None:
        self.found.problems.append(DataProblem(str(path), name, value, rule, severity="warning"))


def import_voc(
    directory: Path,
    to: Path | None = None,
    *,
    parts: Parts | None = None,
    classes: Sequence[str] | None = None,
    zero_based: bool = False,
    progress: Notify | None = None,
) -> VocImport:
    """Write a data set in VOC's form as COCO json files; its pictures stay where they are.

    Difficult objects have `ignore: 1`: they are set aside in training and evaluation alike. Parts of objects, masks and
    whatever else VOC says are left out.

    Args:
        directory: of the devkit, or of an export of another tool; file names are relative to it.
        to: folder for the files, PART.json, none of which is overwritten; None is the directory.
        parts: what each part is made of; None is what `usual_parts` finds.
        classes: in their order; None is VOC's 20, or where there are others, those of all parts by the alphabet.
        zero_based: corners are edges from 0 on, see `box_of`.
        progress: told the XML files read so far and their number.

    Raises:
        BadInput: lists what is missing or faulty; nothing is written.
    """
    if not directory.is_dir():
        refuse("ikd data from-voc", "must be given a folder", str(directory))
    if classes is not None and (not all(classes) or len(set(classes)) < len(classes)):
        refuse("--classes", "must be names of classes, each once", ",".join(classes), "for example --classes cat,dog")
    parts, to = parts or usual_parts(directory), to or directory
    for name in parts:
        if (to / f"{name}.json").exists():
            there = to / f"{name}.json"
            rule = "must be a folder without the files to be written"
            refuse("--to", rule, str(there), "delete it, or name another folder")
    wanted = {name: [xml for place in places for xml in files_of(directory, place)] for name, places in parts.items()}
    reading = _read(directory, wanted, zero_based=zero_based, progress=progress)
    known = _classes(reading, classes)
    errors = [one for one in reading.found.problems if one.severity == "error"]
    if errors:
        raise DataError(listing(errors).removeprefix("error: "))
    to.mkdir(parents=True, exist_ok=True)
    made = {name: _write(to / f"{name}.json", reading, files, known) for name, files in wanted.items()}
    return VocImport(directory, made, known, tuple(reading.found.problems))


def _read(directory: Path, wanted: dict[str, list[Path]], *, zero_based: bool, progress: Notify | None) -> _Reading:
    reading = _Reading(directory, zero_based)
    total = sum(map(len, wanted.values()))
    done = 0
    for name, files in wanted.items():
        if twice := [one for one, before in zip(sorted(files)[1:], sorted(files), strict=False) if one == before]:
            raise DataError(f"{twice[0]}: must be in {name} once, but is there twice")
        for xml in files:
            try:
                reading.read(xml)
            except Fault as fault:
                reading.found.problems.append(fault.problem)
            done += 1
            if progress is not None and (done % STEP == 0 or done == total):
                progress(done, total)
    _check_pictures(reading)
    return reading


def _check_pictures(reading: _Reading) -> None:
    first: dict[str, Path] = {}
    for xml, entry in reading.entries.items():
        if (before := first.setdefault(entry["file_name"], xml)) != xml:
            rule = f"must be the picture of one XML file, {before} has it too"
            reading.found.problems.append(DataProblem(str(xml), "filename", entry["file_name"], rule))


def _classes(reading: _Reading, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes; a name that was not given is a fault."""
    names = {one.name for image in reading.images.values() for one in image.objects}
    if given is None:
        return VOC_CLASSES if names and names <= set(VOC_CLASSES) else tuple(sorted(names))
    for xml, image in reading.images.items():
        for one in image.objects:
            if one.name not in given:
                rule = f"must be one of --classes, {', '.join(given)}"
                reading.found.problems.append(DataProblem(str(xml), f"{one.field}.name", one.name, rule))
    return tuple(given)


def _write(file: Path, reading: _Reading, files: Sequence[Path], classes: tuple[str, ...]) -> PartImported:
    identity = {name: number for number, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, xml in enumerate(files, start=1):
        entry = reading.entries[xml]
        images.append({"id": number, **{key: entry[key] for key in ("file_name", "width", "height")}})
        for one, box in zip(reading.images[xml].objects, entry["boxes"], strict=True):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": identity[one.name],
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "ignore": one.difficult,
                    "difficult": one.difficult,
                    "truncated": one.truncated,
                }
            )
    categories = [{"id": number, "name": name} for name, number in identity.items()]
    write_text(file, json.dumps({"images": images, "annotations": objects, "categories": categories}))
    shown = len({one["image_id"] for one in objects})
    difficult = sum(one["difficult"] for one in objects)
    return PartImported(file, len(images), len(images) - shown, len(objects), difficult)
