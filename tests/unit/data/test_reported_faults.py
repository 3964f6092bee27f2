"""Faults that people report of COCO exports, in the smallest form, each with what is said of it."""

from __future__ import annotations

import gzip
import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ikd.config import load_recipe
from ikd.data import DataReport, check_dataset, check_recipe_data

Copy = Callable[[str], Path]
Content = dict[str, Any]


def each(section: str, change: Callable[[Content], object]) -> Callable[[Content], None]:
    def do(content: Content) -> None:
        for entry in content[section]:
            change(entry)

    return do


def both(directory: Path, change: Callable[[Content], object]) -> Path:
    for split in ("train", "val"):
        path = directory / f"{split}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return directory


def told(report: DataReport, field: str, word: str, split: str = "train") -> list[str]:
    """Return the severities of what is said of a field with a word."""
    ours = [one for one in report.problems if one.file.endswith(f"{split}.json")]
    return [one.severity for one in ours if one.field == field and word in one.rule]


def as_corners(annotation: Content) -> None:
    x, y, width, height = annotation["bbox"]
    annotation["bbox"] = [x, y, x + width, y + height]


def as_shares(annotation: Content) -> None:
    annotation["bbox"] = [value / 160 for value in annotation["bbox"]]


def as_centres(annotation: Content) -> None:
    x, y, width, height = annotation["bbox"]
    annotation["bbox"] = [x + width / 2, y + height / 2, width, height]


def dummy(content: Content) -> None:
    for one in content["categories"]:
        one["supercategory"] = "shapes"
    content["categories"].insert(0, {"id": 0, "name": "shapes", "supercategory": "none"})


