"""Parts of a data set that have nothing in common, and a check that says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ikd.config import load_recipe
from ikd.data import DataFiles, check_dataset, check_recipe_data, parse_shares, split_dataset
from ikd.errors import BadInput

FILMS = 4
SINGLES = 12


def write_set(folder: Path, names: list[str], pictures: list[Any], file: str = "all.json") -> Path:
    """Write pictures with a box of one of two classes each, in turn."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}]}
    content |= {"images": [], "annotations": [], "info": {"kept": True}}
    for number, (name, picture) in enumerate(zip(names, pictures, strict=True), 1):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / name), picture)
        content["images"].append({"id": number, "file_name": name, "width": 64, "height": 64})
        box = {"id": number, "image_id": number, "bbox": [8, 8, 40, 40], "area": 1600, "iscrowd": 0}
        content["annotations"].append(box | {"category_id": 3 if number % 2 else 7})
    (folder / file).write_text(json.dumps(content))
    return folder


def picture(seed: int) -> Any:
    rough = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(rough, (64, 64), interpolation=cv2.INTER_NEAREST)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Films whose frames show nothing in common, and single pictures of which two look alike."""
    names = [f"dive{film}_f{frame:03}.png" for film in range(FILMS) for frame in range(3)]
    names += [f"single-{chr(97 + number)}.png" for number in range(SINGLES)]
    pictures = [picture(number) for number in range(len(names))]
    pictures[-1] = cv2.add(pictures[-2], 3)
    return write_set(tmp_path / "set", names, pictures)


def names_of(file: Path) -> set[str]:
    return {one["file_name"] for one in json.loads(file.read_text())["images"]}


def test_films_and_pictures_alike_stay_together(films: Path, tmp_path: Path) -> None:
    for seed in range(5):
        to = tmp_path / f"parts{seed}"
        made = split_dataset(films, to, annotations="all.json", shares=(0.5, 0.25, 0.25), seed=seed)
        parts = [names_of(one.file) for one in made.parts]
        assert set.union(*parts) == names_of(films / "all.json")
        assert sum(map(len, parts)) == 3 * FILMS + SINGLES
        for together in (*[[f"dive{film}_f{k:03}.png" for k in range(3)] for film in range(FILMS)],
                         [f"single-{chr(96 + SINGLES)}.png", f"single-{chr(95 + SINGLES)}.png"]):  # fmt: skip
            assert sum(set(together) <= part for part in parts) == 1
        assert all(min(one.boxes.values()) > 0 for one in made.parts), "each class is in each part"
        assert [one.images for one in made.parts] == [len(part) for part in parts]


def test_the_seed_decides_and_nothing_else(films: Path, tmp_path: Path) -> None:
    made = [
        split_dataset(films, tmp_path / f"p{n}", annotations="all.json", seed=seed) for n, seed in enumerate((0, 0, 1))
    ]
    texts = [[one.file.read_bytes() for one in each.parts] for each in made]
    assert texts[0] == texts[1] != texts[2]
    assert json.loads(texts[0][0])["info"] == {"kept": True}


def test_the_numbering_of_a_camera_makes_no_film(tmp_path: Path) -> None:
    names = [f"IMG_{number:04}.png" for number in range(20)]
    folder = write_set(tmp_path / "set", names, [picture(number) for number in range(20)])
    made = split_dataset(folder, tmp_path / "parts", annotations="all.json")
    assert sum(one.groups for one in made.parts) == 20


def test_a_person_may_say_what_is_a_film(tmp_path: Path) -> None:
    names = [f"IMG_{number:04}.png" for number in range(40)]
    folder = write_set(tmp_path / "set", names, [picture(number) for number in range(40)])
    made = split_dataset(folder, tmp_path / "parts", annotations="all.json", group=r"IMG_\d{3}")
    assert sum(one.groups for one in made.parts) == 4
    tens = [{name[:7] for name in names_of(one.file)} for one in made.parts]
    assert sum(map(len, tens)) == 4


def test_a_camera_that_stands_still_is_divided_all_the_same(tmp_path: Path) -> None:
    """Everything looks alike there at the first bound."""
    still, rng = picture(0).astype(np.int16), np.random.default_rng(1)
    pictures = [
        np.clip(still + cv2.resize(rng.normal(0, 30, (16, 16, 3)), (64, 64), interpolation=cv2.INTER_NEAREST), 0, 255)
        for _ in range(20)
    ]
    folder = write_set(tmp_path / "set", [f"{chr(97 + n)}.png" for n in range(20)], pictures)
    assert len(split_dataset(folder, tmp_path / "parts", annotations="all.json").parts) == 3


def test_altered_copies_of_one_source_stay_together(tmp_path: Path) -> None:
    names = [f"shot-{chr(97 + n)}_jpg.rf.{k}0123456789abcdef.png" for n in range(8) for k in range(3)]
    folder = write_set(tmp_path / "set", names, [picture(number) for number in range(24)])
    made = split_dataset(folder, tmp_path / "parts", annotations="all.json")
    assert sum(one.groups for one in made.parts) == 8


def test_val_gives_a_test_part_and_train_stays(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("set")
    before = (folder / "train.json").read_bytes()
    made = split_dataset(folder, folder / "parts")
    assert (folder / "train.json").read_bytes() == before
    assert [one.name for one in made.parts] == ["val", "test"]
    parts = [names_of(one.file) for one in made.parts]
    assert parts[0] | parts[1] == names_of(folder / "val.json")
    assert not parts[0] & parts[1]
    report = check_dataset(folder, val="parts/val.json", test="parts/test.json")
    assert report.ok, str(report)
    assert list(report.splits) == ["train", "val", "test"]
    assert "test: {annotations: parts/test.json, images: images}" in str(made)


def test_what_looks_like_train_stays_in_val(copied: Callable[[str], Path]) -> None:
    folder = copied("set")
    train, val = (sorted(names_of(folder / f"{part}.json")) for part in ("train", "val"))
    for one, other in zip(train[:4], val[:4], strict=True):
        shutil.copy(folder / "images" / one, folder / "images" / other)
    made = split_dataset(folder, folder / "parts")
    assert set(val[:4]) <= names_of(made.parts[0].file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": "no.json"}, "no.json"),
        ({"shares": (0.5, 0.5), "annotations": "train.json"}, "--shares: must be 3 numbers, of train, val, test"),
        ({"group": "("}, "--group: must be a regular expression"),
        ({"group": "."}, "must have groups of images for each part, and there is none left for test"),
        ({"images": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    changes: dict[str, Any], said: str, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r".") as caught:
        split_dataset(copied("set"), tmp_path / "parts", **changes)
    assert said in str(caught.value)
    assert not (tmp_path / "parts").exists()


def test_nothing_is_overwritten(copied: Callable[[str], Path]) -> None:
    folder = copied("set")
    before = (folder / "val.json").read_bytes()
    with pytest.raises(BadInput, match="--to: must be a folder without the files to be written"):
        split_dataset(folder, folder)
    assert (folder / "val.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "1,0", "0.5,0.6", "a,b", "nan,1"])
def test_shares_add_up_to_one(text: str) -> None:
    assert parse_shares("0.7,0.15,0.15") == (0.7, 0.15, 0.15)
    with pytest.raises(BadInput, match="--shares: must be numbers above 0 that add up to 1"):
        parse_shares(text)


def test_a_test_part_that_overlaps_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("set")
    split_dataset(folder, folder / "parts")
    for other in ("train", "val"):
        (error,) = check_dataset(
            folder, val="parts/val.json", test=f"{other}.json" if other == "train" else "val.json"
        ).errors[:1]
        assert error.field == "images"
        assert "must not be images of" in error.rule
        assert "ikd data split" in error.rule
    seen = json.loads((folder / "parts" / "test.json").read_text())["images"][0]["file_name"]
    taught = json.loads((folder / "train.json").read_text())["images"][0]["file_name"]
    pixels = cv2.imread(str(folder / "images" / taught))
    assert pixels is not None
    cv2.imwrite(str(folder / "images" / seen), cv2.add(pixels, 2))
    report = check_dataset(folder, val="parts/val.json", test="parts/test.json")
    assert any("must not look like images of train.json" in one.rule for one in report.errors)


def test_a_recipe_has_a_test_part_and_the_fingerprint_that_it_had(copied: Callable[[str], Path]) -> None:
    folder = copied("set")
    split_dataset(folder, folder / "parts")
    values: dict[str, Any] = {"data.root": str(folder), "data.val.annotations": "parts/val.json"}
    without = load_recipe("drawn_r18", values)
    recipe = load_recipe("drawn_r18", values | {"data.test": {"annotations": "parts/test.json"}})
    assert recipe.fingerprint() == without.fingerprint()
    assert DataFiles.of(recipe).fingerprint() == DataFiles.of(without).fingerprint()
    assert DataFiles.of(recipe).test == folder / "parts" / "test.json"
    assert check_recipe_data(recipe).ok
    assert check_recipe_data(recipe).fingerprint == check_recipe_data(without).fingerprint
    wrong = load_recipe("drawn_r18", values | {"data.test": {"annotations": "val.json"}})
    assert not check_recipe_data(wrong).ok
    gone = load_recipe("drawn_r18", values | {"data.test": {"annotations": "gone.json"}})
    with pytest.raises(BadInput, match=r"data\.test\.annotations: must be a COCO json file"):
        DataFiles.of(gone)
