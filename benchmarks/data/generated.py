"""A data set of COCO's size, drawn at random: as many images, boxes and points as train2017 and val2017 have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZES = ((160, 120), (120, 160), (160, 107), (107, 160), (160, 160), (125, 94))
"""(width, height) of the images, px: a quarter of COCO's sides, so that they are made and decoded in minutes."""
CLASSES = 80
EMPTY_SHARE = 1021 / 118287
CROWD_SHARE = 0.0117
MOST_POINTS = 50
PATCHES = 6
"""Side of the random patches, enlarged, that an image shows: no two are alike, and each takes 2 kB."""


@dataclass(frozen=True)
class Size:
    """How much one part holds."""

    images: int
    boxes: int


FULL = {"train": Size(118287, 860001), "val": Size(5000, 36781)}
QUICK = {"train": Size(600, 4400), "val": Size(60, 440)}


def generate(folder: Path, sizes: dict[str, Size]) -> None:
    """Write train.json, val.json and images/; a folder that has them is left as it is.

    The order of annotations is drawn, so those of an image lie apart, as in COCO's own files.
    """
    for number, (part, size) in enumerate(sizes.items()):
        if (folder / f"{part}.json").is_file():
            continue
        random = np.random.default_rng(number)
        ids = random.choice(600_000, size.images, replace=False) + 1_000_000 * number + 1
        shapes = [SIZES[kind] for kind in random.integers(len(SIZES), size=size.images)]
        _draw_images(folder / "images", ids, shapes, random)
        with (folder / f"{part}.json.part").open("w", encoding="ascii") as file:
            file.write('{"info": {"description": "drawn at random"}, "licenses": [], "images": ')
            _write_list(file, _images(ids, shapes))
            file.write(', "annotations": ')
            _write_list(file, _annotations(ids, shapes, size.boxes, random))
            names = [{"supercategory": "thing", "id": 2 * one + 1, "name": f"class {one}"} for one in range(CLASSES)]
            file.write(f', "categories": {json.dumps(names)}}}')
        (folder / f"{part}.json.part").rename(folder / f"{part}.json")


def _write_list(file: Any, entries: Iterator[dict[str, Any]]) -> None:
    for number, entry in enumerate(entries):
        file.write("[" if number == 0 else ", ")
        file.write(json.dumps(entry))
    file.write("]")


def _draw_images(
    folder: Path, ids: NDArray[np.int64], shapes: list[tuple[int, int]], random: np.random.Generator
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image, shape in zip(ids, shapes, strict=True):
        patches = random.integers(256, size=(PATCHES, PATCHES, 3), dtype=np.uint8)
        _, jpeg = cv2.imencode(".jpg", cv2.resize(patches, shape), [cv2.IMWRITE_JPEG_QUALITY, 60])
        (folder / f"{image:012d}.jpg").write_bytes(jpeg.tobytes())


def _images(ids: NDArray[np.int64], shapes: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for image, (width, height) in zip(ids.tolist(), shapes, strict=True):
        place = {"license": 3, "file_name": f"{image:012d}.jpg", "coco_url": f"http://images.invalid/{image:012d}.jpg"}
        yield {**place, "height": height, "width": width, "date_captured": "2013-11-14 17:02:52", "id": image}


def _annotations(
    ids: NDArray[np.int64], shapes: list[tuple[int, int]], boxes: int, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    filled = np.arange(round(EMPTY_SHARE * len(ids)), len(ids))
    weights = random.gamma(1.2, size=len(filled))
    others = random.choice(filled, size=boxes - len(filled), p=weights / weights.sum())
    owners = random.permutation(np.concatenate([filled, others]))
    numbers = random.permutation(3 * boxes)[:boxes] + 1
    labels = 2 * np.minimum(random.geometric(0.06, size=boxes), CLASSES) - 1
    sides = np.exp(random.normal(2.8, 0.9, size=(boxes, 2)))
    crowds = random.random(boxes) < CROWD_SHARE
    points = np.minimum(random.gamma(2.4, 11, size=boxes).astype(int) + 4, MOST_POINTS)
    for place, owner in enumerate(owners):
        shape = np.array(shapes[owner])
        side = np.clip(sides[place], 1, 0.95 * shape)
        corner = random.random(2) * (shape - side)
        around = _runs(shape, random) if crowds[place] else _outline(corner, side, int(points[place]), random)
        yield {
            "segmentation": around,
            "area": round(float(side.prod() * 0.6), 4),
            "iscrowd": int(crowds[place]),
            "image_id": int(ids[owner]),
            "bbox": [round(float(value), 2) for value in (*corner, *side)],
            "category_id": int(labels[place]),
            "id": int(numbers[place]),
        }


def _outline(
    corner: NDArray[np.float64], side: NDArray[np.float64], count: int, random: np.random.Generator
) -> list[list[float]]:
    """Return one polygon around the middle of a box, px."""
    angles = np.sort(random.random(count)) * 2 * np.pi
    radius = 0.35 + 0.15 * random.random(count)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] + 0.5
    return [(corner + around * side).round(2).reshape(-1).tolist()]


def _runs(shape: NDArray[np.int64], random: np.random.Generator) -> dict[str, Any]:
    """Return a crowd's mask as uncompressed run lengths."""
    pixels = int(shape.prod())
    ends = np.sort(random.choice(pixels - 1, size=200, replace=False)) + 1
    return {"counts": np.diff(ends, prepend=0, append=pixels).tolist(), "size": [int(shape[1]), int(shape[0])]}