# change of both files -> severity, field of train.json, part of the rule
REPORTED: dict[str, tuple[Callable[[Content], object], str, str, str]] = {
    "iscrowd everywhere": (
        each("annotations", lambda one: one.update(iscrowd=1)),
        *("error", "annotations[0].iscrowd", "nothing can be taught"),
    ),
    "ignore everywhere": (
        each("annotations", lambda one: one.update(ignore=1)),
        *("error", "annotations[0].ignore", "nothing can be taught"),
    ),
    "iscrowd as text": (
        each("annotations", lambda one: one.update(iscrowd="0")),
        *("error", "annotations[0].iscrowd", "0 or 1"),
    ),
    "corners": (each("annotations", as_corners), "error", "annotations[0].bbox", "as two corners"),
    "shares": (each("annotations", as_shares), "error", "annotations[0].bbox", "shares of the image"),
    "centres": (each("annotations", as_centres), "error", "annotations[0].bbox", "with x, y as the centre"),
    "turned boxes": (
        lambda content: content["annotations"][3].update(attributes={"occluded": False, "rotation": 30.5}),
        *("warning", "annotations[3].rotation", "turned by 30.5 degrees"),
    ),
    "area 1": (each("annotations", lambda one: one.update(area=1)), "warning", "annotations[0].area", "same for all"),
    "area too big": (
        lambda content: content["annotations"][3].update(area=1e5),
        *("warning", "annotations[3].area", "width x height"),
    ),
    "two points": (
        lambda content: content["annotations"][3].update(segmentation=[[1, 2, 3, 4]]),
        *("warning", "annotations[3].segmentation", "the box is not taught"),
    ),
    "odd polygon": (
        lambda content: content["annotations"][3]["segmentation"].append([1, 2, 3, 4, 5, 6, 7]),
        *("warning", "annotations[3].segmentation", "1 of its parts"),
    ),
    "mask elsewhere": (
        lambda content: content["annotations"][3].update(segmentation=[[500, 500, 600, 500, 600, 600]]),
        *("warning", "annotations[3].segmentation", "inside its box"),
    ),
    "mask of no area": (
        lambda content: content["annotations"][3].update(segmentation=[[5, 5, 6, 6, 7, 7]]),
        *("warning", "annotations[3].segmentation", "enclose an area"),
    ),
    "RLE of another size": (
        lambda content: content["annotations"][3].update(segmentation={"size": [9, 9], "counts": [80, 1]}),
        *("warning", "annotations[3].segmentation", "[160, 160]"),
    ),
    "RLE that does not add up": (
        lambda content: content["annotations"][3].update(segmentation={"size": [160, 160], "counts": [80, 1]}),
        *("warning", "annotations[3].segmentation", "RLE of counts and size"),
    ),
    "supercategory as a class": (dummy, "warning", "categories[0].name", "is the supercategory of the others"),
    "names by case": (
        lambda content: content["categories"].append({"id": 9, "name": "DISC"}),
        *("warning", "categories[4].name", "differ by case"),
    ),
    "names by form": (
        lambda content: (
            content["categories"][0].update(name="caf\u00e9"),
            content["categories"].append({"id": 9, "name": "cafe\u0301"}),
        ),
        *("warning", "categories[4].name", "form of their letters"),
    ),
    "names by what is invisible": (
        lambda content: content["categories"].append({"id": 9, "name": "disc\u200b"}),
        *("warning", "categories[4].name", "differ by case"),
    ),
    "control characters": (
        lambda content: content["categories"][0].update(name="di\nsc"),
        *("warning", "categories[0].name", "no control character"),
    ),
    "half of a pair": (
        lambda content: content["categories"][0].update(name="\ud800"),
        *("error", "categories[0].name", "half of a pair"),
    ),
    "blanks": (
        lambda content: content["categories"][0].update(name="disc "),
        *("warning", "categories[0].name", "no blanks"),
    ),
    "backslashes": (
        lambda content: content["images"][0].update(file_name=f"images\\{content['images'][0]['file_name']}"),
        *("error", "images[0].file_name", "write / for \\"),
    ),
    "text against number": (
        each("annotations", lambda one: one.update(image_id=str(one["image_id"]))),
        *("error", "annotations[0].image_id", "id of an image"),
    ),
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_reported_fault_is_told(copied: Copy, name: str) -> None:
    change, severity, field, word = REPORTED[name]
    report = check_dataset(both(copied("c"), change))
    assert told(report, field, word) == [severity], str(report)
    assert report.ok == (severity == "warning")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (gzip.compress, "this one is packed: unpack it"),
        (lambda text: text.decode().encode("utf-16"), "this one is UTF-16"),
        (lambda text: text[:-1] + b', "images": []}', "the key 'images' comes twice"),
    ],
)
def test_a_file_in_another_form_is_named(copied: Copy, spoil: Callable[[bytes], bytes], word: str) -> None:
    directory = copied("c")
    path = directory / "train.json"
    path.write_bytes(spoil(path.read_text().strip().encode()))
    [problem] = check_dataset(directory).problems
    assert word in str(problem)
    assert str(problem).count(str(path)) == 1


@pytest.mark.parametrize("written", ['"bbox": [1, 1, 5, 5], "bbox":', '"image_id": 2, "image_id" :'])
def test_a_key_that_comes_twice_is_refused(copied: Copy, written: str) -> None:
    directory = copied("c")
    path = directory / "train.json"
    key = written.split('"')[-2]
    path.write_text(path.read_text().replace(f'"{key}":', written, 1))
    report = check_dataset(directory)
    assert not report.ok
    assert [one.value for one in report.problems if one.field == "annotations[0]"] == [key]


def test_boxes_in_hundredths_are_told(copied: Copy) -> None:
    """Tools that label in a browser keep them so."""
    directory = copied("c")
    for path in (directory / "images").glob("train*.png"):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        cv2.imwrite(str(path), cv2.resize(pixels, (640, 480)))
    for hundredths in (False, True):
        content = json.loads((directory / "train.json").read_text())
        for image in content["images"]:
            image.update(width=640, height=480)
        for one in content["annotations"]:
            del one["segmentation"], one["area"]
            x, y, width, height = (value / 160 for value in one["bbox"])
            across, down = (100, 100) if hundredths else (640, 480)
            one["bbox"] = [x * across, y * down, width * across, height * down]
        spoilt = json.dumps(content)
        kept = (directory / "train.json").read_text()
        (directory / "train.json").write_text(spoilt)
        assert told(check_dataset(directory), "annotations[0].bbox", "hundredths") == ["warning"] * hundredths
        (directory / "train.json").write_text(kept)


