"""Small data sets in VOC's form: a devkit, and what other tools write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48
Corners = tuple[float, float, float, float]
Object = tuple[str, Corners, int]
"""Class, corners as VOC writes them, difficult."""


def xml_of(picture: str, objects: Iterable[Object], size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> str:
    """Return what VOC says of a picture, with parts, flags and texts that nobody asks for."""
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    texts = [
        f"<object><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
        f"</part><name>{name}</name><pose>Unspecified</pose><truncated>1</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><ymin>{y1}</ymin><xmin>{x1}</xmin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    ]
    head = f"<folder>VOC</folder><filename>{picture}</filename><source><database>drawn</database></source>"
    return f"<annotation>{head}{sides}<segmented>0</segmented>{''.join(texts)}</annotation>"


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(rough, size, interpolation=cv2.INTER_NEAREST))


def write_year(folder: Path, lists: dict[str, dict[str, list[Object]]]) -> Path:
    """Write one year of a devkit: its lists of images, and the objects of each."""
    for place in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name, images in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{one}\n" for one in images))
        for number, (image, objects) in enumerate(images.items()):
            write_picture(folder / "JPEGImages" / f"{image}.jpg", number)
            (folder / "Annotations" / f"{image}.xml").write_text(xml_of(f"{image}.jpg", objects))
    return folder


def write_flat(folder: Path, images: dict[str, list[Object]], ending: str = ".jpg") -> Path:
    """Write XML files beside their pictures, as labelImg and Roboflow do."""
    for number, (image, objects) in enumerate(images.items()):
        write_picture(folder / f"{image}{ending}", number)
        (folder / f"{image}.xml").write_text(xml_of(f"{image}{ending}", objects))
    return folder


def as_devkit(drawn: Path, folder: Path) -> Path:
    """Return a drawn data set as a devkit: training images in turn of 2007 and 2012, every seventh object difficult."""
    for part, years in (("train", ("VOC2007", "VOC2012")), ("val", ("VOC2007",))):
        content = json.loads((drawn / f"{part}.json").read_text())
        names = {one["id"]: one["name"] for one in content["categories"]}
        objects: dict[int, list[Object]] = {one["id"]: [] for one in content["images"]}
        for number, one in enumerate(content["annotations"]):
            x, y, width, height = one["bbox"]
            corners = (x + 1, y + 1, x + width, y + height)
            objects[one["image_id"]].append((names[one["category_id"]], corners, int(number % 7 == 6)))
        for place, year in enumerate(years):
            own = content["images"][place :: len(years)]
            list_name = "trainval" if part == "train" else "test"
            _write_drawn(drawn, folder / year, list_name, own, objects)
    return folder


def _write_drawn(
    drawn: Path, year: Path, name: str, images: list[dict[str, Any]], objects: dict[int, list[Object]]
) -> None:
    for place in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (year / place).mkdir(parents=True, exist_ok=True)
    for one in images:
        stem = Path(one["file_name"]).stem
        shutil.copy(drawn / "images" / one["file_name"], year / "JPEGImages" / one["file_name"])
        text = xml_of(one["file_name"], objects[one["id"]], (one["width"], one["height"]))
        (year / "Annotations" / f"{stem}.xml").write_text(text)
    lines = "".join(f"{Path(one['file_name']).stem}\n" for one in images)
    (year / "ImageSets" / "Main" / f"{name}.txt").write_text(lines)
