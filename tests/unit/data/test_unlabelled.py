"""Photographs without labels: which are taken, what is refused, and what they are known by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ikd.config import Recipe, load_recipe
from ikd.data import DataFiles, check_recipe_data, draw_dataset, said_of_data
from ikd.errors import BadInput, ConfigError, DataError

Copy = Callable[[str], Path]
NONE: Mapping[str, object] = {}


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are in no part of the drawn data set."""
    return draw_dataset(tmp_path_factory.mktemp("others") / "drawn", num_train=10, num_val=10, seed=7) / "images"


@pytest.fixture
def shown(copied: Copy, others: Path) -> Path:
    """A data set with a folder of photographs inside."""
    root = copied("set")
    shutil.copytree(others, root / "more")
    return root


def recipe_of(root: Path, folder: str = "more", values: Mapping[str, object] = NONE) -> Recipe:
    given = {"data.root": str(root), "data.unlabeled": folder, "distill.labels.enabled": True}
    return load_recipe("drawn_r18", {**given, **values})


def refused(root: Path, folder: str = "more") -> str:
    with pytest.raises((BadInput, DataError)) as caught:
        check_recipe_data(recipe_of(root, folder)).raise_for_errors()
    return str(caught.value)


def test_they_lie_inside_the_data_set_or_anywhere(shown: Path, others: Path) -> None:
    inside = DataFiles.of(recipe_of(shown)).photographs
    anywhere = DataFiles.of(recipe_of(shown, str(others))).photographs
    assert inside is not None
    assert anywhere is not None
    assert len(inside) == 20
    assert inside.digests == anywhere.digests
    assert check_recipe_data(recipe_of(shown)).ok


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({"input.scale": [96, 96]}, "96 x 96"),
        ({"input.scale": [256, 256], "input.multi_scale": {"enabled": True, "ratio": [0.4, 2.0]}}, "102 x 102"),
    ],
)
def test_a_picture_of_which_nothing_is_left_is_refused(shown: Path, values: dict[str, object], scale: str) -> None:
    cv2.imwrite(str(shown / "more" / "strip.png"), np.full((400, 1, 3), 90, np.uint8))
    assert check_recipe_data(recipe_of(shown, values={"input.scale": [256, 256]})).ok
    with pytest.raises(DataError, match=rf"data\.unlabeled: must be .* {scale} .* 1 x 400 px nothing .*'strip\.png'"):
        check_recipe_data(recipe_of(shown, values=values)).raise_for_errors()


def test_a_person_is_told_that_photographs_are_not_looked_at(shown: Path) -> None:
    assert not [line for line in said_of_data(recipe_of(shown)) if "unlabeled" in line]
    said = said_of_data(recipe_of(shown, values={"distill.labels.enabled": False}))
    assert said[-1].endswith("data.unlabeled is not looked at: distill.labels.enabled, which shows it, is false")


def test_an_orientation_tag_says_nothing_of_boxes_that_are_not_there(shown: Path) -> None:
    picture = Image.open(next((shown / "more").glob("*.png"))).convert("RGB").crop((0, 0, 90, 90))
    tagged = picture.getexif()
    tagged[0x0112] = 6
    picture.save(shown / "more" / "turned.jpg", exif=tagged)
    assert not [one for one in check_recipe_data(recipe_of(shown)).problems if "turned.jpg" in str(one.value)]


def test_names_folders_and_copies_do_not_matter(shown: Path) -> None:
    before = DataFiles.of(recipe_of(shown)).record()
    files = sorted((shown / "more").glob("*.png"))
    (shown / "more" / "deep").mkdir()
    files[0].rename(shown / "more" / "deep" / "renamed.PNG")
    shutil.copy(files[1], shown / "more" / "twice.png")
    (shown / "more" / "notes.txt").write_text("no photograph")
    (shown / "more" / ".hidden.png").write_bytes(b"nor this")
    now = DataFiles.of(recipe_of(shown)).record()
    assert now == before
    files[2].unlink()
    changed = DataFiles.of(recipe_of(shown)).record()
    assert changed.fingerprint != before.fingerprint
    assert changed.labelled == before.labelled
    assert changed.changes_since(before) == [
        "the unlabelled part had 20 images with 0 boxes, and has 19 images with 0 boxes"
    ]
    assert type(before).of(json.loads(json.dumps(before.as_dict()))) == before


def test_they_are_no_part_of_a_training_that_shows_none(shown: Path) -> None:
    plain = load_recipe("drawn_r18", {"data.root": str(shown)})
    off = recipe_of(shown, values={"distill.labels.enabled": False})
    assert off.fingerprint() == plain.fingerprint() != recipe_of(shown).fingerprint()
    assert DataFiles.of(off).photographs is None
    assert DataFiles.of(off).record() == DataFiles.of(plain).record()
    assert DataFiles.of(recipe_of(shown).student_alone()).photographs is None