FINE: dict[str, Callable[[Content], object]] = {
    "no iscrowd": each("annotations", lambda one: one.pop("iscrowd", None)),
    "no area": each("annotations", lambda one: one.pop("area")),
    "lists as supercategories": each("categories", lambda one: one.update(supercategory=["shapes"])),
    "boxes turned by nothing": each("annotations", lambda one: one.update(rotation=0, attributes={"rotation": 0.0})),
    "a colon in a text": each("annotations", lambda one: one.update(note="bbox: 1, bbox: 2")),
    "no ids": each("annotations", lambda one: one.pop("id")),
    "sizes as 160.0": each("images", lambda one: one.update(width=160.0, height=160.0)),
    "texts as ids": lambda content: [
        *(one.update(id=f"i{one['id']}") for one in content["images"]),
        *(one.update(id=f"c{one['id']}") for one in content["categories"]),
        *(
            one.update(image_id=f"i{one['image_id']}", category_id=f"c{one['category_id']}")
            for one in content["annotations"]
        ),
    ],
}


@pytest.mark.parametrize("name", FINE)
def test_what_training_reads_is_not_refused(copied: Copy, drawn: Path, name: str) -> None:
    report = check_dataset(both(copied("c"), FINE[name]))
    assert report.ok
    assert report.splits["train"].taught.taught_boxes == check_dataset(drawn).splits["train"].taught.taught_boxes
    filled = report.splits["train"].taught
    assert (filled.areas_filled > 0) == (name == "no area")
    assert ("area of" in str(filled)) == (name == "no area")


def test_a_byte_order_mark_and_absolute_paths_are_read(copied: Copy) -> None:
    directory = copied("c")

    def absolute(content: Content) -> None:
        for image in content["images"]:
            image["file_name"] = str(directory / "images" / image["file_name"])

    both(directory, absolute)
    for split in ("train", "val"):
        path = directory / f"{split}.json"
        path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert check_dataset(directory).problems == ()


