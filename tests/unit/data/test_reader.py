"""The one reader: what it makes of a file, what it refuses, and that processes share what it made."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.data import CocoIndex, categories, coco_metrics, indexed, read_annotations, write_normal
from ikd.data.reader import entries, stream
from ikd.data.reader.building import build
from ikd.errors import DataError
from ikd.home import cache
from tests.unit.data.odd_sets import SETS, plain, with_annotation, without, write


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))


def index_of(folder: Path, content: dict[str, Any]) -> CocoIndex:
    return indexed(write(folder, content))


def normal_of(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(index_of(folder, content).normal.read_bytes())
    return found


@pytest.mark.parametrize("piece", [1, 7, 1 << 22])
@pytest.mark.parametrize("options", [{}, {"indent": 3}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_a_file_read_in_pieces_says_what_it_says_at_once(
    piece: int, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE", piece)
    content = {"version": 1.5, "Ü": '\ud800 \\ " ]}', **copy.deepcopy(SETS["more than is asked for"]), "last": -1.5e-12}
    content["annotations"] += [17, "a", None, [], 2.5e3, -1.25e-300]
    path = tmp_path / "odd.json"
    path.write_bytes(b"\xef\xbb\xbf" * (piece == 7) + json.dumps(content, **options).encode("utf-8", "surrogatepass"))
    if not options.get("ensure_ascii", True):
        path.write_bytes(path.read_bytes().replace(b"\xed\xa0\x80", b""))
    read: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    for one in entries(path):
        assert one.index == len(read[one.section])
        assert json.loads(one.text) == one.value
        read[one.section].append(one.value)
    assert read == {section: content[section] for section in read}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "column 1: the file must be valid JSON|Expecting value"),
        ('{"images": [], "annotations": [}', "column 32"),
        ('{"images": [],\n "annotations": [1 2]}', ":2: column 20"),
        ('{"images": [], "annotations": [], "categories": []} x', "Extra data"),
        ('{"images": [], "annotations": [], "categories": []', "Expecting ',' delimiter"),
        ('{"images": [], "annotations": []}', "the key 'categories' is missing"),
        ('{"images": 3, "annotations": [], "categories": []}', "images: must be a list, but got 'int'"),
        ("[1, 2]", "must hold one JSON object"),
        ('{"images": [], "annotations": [], "categories": [], "images": []}', "'images' comes twice"),
        ('{"images": [], "a": ' + "[" * 100_000, "nests too deeply"),
        ('{"images": [' + "1" * 10_000 + "]}", "digits"),
    ],
)
def test_a_broken_file_is_named_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        list(entries(path))
    assert str(path) in str(caught.value)
    with pytest.raises(DataError):
        indexed(path)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist"):
        indexed(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes('{"images": ["Ü"]}'.encode("latin-1"))
    with pytest.raises(DataError, match="readable UTF-8 text"):
        indexed(tmp_path / "latin.json")


def test_the_columns_and_entries_are_those_of_the_file_image_by_image(tmp_path: Path) -> None:
    content = with_annotation(1, iscrowd=1, ignore=1)
    del content["annotations"][3]["segmentation"]
    index = index_of(tmp_path, content)
    assert index.classes == categories(tmp_path / "train.json") == ("b", "a")
    assert index.category_ids == [9, 4]
    assert (index.ids.tolist(), index.widths.tolist(), index.heights.tolist()) == (
        [30, 10, 20],
        [80, 50, 64],
        [60, 80, 64],
    )
    assert index.first.tolist() == [0, 2, 5, 5]
    order = [1, 3, 0, 2, 4]
    expected = [content["annotations"][number] for number in order]
    assert index.boxes.tolist() == [one["bbox"] for one in expected]
    assert index.areas.tolist() == [one["area"] for one in expected]
    assert [index.category_ids[label] for label in index.labels] == [one["category_id"] for one in expected]
    assert index.crowds.tolist() == [True, False, False, False, False]
    assert index.ignored.tolist() == [True, False, False, False, False]
    assert index.masked.tolist() == [True, False, True, True, True]
    assert index.owners.tolist() == [0, 0, 1, 1, 1]
    assert [index.image(place) for place in range(3)] == content["images"]
    assert [one for place in range(3) for one in index.annotations(place)] == expected


@pytest.mark.parametrize("name", SETS)
def test_the_normal_form_says_what_the_file_says_and_is_ascii(name: str, tmp_path: Path) -> None:
    content = SETS[name]
    normal = normal_of(tmp_path, content)
    assert normal["images"] == content["images"]
    assert normal["categories"] == content["categories"]
    by_id = {one["id"]: one for one in content["annotations"]}
    assert {one["id"]: one for one in normal["annotations"]} == by_id
    assert indexed(tmp_path / "train.json").normal.read_bytes().isascii()


@pytest.mark.parametrize(
    ("content", "filled"),
    [
        (without("iscrowd"), {"iscrowd": 0}),
        (without("area"), {"area": 10 * 20.25}),
        (without("id"), {"id": 3}),
        (with_annotation(0, iscrowd=None, area=None), {"iscrowd": 0, "area": 10 * 20.25}),
        (with_annotation(0, iscrowd=True), {"iscrowd": 1}),
        (with_annotation(0, iscrowd=1.0), {"iscrowd": 1}),
        (with_annotation(0, image_id=10.0, category_id=9.0), {"image_id": 10, "category_id": 9}),
        (with_annotation(0, id=0), {"id": 3}),
        (with_annotation(0, id=4), {"id": 3}),
        (with_annotation(0, id="x"), {"id": 3}),
    ],
)
def test_what_is_missing_is_filled_in(content: dict[str, Any], filled: dict[str, Any], tmp_path: Path) -> None:
    index = index_of(tmp_path, content)
    (first, *_) = index.annotations(1)  # the first of the file's annotations is on the second image
    expected = content["annotations"][0] | filled
    assert first == expected
    assert {key: type(first[key]) for key in filled} == {key: type(value) for key, value in filled.items()}
    numbers = [one["id"] for place in range(len(index)) for one in index.annotations(place)]
    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers


@pytest.mark.parametrize("as_id", [str, lambda one: one + 0.5, lambda one: f"Ü{one}", lambda one: 10**20 + one])
def test_ids_that_are_no_whole_numbers_are_numbered_and_kept_visible(
    as_id: Callable[[int], Any], tmp_path: Path
) -> None:
    content = plain()
    for section, key in (
        ("images", "id"),
        ("categories", "id"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
    ):
        for one in content[section]:
            one[key] = as_id(one[key])
    index = index_of(tmp_path, content)
    assert index.renumbered
    assert index.ids.tolist() == [1, 2, 3]
    assert index.category_ids == [1, 2]
    assert [index.image(place)["original_id"] for place in range(3)] == [as_id(30), as_id(10), as_id(20)]
    assert [one["original_id"] for one in index.categories] == [as_id(9), as_id(4)]
    found = [
        (one["image_id"], one["category_id"], one["bbox"]) for place in range(3) for one in index.annotations(place)
    ]
    again = index_of(tmp_path, plain())
    assert not again.renumbered
    number = {30: 1, 10: 2, 20: 3, 9: 1, 4: 2}
    assert found == [
        (number[one["image_id"]], number[one["category_id"]], one["bbox"])
        for place in range(3)
        for one in again.annotations(place)
    ]


def test_sizes_written_as_floats_are_whole(tmp_path: Path) -> None:
    content = plain()
    content["images"][0] |= {"width": 80.0, "id": 30.0}
    (image, *_) = normal_of(tmp_path, content)["images"]
    assert (image["width"], image["id"]) == (80, 30)
    assert (type(image["width"]), type(image["id"])) == (int, int)


def test_sizes_of_masks_written_as_floats_are_whole(tmp_path: Path) -> None:
    content = plain()
    content["annotations"][0]["segmentation"] = {"size": [60.0, 80.0], "counts": [0, 4800]}
    masks = [one.get("segmentation") for one in normal_of(tmp_path, content)["annotations"]]
    (mask,) = (one for one in masks if isinstance(one, dict))
    assert mask == {"size": [60, 80], "counts": [0, 4800]}
    assert [type(side) for side in mask["size"]] == [int, int]


def changed(section: str, **values: Any) -> dict[str, Any]:
    content = plain()
    content[section][1] |= values
    return content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (changed("annotations", bbox=[1, 2, 3]), r"annotations\[1\].bbox: must be four finite numbers"),
        (changed("annotations", bbox=[1, 2, 3, "4"]), r"annotations\[1\].bbox"),
        (changed("annotations", bbox=[1, 2, 3, float("nan")]), r"annotations\[1\].bbox"),
        (changed("annotations", bbox=[1, 2, 3, True]), r"annotations\[1\].bbox"),
        (changed("annotations", bbox=None), r"annotations\[1\].bbox"),
        (changed("annotations", area="12"), r"annotations\[1\].area: must be a number"),
        (changed("annotations", iscrowd="0"), r"annotations\[1\].iscrowd: must be 0 or 1, but got '0'"),
        (changed("annotations", iscrowd=2), r"annotations\[1\].iscrowd"),
        (changed("annotations", ignore="no"), r"annotations\[1\].ignore"),
        (changed("annotations", image_id=11), r"annotations\[1\].image_id: must be the id of an entry of images"),
        (changed("annotations", image_id="10"), r"annotations\[1\].image_id: .* but got '10'"),
        (changed("annotations", image_id=True), r"annotations\[1\].image_id"),
        (changed("annotations", image_id=[10]), r"annotations\[1\].image_id"),
        (
            changed("annotations", category_id=5),
            r"annotations\[1\].category_id: must be the id of an entry of categories",
        ),
        (changed("images", id=30), r"images\[1\].id: must be unique, see images\[0\], but got 30"),
        (changed("images", id=30.0), r"images\[1\].id: must be unique"),
        (changed("images", file_name=None), r"images\[1\].file_name: must be the name of a file"),
        (changed("images", file_name=""), r"images\[1\].file_name"),
        (changed("images", width="50"), r"images\[1\].width: must be a whole number of pixels"),
        (changed("images", height=0), r"images\[1\].height"),
        (changed("images", height=50.5), r"images\[1\].height"),
        (changed("categories", name=3), r"categories\[1\].name: must be a text"),
        (changed("categories", id=9), r"categories\[1\].id: must be unique"),
        (changed("categories", name="b"), "must name each class once, but got 'b'"),
        ({**plain(), "annotations": [7]}, r"annotations\[0\]: must be a JSON object, but got 7"),
        ({**plain(), "images": [None]}, r"images\[0\]: must be a JSON object"),
    ],
)
def test_what_is_unclear_is_refused_by_its_place(content: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=says) as caught:
        indexed(path)
    assert str(path) in str(caught.value)
    assert not [file for file in cache("coco").rglob("*") if file.suffix != ".lock"], "nothing is left of it"


def test_the_same_content_is_indexed_once_and_a_change_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, plain())
    first = indexed(path)
    assert indexed(path) is first
    assert indexed(write(tmp_path, plain(), "copy.json")).folder == first.folder
    stamp = path.stat().st_mtime_ns
    write(tmp_path, with_annotation(0, category_id=4))
    assert indexed(path).folder != first.folder
    assert path.stat().st_mtime_ns > stamp
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "other"))
    assert indexed(path).folder.is_relative_to(tmp_path / "other")


def test_a_file_that_changes_while_it_is_read_leaves_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, plain())

    def slow(source: Path, folder: Path) -> None:
        write(tmp_path, with_annotation(0, category_id=4))
        build(source, folder)

    monkeypatch.setattr("ikd.data.reader.index.build", slow)
    with pytest.raises(DataError, match="changed while it was read"):
        indexed(path)
    assert not list(cache("coco").glob("*/notes.json"))


def test_copies_for_other_processes_open_the_same_index(tmp_path: Path) -> None:
    index = index_of(tmp_path, plain())
    for other in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert other is not index
        assert other.annotations(1) == index.annotations(1)
    assert len(pickle.dumps(index)) < 1000


def test_metrics_are_those_of_the_file_whatever_its_ids_are(tmp_path: Path) -> None:
    path = write(tmp_path, plain())
    index = indexed(path)
    boxes = [one for place in range(3) for one in index.annotations(place)]
    found = [{key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for one in boxes]
    expected = coco_metrics(read_annotations(path), found)
    assert coco_metrics(path, found) == pytest.approx(expected, nan_ok=True)
    content = plain()
    for one in content["images"] + content["annotations"]:
        one["image_id" if "bbox" in one else "id"] = f"image {one['image_id' if 'bbox' in one else 'id']}"
    renamed = [one | {"image_id": {30: 1, 10: 2}[one["image_id"]]} for one in found]
    assert coco_metrics(write(tmp_path, content, "texts.json"), renamed) == pytest.approx(expected, nan_ok=True)


def test_the_written_normal_form_is_read_by_pycocotools_under_any_locale(tmp_path: Path) -> None:
    content = without("iscrowd")
    content["categories"][0]["name"] = "Übung 図"
    write_normal(write(tmp_path, content, ensure_ascii=False), tmp_path / "normal.json")
    code = "import sys; from pycocotools.coco import COCO; found = COCO(sys.argv[1])\n"
    code += "assert all(one['iscrowd'] == 0 for one in found.anns.values()), found.anns\n"
    code += r"assert found.cats[9]['name'] == '\xdcbung \u56f3', found.cats"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "normal.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(DataError, match="must exist"):
        write_normal(tmp_path / "none.json", tmp_path / "normal.json")
    assert np.array_equal(indexed(tmp_path / "normal.json").boxes, indexed(tmp_path / "train.json").boxes)