def test_a_folder_that_is_not_there(shown: Path) -> None:
    said = refused(shown, "absent")
    assert "recipe drawn_r18: data.unlabeled: must be a folder of photographs, but " in said
    assert str(shown / "absent") in said


@pytest.mark.parametrize("name", ["", "notes.txt", ".hidden.png"])
def test_a_folder_without_photographs(shown: Path, name: str) -> None:
    (shown / "empty").mkdir()
    if name:
        (shown / "empty" / name).write_bytes(b"something")
    said = refused(shown, "empty")
    assert "data.unlabeled: must hold photographs (" in said
    assert ".jpg" in said


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "cut short"])
def test_a_picture_that_cannot_be_read(shown: Path, content: bytes | None) -> None:
    file = sorted((shown / "more").glob("*.png"))[3]
    file.write_bytes(file.read_bytes()[:2000] if content is None else content)
    said = refused(shown)
    assert f"{shown / 'more'}: data.unlabeled: " in said
    assert file.name in said


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_picture_of_another_part_whatever_its_name(shown: Path, part: str) -> None:
    known = json.loads((shown / f"{'val' if part == 'val' else 'train'}.json").read_text())
    values: dict[str, object] = {}
    if part == "test":  # a few images of the training part, taken out of it
        kept = {**known, "images": known["images"][5:]}
        kept["annotations"] = [
            one for one in known["annotations"] if one["image_id"] in {image["id"] for image in kept["images"]}
        ]
        tested = {**known, "images": known["images"][:5]}
        tested["annotations"] = [
            one for one in known["annotations"] if one["image_id"] in {image["id"] for image in tested["images"]}
        ]
        (shown / "train.json").write_text(json.dumps(kept))
        (shown / "test.json").write_text(json.dumps(tested))
        values = {"data.test": {"annotations": "test.json"}}
    shutil.copy(shown / "images" / known["images"][0]["file_name"], shown / "more" / "innocent.png")
    with pytest.raises(DataError) as caught:
        check_recipe_data(recipe_of(shown, values=values)).raise_for_errors()
    said = str(caught.value)
    assert f"{shown / 'more'}: data.unlabeled: must not be images of {part}.json: 1 are in both" in said
    assert "innocent.png" in said
    assert "Move them out of the folder" in said


def test_a_picture_that_looks_like_one_of_validation_is_told(shown: Path) -> None:
    known = json.loads((shown / "val.json").read_text())["images"][1]["file_name"]
    image = cv2.imread(str(shown / "images" / known))
    assert image is not None
    cv2.imwrite(str(shown / "more" / "again.jpg"), np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8))
    report = check_recipe_data(recipe_of(shown))
    assert report.ok
    told = [str(one) for one in report.problems if "should not look like images of val.json" in str(one)]
    assert len(told) == 1
    assert "again.jpg" in told[0]


def test_it_is_checked_again_when_a_picture_comes(shown: Path) -> None:
    assert check_recipe_data(recipe_of(shown)).ok
    known = json.loads((shown / "val.json").read_text())["images"][0]["file_name"]
    shutil.copy(shown / "images" / known, shown / "more" / "late.png")
    assert not check_recipe_data(recipe_of(shown)).ok


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"data.root": "ikd::drawn", "data.unlabeled": "more"}, r"data\.unlabeled: must be ikd::drawn or an absolute"),
        ({"distill.labels.enabled": True}, r"distill\.labels\.enabled: needs photographs without labels \(data\.unl"),
        (
            {"distill.labels.threshold": 0.4, "distill.labels.ignore": 0.4},
            r"ignore: must be below distill\.labels\.thr",
        ),
        ({"distill.labels.threshold": 1.5}, r"distill\.labels\.threshold"),
        ({"distill.labels.ratio": 0}, r"distill\.labels\.ratio"),
        (
            {"distill.labels.weight": 0, "distill.host": "none", "adversarial.enabled": False},
            r"weight: must be above 0",
        ),
        ({"teachers.sequence": []}, r"distill\.labels\.enabled: needs a teacher"),
    ],
)
def test_settings_that_do_not_go_together(shown: Path, values: dict[str, object], rule: str) -> None:
    base = {"data.root": str(shown), "distill.labels.enabled": True, "augment.enabled": False}
    if values != {"distill.labels.enabled": True}:
        base["data.unlabeled"] = "more"
    with pytest.raises(ConfigError, match=rule):
        load_recipe("drawn_r18", base | values)