def test_names_are_judged_by_where_training_finds_them(
    copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute ones of a folder that is given relative, or over a link; those that only a plain form would find."""
    directory = copied("c")
    names = {0: "c:1.png", 1: "sub/2.png"}
    (directory / "images" / "sub").mkdir()
    for index, name in names.items():
        shutil.copy(directory / "images" / f"train_0000{index}.png", directory / "images" / name)

    def renamed(content: Content) -> None:
        for index, image in enumerate(content["images"]):
            image["file_name"] = str(directory / "images" / image["file_name"])
            if "train" in image["file_name"] and index in names:
                image["file_name"] = names[index]

    both(directory, renamed)
    (tmp_path / "linked").symlink_to(directory)
    monkeypatch.chdir(tmp_path)
    for place in ("c", "linked", directory, tmp_path / "linked"):
        assert check_dataset(place).ok, check_dataset(place).errors
    for name in ("nowhere/../sub/2.png", "sub/2.png/"):
        path = directory / "train.json"
        content = json.loads(path.read_text())
        content["images"][1]["file_name"] = name
        path.write_text(json.dumps(content))
        assert [one.field for one in check_dataset("c").errors] == ["images[1].file_name"]


@pytest.mark.parametrize(
    ("written", "on_disk", "word"),
    [
        ("Train_00001.PNG", "train_00001.png", "'train_00001.png' is there, which differs by case"),
        ("Bäume.png", unicodedata.normalize("NFD", "Bäume.png"), "NFC"),
        ("images/train_00001.png", "train_00001.png", "'train_00001.png' is there: write that alone"),
        ("C:\\data\\train_00001.png", "train_00001.png", "write that alone"),
        ("/home/anna/train_00001.png", "train_00001.png", "write that alone"),
        ("/home/anna/a.png", "train_00001.png", "another machine"),
        ("sub\\a.png", "train_00001.png", "write / for"),
        ("http://train_00001.png", "http:/train_00001.png", "takes for an address"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_what_is(copied: Copy, written: str, on_disk: str, word: str) -> None:
    directory = copied("c")
    (directory / "images" / "http:").mkdir()
    (directory / "images" / "train_00001.png").rename(directory / "images" / on_disk)
    path = directory / "train.json"
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = written
    path.write_text(json.dumps(content))
    errors = check_dataset(directory).errors
    assert [one.field for one in errors] == ["images[1].file_name"]
    assert word in errors[0].rule


def test_images_without_a_box_are_counted_and_kept_on_demand(copied: Copy) -> None:
    directory = copied("c")

    def bare(content: Content) -> None:
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] > 6]

    both(directory, bare)
    left, kept = (
        check_recipe_data(load_recipe("drawn_r18_teacher", {"data.root": str(directory), "data.keep_empty": keep}))
        for keep in (False, True)
    )
    count = left.splits["train"].taught
    assert f"taught: {20 - count.without_box} images" in left.said[0]
    assert f"left out: {count.without_box} without a box (data.keep_empty: true keeps them)" in left.said[0]
    assert count.without_box >= 6
    assert f"taught: 20 images ({count.without_box} without a box)" in kept.said[0]
    assert "nothing left out" in kept.said[0]


def test_every_box_that_is_left_out_is_counted(copied: Copy) -> None:
    directory = copied("c")

    def spoil(content: Content) -> None:
        first, second, third = content["annotations"][:3]
        first.update(iscrowd=1)
        second.update(ignore=1)
        third["bbox"][2] = 0.5

    both(directory, spoil)
    line = check_recipe_data(load_recipe("drawn_r18_teacher", {"data.root": str(directory)})).said[0]
    total = len(json.loads((directory / "train.json").read_text())["annotations"])
    assert f"{total} boxes; taught: " in line
    assert f", {total - 3} boxes; left out: " in line
    assert "1 crowd, 1 with ignore, 1 box under 1 px" in line


def test_classes_without_a_box_in_one_part(copied: Copy) -> None:
    directory = copied("c")
    for split, gone in (("train", 1), ("val", 2)):
        path = directory / f"{split}.json"
        content = json.loads(path.read_text())
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] != gone]
        path.write_text(json.dumps(content))
    report = check_dataset(directory)
    assert told(report, "categories[0].name", "no student can learn it") == ["warning"]
    assert told(report, "categories[1].name", "mAP is over the 3 other classes", "val") == ["warning"]


@pytest.mark.parametrize("names", [("caf\u00e9", "cafe\u0301"), ("Disc", "disc")])
def test_parts_whose_names_look_the_same(copied: Copy, names: tuple[str, str]) -> None:
    directory = copied("c")
    for split, name in zip(("train", "val"), names, strict=True):
        path = directory / f"{split}.json"
        content = json.loads(path.read_text())
        content["categories"][0]["name"] = name
        path.write_text(json.dumps(content))
    assert told(check_dataset(directory), "categories", "form of their letters alone", "val") == ["error"]


def test_images_in_both_parts_are_named(copied: Copy) -> None:
    directory = copied("c")
    images = directory / "images"
    (images / "val_00001.png").write_bytes((images / "train_00004.png").read_bytes())
    brighter = cv2.imread(str(images / "train_00005.png"))
    assert brighter is not None
    cv2.imwrite(str(images / "val_00002.png"), np.clip(brighter.astype(int) + 6, 0, 255).astype(np.uint8))
    report = check_dataset(directory)
    same, like = (one for one in report.problems if one.field == "images")
    assert (same.value, like.value) == ("val_00001.png", "val_00002.png")
    assert "train_00004.png" in same.rule
    assert "train_00005.png" in like.rule


def turned(directory: Path, tag: int, *, crop: bool) -> None:
    """Give the first training image an orientation tag; `crop` makes it wider than high."""
    path = directory / "images" / "train_00000.png"
    picture = Image.open(path).crop((0, 0, 160, 120 if crop else 160))
    exif = Image.Exif()
    exif[0x0112] = tag
    picture.save(path, exif=exif)


@pytest.mark.parametrize(
    ("tag", "size", "orientation", "expected"),
    [
        (6, (120, 160), "apply", None),
        (6, (160, 120), "apply", ("error", "width", "set data.orientation: ignore")),
        (6, (160, 120), "ignore", None),
        (6, (120, 160), "ignore", ("error", "width", "set data.orientation: apply")),
        (3, (160, 120), "apply", ("warning", "file_name", "drawn the other way, set data.orientation: ignore")),
        (3, (160, 120), "ignore", ("warning", "file_name", "drawn the other way, set data.orientation: apply")),
        (1, (120, 160), "apply", ("error", "width", "exchanged")),
    ],
)
def test_orientation_is_decided_by_agreement_of_sizes(
    copied: Copy, tag: int, size: tuple[int, int], orientation: str, expected: tuple[str, str, str] | None
) -> None:
    directory = copied("c")
    turned(directory, tag, crop=True)

    def resize(content: Content) -> None:
        image = content["images"][0]
        image.update(width=size[0], height=size[1])
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != image["id"]]

    path = directory / "train.json"
    content = json.loads(path.read_text())
    resize(content)
    path.write_text(json.dumps(content))
    values = {"data.root": str(directory), "data.orientation": orientation}
    report = check_recipe_data(load_recipe("drawn_r18_teacher", values))
    found = [(one.severity, one.field, one.rule) for one in report.problems if one.field.startswith("images[0]")]
    if expected is None:
        assert not found
    else:
        severity, field, word = expected
        assert [(one[0], one[1]) for one in found] == [(severity, f"images[0].{field}")]
        assert word in found[0][2]


def test_small_objects_at_the_networks_input_are_told_with_a_better_scale(drawn: Path) -> None:
    def report(scale: int) -> DataReport:
        return check_recipe_data(
            load_recipe("drawn_r18_teacher", {"data.root": str(drawn), "input.scale": [scale] * 2})
        )

    plain, tiny = report(160), report(32)
    assert plain.sizes is not None
    assert plain.sizes.vanishing == 0
    assert not [line for line in plain.said if "input.scale" in line]
    assert tiny.sizes is not None
    assert tiny.sizes.median == pytest.approx(plain.sizes.median / 5)
    assert tiny.sizes.suggested is not None
    side = tiny.sizes.suggested[0]
    assert 32 < side <= 160
    assert f"warning: {100 * tiny.sizes.vanishing / tiny.sizes.objects:.0f} % of the objects" in tiny.said[1]
    assert f"try input.scale [{side}, {side}]" in tiny.said[1]
    better = report(side).sizes
    assert better is not None
    assert better.vanishing <= better.objects / 3


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [("apply", ("warning", "save it without the tag")), ("ignore", ("error", "a TIFF is turned by it all the same"))],
)
def test_a_tiff_is_turned_by_its_tag_whatever_is_asked(
    copied: Copy, orientation: str, expected: tuple[str, str]
) -> None:
    directory = copied("c")
    exif = Image.Exif()
    exif[0x0112] = 3
    image = directory / "images" / "train_00000.png"
    with Image.open(image) as picture:
        picture.save(image, "TIFF", exif=exif)
    values = {"data.root": str(directory), "data.orientation": orientation}
    report = check_recipe_data(load_recipe("drawn_r18_teacher", values))
    assert told(report, "images[0].file_name", expected[1]) == [expected[0]]
    assert not told(report, "images[0].file_name", "leaves the pixels as stored")


def test_boxes_that_stand_twice_are_counted(copied: Copy) -> None:
    directory = copied("c")

    def repeat(content: Content) -> None:
        first, second, third = content["annotations"][:3]
        for number, one in enumerate((first, first, second), start=9000):
            content["annotations"].append({**one, "id": number})
        other = content["categories"][third["category_id"] % len(content["categories"])]["id"]
        content["annotations"].append({**third, "id": 9999, "category_id": other})

    both(directory, repeat)
    total = len(json.loads((directory / "train.json").read_text())["annotations"])
    report = check_dataset(directory)
    rule = f"3 of {total} boxes repeat another of their image and class, this one annotations[0]"
    assert told(report, f"annotations[{total - 4}].bbox", rule) == ["warning"]
    assert report.ok
