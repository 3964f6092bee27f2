from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from ikd.data import categories, fingerprint
from ikd.errors import DataError

Copy = Callable[[str], Path]


def train_hash(directory: Path) -> str:
    return fingerprint(directory / "train.json", directory / "images")


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> str:
    path = directory / "train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return train_hash(directory)


def renumber_and_rename(directory: Path) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] += 1000
            name = f"x{image['file_name']}"
            (directory / "images" / image["file_name"]).rename(directory / "images" / name)
            image["file_name"] = name
        for category in content["categories"]:
            category["id"] *= 7
        for annotation in content["annotations"]:
            annotation["id"] += 5
            annotation["image_id"] += 1000
            annotation["category_id"] *= 7
            annotation["bbox"] = [int(value) for value in annotation["bbox"]]

    return change


def reorder(content: dict[str, Any]) -> None:
    for section in ("images", "annotations", "categories"):
        content[section] = [dict(reversed(entry.items())) for entry in reversed(content[section])]


def test_names_ids_and_order_do_not_matter(drawn: Path, copied: Copy) -> None:
    directory = copied("a")
    assert edit(directory, renumber_and_rename(directory)) == train_hash(drawn)
    assert edit(copied("b"), reorder) == train_hash(drawn)
    assert len(train_hash(drawn)) == 64


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "box": lambda content: content["annotations"][3]["bbox"].__setitem__(
        0, content["annotations"][3]["bbox"][0] + 0.01
    ),
    "class": lambda content: content["annotations"][3].update(
        category_id=1 + content["annotations"][3]["category_id"] % 4
    ),
    "class name": lambda content: content["categories"][0].update(name="other"),
    "crowd": lambda content: content["annotations"][3].update(iscrowd=1),
    "area": lambda content: content["annotations"][3].update(area=1.0),
    "mask": lambda content: content["annotations"][3]["segmentation"][0].extend([1.0, 1.0]),
    "size": lambda content: content["images"][0].update(width=161),
    "one box less": lambda content: content["annotations"].pop(),
    "one image less": lambda content: content["images"].pop(9),  # it is empty
    "one class more": lambda content: content["categories"].append({"id": 9, "name": "unused"}),
    "images swapped": lambda content: [
        image.update(file_name=other["file_name"])
        for image, other in zip(content["images"][:2], [dict(item) for item in content["images"][1::-1]], strict=True)
    ],
}


@pytest.mark.parametrize("name", CHANGES)
def test_content_matters(name: str, drawn: Path, copied: Copy) -> None:
    assert edit(copied("c"), CHANGES[name]) != train_hash(drawn)


def test_a_pixel_matters(drawn: Path, copied: Copy) -> None:
    directory = copied("p")
    path = str(directory / "images" / "train_00003.png")
    image = cv2.imread(path)
    assert image is not None
    image[5, 5, 0] ^= 1
    cv2.imwrite(path, image)
    assert train_hash(directory) != train_hash(drawn)


def test_a_missing_image_or_key_is_refused(copied: Copy) -> None:
    directory = copied("m")
    (directory / "images" / "train_00003.png").unlink()
    with pytest.raises(DataError, match=r"train_00003\.png.*must be readable|must be readable.*train_00003\.png"):
        train_hash(directory)
    with pytest.raises(DataError, match=r"must be complete.*category_id"):
        edit(copied("k"), lambda content: content["annotations"][0].pop("category_id"))


def test_categories_in_the_order_of_the_file(copied: Copy) -> None:
    directory = copied("o")
    edit(directory, lambda content: content["categories"].reverse())
    assert categories(directory / "train.json") == ("ring", "triangle", "square", "disc")
    with pytest.raises(DataError, match=r"nowhere\.json.*must exist"):
        categories(directory / "nowhere.json")
