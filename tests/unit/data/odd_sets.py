"""COCO files of every kind that people bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Content = dict[str, Any]

TRIANGLE = [[1.0, 1.0, 9.0, 1.0, 5.0, 9.0]]
RUNS = {"counts": [0, 10, 3990], "size": [80, 50]}


def plain() -> Content:
    """Three images of two classes; the annotations of an image lie apart, ids have gaps and an order of their own."""
    sizes = {30: (80, 60), 10: (50, 80), 20: (64, 64)}
    images = [{"id": one, "file_name": f"{one}.png", "width": w, "height": h} for one, (w, h) in sizes.items()]
    owners = [(10, 9), (30, 4), (10, 4), (30, 9), (10, 9)]
    boxes = [
        {
            "id": 7 - number,
            "image_id": image,
            "category_id": category,
            "bbox": [number, 2.5, 10 + number, 20.25],
            "area": 10.5 * (number + 1),
            "iscrowd": 0,
            "segmentation": TRIANGLE,
        }
        for number, (image, category) in enumerate(owners)
    ]
    return {"images": images, "annotations": boxes, "categories": [{"id": 9, "name": "b"}, {"id": 4, "name": "a"}]}


def with_annotation(number: int, **values: Any) -> Content:
    content = plain()
    content["annotations"][number] |= values
    return content


def without(key: str, section: str = "annotations") -> Content:
    content = plain()
    for one in content[section]:
        del one[key]
    return content


SETS = {
    "plain": plain(),
    "ignored": with_annotation(1, ignore=1),
    "ignored as false": with_annotation(1, ignore=False),
    "crowd of runs": with_annotation(0, iscrowd=1, segmentation=RUNS),
    "compressed runs": with_annotation(0, segmentation={"counts": "0:n0", "size": [80, 50]}),
    "no segmentation": without("segmentation"),
    "empty segmentation": with_annotation(2, segmentation=[]),
    "outside": with_annotation(0, bbox=[500, 2, 10, 10]),
    "half outside": with_annotation(0, bbox=[-5, -5.5, 20, 20]),
    "below a pixel": with_annotation(0, bbox=[1, 1, 0.5, 20]),
    "outside by less than a float can say": with_annotation(0, bbox=[50 - 1e-15, 1, 1, 1]),
    "negative": with_annotation(0, bbox=[10, 10, -5, 5]),
    "no area": with_annotation(0, area=0),
    "whole numbers": with_annotation(0, bbox=[1, 2, 30, 40], area=1200),
    "one image all ignored": {**plain(), "annotations": [{**one, "ignore": 1} for one in plain()["annotations"][:3]]},
    "no boxes": {**plain(), "annotations": []},
    "more than is asked for": {
        "info": {"a": [1, {"b": None}]},
        "licenses": [{"id": 1}],
        **with_annotation(0, keypoints=[1, 2], note="Übung"),
        "type": "instances",
    },
}
"""Those that mmdet and ikd both read as they stand."""


def write(folder: Path, content: Content, name: str = "train.json", **options: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(content, **options), encoding="utf-8")
    return path
