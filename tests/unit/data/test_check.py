from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from ikd.data import check_dataset, fingerprint, parse_images
from ikd.errors import DataError

Copy = Callable[[str], Path]
Change = Callable[[dict[str, Any]], object]


def spoil(directory: Path, change: Change, split: str = "train") -> Path:
    path = directory / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return directory


def entry(section: str, index: int, **values: Any) -> Change:
    return lambda content: content[section][index].update(values)


def without(section: str, index: int, key: str) -> Change:
    return lambda content: content[section][index].pop(key)


NAN, INFINITY = float("nan"), float("inf")

# change of train.json -> severity, field, part of the rule
FAULTS: dict[str, tuple[Change, str, str, str]] = {
    "missing file": (entry("images", 2, file_name="no.png"), "error", "images[2].file_name", "must exist"),
    "absolute path": (entry("images", 2, file_name="/etc/passwd"), "error", "images[2].file_name", "stay inside"),
    "drive": (entry("images", 2, file_name="C:\\a.png"), "error", "images[2].file_name", "write /"),
    "parent": (
        entry("images", 2, file_name="../train.json"),
        "error",
        "images[2].file_name",
        "stay inside",
    ),
    "null byte": (entry("images", 2, file_name="a\0b"), "error", "images[2].file_name", "must exist"),
    "folder": (entry("images", 2, file_name="."), "error", "images[2].file_name", "must be a file"),
    "width": (entry("images", 2, width=161), "error", "images[2].width", "must be the image's width, 160 px"),
    "height": (entry("images", 2, height=150), "error", "images[2].height", "must be the image's height, 160 px"),
    "no height": (entry("images", 2, height=0), "error", "images[2].height", "above 0"),
    "size type": (entry("images", 2, height="160"), "error", "images[2].height", "whole number"),
    "same file": (entry("images", 2, file_name="train_00001.png"), "warning", "images[2].file_name", "named once"),
    "other split's file": (entry("images", 9, file_name="val_00009.png"), "warning", "images", "1 are in both splits"),
    "image id": (entry("images", 2, id=2), "error", "images[2].id", "unique, see images[1]"),
    "annotation id": (entry("annotations", 2, id=2), "warning", "annotations[2].id", "unique, see annotations[1]"),
    "category id": (entry("categories", 2, id=2), "error", "categories[2].id", "unique, see categories[1]"),
    "category name": (entry("categories", 2, name="disc"), "error", "categories[2].name", "unique, see categories[0]"),
    "id type": (entry("images", 2, id=[1]), "error", "images[2].id", "whole number or a text"),
    "id fraction": (entry("categories", 2, id=2.5), "error", "categories[2].id", "whole number or a text"),
    "box id type": (entry("annotations", 2, id={}), "warning", "annotations[2].id", "whole number or a text"),
    "id zero": (entry("annotations", 0, id=0), "warning", "annotations[0].id", "should not be 0"),
    "unknown category": (
        entry("annotations", 2, category_id=99),
        "error",
        "annotations[2].category_id",
        "id of a category",
    ),
    "unknown image": (entry("annotations", 2, image_id=99), "error", "annotations[2].image_id", "id of an image"),
    "box NaN": (entry("annotations", 2, bbox=[NAN, 1, 2, 3]), "error", "annotations[2].bbox", "finite"),
    "box inf": (entry("annotations", 2, bbox=[1, 1, INFINITY, 3]), "error", "annotations[2].bbox", "finite"),
    "box huge": (entry("annotations", 2, bbox=[1, 1, 10**400, 3]), "error", "annotations[2].bbox", "finite"),
    "box empty": (entry("annotations", 2, bbox=[1, 1, 0, 3]), "error", "annotations[2].bbox", "must not be empty"),
    "box negative": (entry("annotations", 2, bbox=[9, 9, 3, -3]), "error", "annotations[2].bbox", "must not be empty"),
    "box short": (entry("annotations", 2, bbox=[1, 1, 2]), "error", "annotations[2].bbox", "four numbers"),
    "box text": (entry("annotations", 2, bbox=[1, 1, "2", 3]), "error", "annotations[2].bbox", "four numbers"),
    "box away": (entry("annotations", 2, bbox=[200, 1, 9, 9]), "error", "annotations[2].bbox", "more than half"),
    "box mostly out": (entry("annotations", 2, bbox=[-6, 1, 10, 9]), "error", "annotations[2].bbox", "more than half"),
    "box slightly out": (entry("annotations", 2, bbox=[-1, 1, 10, 9]), "warning", "annotations[2].bbox", "clipped"),
    "box thin": (entry("annotations", 2, bbox=[1, 1, 0.5, 9]), "warning", "annotations[2].bbox", "at least 1 px"),
    "area": (entry("annotations", 2, area=0), "error", "annotations[2].area", "above 0"),
    "area type": (entry("annotations", 2, area="9"), "error", "annotations[2].area", "above 0"),
    "area true": (entry("annotations", 2, area=True), "error", "annotations[2].area", "above 0"),
    "no box": (without("annotations", 2, "bbox"), "error", "annotations[2].bbox", "is missing"),
    "no file name": (without("images", 2, "file_name"), "error", "images[2].file_name", "is missing"),
    "no name": (without("categories", 2, "name"), "error", "categories[2].name", "is missing"),
    "no object": (lambda c: c["images"].__setitem__(2, 7), "error", "images[2]", "must be a JSON object"),
    "no images": (lambda c: c.update(images=[]), "error", "images", "is empty"),
    "no boxes": (lambda c: c.update(annotations=[]), "error", "annotations", "is empty"),
    "no categories": (lambda c: c.update(categories=[]), "error", "categories", "at least one"),
    "section missing": (lambda c: c.pop("annotations"), "error", "annotations", "is missing"),
    "section type": (lambda c: c.update(annotations={}), "error", "annotations", "must be a list"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_with_file_field_and_rule(name: str, copied: Copy) -> None:
    change, severity, field, rule = FAULTS[name]
    report = check_dataset(spoil(copied("c"), change))
    matching = [item for item in report.problems if item.field == field and rule in item.rule]
    assert len(matching) == 1, str(report)
    assert matching[0].severity == severity
    assert matching[0].file.endswith("val.json" if name == "other split's file" else "train.json")
    assert report.ok == (severity == "warning")
    assert (report.fingerprint is None) == (severity == "error")


def test_all_faults_come_at_once_errors_first_with_what_was_found(copied: Copy) -> None:
    directory = copied("c")
    spoil(directory, entry("annotations", 0, bbox=[-1, 1, 10, 9]))
    spoil(directory, entry("annotations", 1, category_id=99))
    spoil(directory, entry("annotations", 0, area=-1), split="val")
    report = check_dataset(directory)
    assert [item.severity for item in report.problems[:3]] == ["error", "error", "warning"]
    assert {item.severity for item in report.problems[2:]} == {"warning"}
    assert report.problems[0].value == 99
    assert str(report.problems[1]).endswith(
        "val.json: annotations[0].area: must be a number above 0 (px^2), mmdet drops the box otherwise, but got -1"
    )
    with pytest.raises(DataError, match=r"annotations\[1\]\.category_id: must be the id of a category, but got 99"):
        report.raise_for_errors()


@pytest.mark.parametrize("order", [["disc", "triangle", "square", "ring"], ["disc", "square", "triangle", "star"]])
def test_categories_have_to_agree_in_name_and_order(copied: Copy, order: list[str]) -> None:
    def change(content: dict[str, Any]) -> None:
        for category, name in zip(content["categories"], order, strict=True):
            category["name"] = name

    report = check_dataset(spoil(copied("c"), change, split="val"))
    assert [item.field for item in report.errors] == ["categories"]
    assert report.errors[0].value == order


def test_malformed_json_is_located(copied: Copy) -> None:
    directory = copied("c")
    (directory / "train.json").write_text('{"images": [],\n "annotations": oops}')
    (directory / "val.json").unlink()
    train, val = check_dataset(directory).errors
    assert (train.line, train.field) == (2, "column 17")
    assert "must exist" in val.rule


@pytest.mark.parametrize("content", ["[]", "3", "[" * 100_000, "\xff\xfe"])
def test_other_nonsense_is_refused(copied: Copy, content: str) -> None:
    directory = copied("c")
    (directory / "train.json").write_bytes(content.encode("latin-1"))
    report = check_dataset(directory)
    assert len(report.errors) == 1
    assert report.exit_status == 2


def test_broken_and_truncated_and_foreign_files_are_found(copied: Copy) -> None:
    directory = copied("c")
    images = directory / "images"
    (images / "train_00000.png").write_bytes(b"")
    (images / "train_00001.png").write_text("no picture")
    whole = (images / "train_00002.png").read_bytes()
    (images / "train_00002.png").write_bytes(whole[: len(whole) // 2])
    fields = [item.field for item in check_dataset(directory).errors]
    assert fields == [f"images[{index}].file_name" for index in range(3)]


def test_a_truncated_jpeg_is_found_though_opencv_reads_it(copied: Copy) -> None:
    directory = copied("c")
    path = directory / "images" / "photo.jpg"
    cv2.imwrite(str(path), cv2.imread(str(directory / "images" / "train_00002.png")))
    spoil(directory, entry("images", 2, file_name="photo.jpg"))
    assert check_dataset(directory).ok
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * len(whole) // 3])
    assert [item.field for item in check_dataset(directory).errors] == ["images[2].file_name"]


def test_links_may_lead_anywhere_but_must_end(copied: Copy, tmp_path: Path) -> None:
    directory = copied("c")
    inside, outside, loop = (directory / "images" / name for name in ("in.png", "out.png", "loop.png"))
    inside.symlink_to(directory / "images" / "train_00000.png")
    outside.symlink_to(shutil.copy(inside, tmp_path / "elsewhere.png"))
    loop.symlink_to(loop)
    for index, link in enumerate((inside, outside, loop)):
        spoil(directory, entry("images", index, file_name=link.name))
    errors = check_dataset(directory).errors
    assert [(item.field, item.rule.split()[0:3]) for item in errors] == [
        ("images[2].file_name", ["the", "file", "must"])
    ]


def test_counts_table_and_fingerprint(drawn: Path) -> None:
    report = check_dataset(drawn)
    content = json.loads((drawn / "train.json").read_text())
    assert report.categories == ("disc", "square", "triangle", "ring")
    assert report.splits["train"].boxes == len(content["annotations"]) == sum(row.total for row in report.rows[:4])
    large = [item for item in content["annotations"] if item["category_id"] == 2 and item["area"] >= 9216]
    assert (report.rows[1].split, report.rows[1].category, report.rows[1].large) == ("train", "square", len(large))
    assert report.splits["val"].fingerprint == fingerprint(drawn / "val.json", drawn / "images")
    lines = str(report).splitlines()
    assert lines[1].startswith("train: 20 images (2 without a box, 6 with small boxes only)")
    assert lines[-1] == "no problems"
    assert report.exit_status == 0


@pytest.mark.parametrize(
    ("written", "folders"), [("images", "images"), ("train2017,val2017", ("train2017", "val2017")), ("a,", ("a", ""))]
)
def test_image_folders_are_one_for_both_or_two(written: str, folders: str | tuple[str, str]) -> None:
    assert parse_images(written) == folders


def test_size_bins_have_cocos_borders(copied: Copy) -> None:
    def change(content: dict[str, Any]) -> None:
        areas = [1023.9, 1024, 9215.9, 9216]
        content["annotations"] = [
            {**content["annotations"][0], "id": n, "area": a} for n, a in enumerate(areas, start=1)
        ]

    rows = check_dataset(spoil(copied("c"), change)).rows
    assert sum(row.small for row in rows[:4]) == 1
    assert sum(row.medium for row in rows[:4]) == 2
    assert sum(row.large for row in rows[:4]) == 1


def test_crowds_are_counted_apart(copied: Copy, drawn: Path) -> None:
    before, after = check_dataset(drawn), check_dataset(spoil(copied("c"), entry("annotations", 0, iscrowd=1)))
    assert after.splits["train"].crowds == 1
    assert after.splits["train"].boxes == before.splits["train"].boxes - 1


def test_other_names_and_a_folder_for_each_split(copied: Copy) -> None:
    directory = copied("c")
    (directory / "train.json").rename(directory / "learn.json")
    shutil.copytree(directory / "images", directory / "more")
    assert check_dataset(directory, "learn.json", images=("more", "images")).ok
    (directory / "more" / "val_00000.png").unlink()
    assert check_dataset(directory, "learn.json", images=("more", "images")).ok
    assert not check_dataset(directory, "learn.json", images="more").ok
    assert [item.rule for item in check_dataset(directory, "learn.json", images="none").errors] == [
        "the image folder must exist"
    ] * 2


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder must exist"):
        check_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["bccd", "aquarium"])
def test_real_photographs_pass(name: str) -> None:
    directory = Path(__file__).parents[4] / "shared" / "data" / name
    if not directory.is_dir():
        pytest.skip("the shared photographs are not beside this checkout")
    assert check_dataset(directory).problems == ()
