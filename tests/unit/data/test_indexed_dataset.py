"""The data set that mmdet is given holds what its own would have held, entry by entry."""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ikd.data import categories, indexed
from ikd.data.reader.dataset import IndexedCocoDataset
from ikd.errors import DataError
from ikd.evaluation import read_ahead
from tests.marks import some
from tests.unit.data.odd_sets import SETS, plain, with_annotation, write

ROOT = Path(__file__).parents[3]
USUAL = ("ignored", "crowd of runs", "more than is asked for")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"filter_cfg": {"filter_empty_gt": True, "min_size": 1}},
    {"filter_cfg": {"filter_empty_gt": True, "min_size": 55}},
    {"filter_cfg": {"min_size": 55}},
    {"filter_cfg": {"filter_empty_gt": True}, "test_mode": True},
    {"indices": 2},
    {"indices": -2},
    {"indices": [2, 0]},
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))


def set_aside(path: Path, folder: Path) -> Path:
    """A copy, in a folder, in which what is ignored is a crowd: mmdet's own sets those aside, and drops the ignored."""
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        if one.pop("ignore", 0):
            one["iscrowd"] = 1
    return write(folder, content, f"aside-{path.name}")


def both(path: Path, **options: Any) -> tuple[IndexedCocoDataset, Any]:
    from mmdet.datasets import CocoDataset

    given = {
        "ann_file": str(path),
        "data_prefix": {"img": str(path.parent / "images")},
        "metainfo": {"classes": categories(path)},
        "pipeline": [],
        **options,
    }
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        aside = {"ann_file": str(set_aside(path, Path(folder)))}
        return IndexedCocoDataset(**given), CocoDataset(**copy.deepcopy(given) | aside)


def assert_equal(ours: IndexedCocoDataset, plain_one: Any) -> None:
    assert len(ours) == len(plain_one)
    assert (ours.cat_ids, ours.cat2label, ours.metainfo) == (plain_one.cat_ids, plain_one.cat2label, plain_one.metainfo)
    for index in [*range(len(ours)), *([-1] if len(ours) > 1 else [])]:
        assert ours.get_data_info(index) == plain_one.get_data_info(index)
        assert ours.get_cat_ids(index) == plain_one.get_cat_ids(index)


def test_what_is_ignored_is_set_aside_as_mmdets_voc_does(tmp_path: Path) -> None:
    ours = both(write(tmp_path, with_annotation(0, ignore=1)))[0]
    instances = [one for place in range(len(ours)) for one in ours.get_data_info(place)["instances"]]
    assert [one["ignore_flag"] for one in instances].count(1) == 1
    assert len(instances) == len(plain()["annotations"])


@pytest.mark.parametrize("name", some([*USUAL, *(name for name in SETS if name not in (*USUAL, "no boxes"))], 3))
def test_it_holds_what_mmdets_own_holds(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, SETS[name])
    for options in OPTIONS:
        assert_equal(*both(path, **options))


def test_a_set_without_boxes_is_empty_or_all_images(tmp_path: Path) -> None:
    path = write(tmp_path, SETS["no boxes"])
    assert_equal(*both(path))
    given = {"ann_file": str(path), "metainfo": {"classes": ("b", "a")}, "data_prefix": {"img": ""}}
    empty = IndexedCocoDataset(**given, pipeline=[], filter_cfg={"filter_empty_gt": True})
    assert len(empty) == 0  # where mmdet's own fails with "need at least one array to concatenate"


@pytest.mark.parametrize("part", ["train.json", "val.json"])
def test_it_holds_what_mmdets_own_holds_of_drawn_data(part: str, drawn: Path) -> None:
    for options in OPTIONS[:2]:
        assert_equal(*both(drawn / part, **options))


@pytest.mark.parametrize("part", ["train.json", "val.json"])
def test_it_holds_what_mmdets_own_holds_of_photographs(part: str, bccd: Path) -> None:
    for options in OPTIONS[:2]:
        assert_equal(*both(bccd / part, **options))


def test_what_mmdet_cannot_read_is_what_it_reads_of_the_normal_form(tmp_path: Path) -> None:
    content = with_annotation(0, iscrowd=None, area=None, id=0)
    for one in content["images"]:
        one["id"] = f"{one['id']}"
    for one in content["annotations"]:
        one["image_id"] = f"{one['image_id']}"
    given = {"metainfo": {"classes": ("b", "a")}, "data_prefix": {"img": str(tmp_path / "images")}, "pipeline": []}
    ours = IndexedCocoDataset(ann_file=str(write(tmp_path, content)), **given)
    shutil.copy(indexed(tmp_path / "train.json").normal, tmp_path / "normal.json")
    _, theirs = both(tmp_path / "normal.json")
    assert_equal(ours, theirs)
    assert [ours.get_data_info(index)["img_id"] for index in range(3)] == [1, 2, 3]


def test_a_difference_to_what_ikd_reads_names_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = IndexedCocoDataset.parse_data_info

    path = write(tmp_path, plain())
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "a box": lambda entry: entry["instances"][1]["bbox"].__setitem__(2, 15.0),
        "a label": lambda entry: entry["instances"][1].update(bbox_label=0),
        "a crowd": lambda entry: entry["instances"][0].update(ignore_flag=1),
        "one less": lambda entry: entry["instances"].pop(),
        "no mask": lambda entry: entry["instances"][0].pop("mask"),
        "a size": lambda entry: entry.update(width=51),
    }
    for change in changes.values():

        def skewed(self: Any, raw: dict[str, Any], change: Callable[[dict[str, Any]], Any] = change) -> Any:
            entry = parse(self, raw)
            if entry["img_id"] == 10:
                change(entry)
            return entry

        monkeypatch.setattr(IndexedCocoDataset, "parse_data_info", skewed)
        with pytest.raises(DataError, match=r"image .*10\.png: mmdet must hold what the annotations say"):
            both(path)
    monkeypatch.setattr(IndexedCocoDataset, "parse_data_info", parse)
    both(path)


def test_it_is_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, plain())
    both(path)
    monkeypatch.setattr("ikd.data.reader.dataset.compare", lambda _: pytest.fail("compared again"))
    both(path)


@pytest.mark.parametrize("classes", [("a", "b"), ("b",), ("b", "a", "c")])
def test_other_classes_than_the_files_are_refused(classes: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be given the classes of the file in its order"):
        both(write(tmp_path, plain()), metainfo={"classes": classes})


def test_other_processes_read_the_same(tmp_path: Path) -> None:
    ours, _ = both(write(tmp_path, plain()))
    entries = [ours.get_data_info(index) for index in range(3)]
    assert list(read_ahead(ours, [2, 1, 0] * 4, workers=2)) == entries[::-1] * 4
    assert copy.deepcopy(ours).get_data_info(1) == entries[1]


def seen(root: Path) -> tuple[Any, ...]:
    """Return classes, labels of the images that are trained on, sums of all pixels, and what the check misses."""
    from mmdet.registry import DATASETS
    from mmengine.registry import DefaultScope

    from ikd.config import load_recipe
    from ikd.data import DataFiles, check_dataset, fingerprint
    from ikd.training.loaders import train_loader, val_loader

    recipe = load_recipe("drawn_r18", {"data.root": str(root), "input.scale": [32, 32]}).student_alone()
    checked = [one.field for one in check_dataset(root).problems if "must exist" in one.rule]
    hashes = [fingerprint(root / f"{part}.json", root / "images") for part in ("train", "val")]
    files, (plan,) = DataFiles.of(recipe), recipe.stages
    loaders = (
        train_loader(plan, files, perturbations=None, boxes=None, with_masks=False),
        val_loader(recipe, files, None),
    )
    with DefaultScope.overwrite_default_scope("mmdet"):
        train, val = (DATASETS.build(loader["dataset"]) for loader in loaders)
    labels = [[one["bbox_label"] for one in train.get_data_info(index)["instances"]] for index in range(len(train))]
    return files.classes, labels, [int(val[index]["inputs"].sum()) for index in range(len(val))], [checked, *hashes]


UNDER_A_LOCALE = """
import sys, locale
from pathlib import Path
from tests.unit.data.test_indexed_dataset import seen
print(ascii([locale.getpreferredencoding(False), *seen(Path(sys.argv[1]))]))
"""


def latin(folder: Path) -> dict[str, str]:
    """Settings of a German locale of the nineties; made where the system lacks it."""
    tool = shutil.which("localedef")
    made = tool and subprocess.run(
        [tool, "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE.ISO-8859-1")], capture_output=True, check=False
    )
    if not made or not (folder / "de_DE.ISO-8859-1").is_dir():
        pytest.skip("needs localedef and the system's sources of locales")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.ISO-8859-1"}


@pytest.mark.parametrize("locale", ["latin", "C"])
@pytest.mark.slow
def test_labels_and_images_are_the_same_under_any_locale(locale: str, tmp_path: Path) -> None:
    content = plain()
    content["categories"][0]["name"], content["categories"][1]["name"] = "Läuse", "Größe 図"
    (tmp_path / "images").mkdir()
    for number, one in enumerate(content["images"]):
        one["file_name"] = f"Übung {one['id']} 図.png"
        _, png = cv2.imencode(".png", np.full((one["height"], one["width"], 3), 50 * number, np.uint8))
        (tmp_path / "images" / one["file_name"]).write_bytes(png.tobytes())
    for part in ("train.json", "val.json"):
        write(tmp_path, content, part, ensure_ascii=False)
    classes, labels, pixels, checked = seen(tmp_path)
    assert checked[0] == []
    assert classes == ("Läuse", "Größe 図")
    assert labels == [[1, 0], [0, 1, 0]]
    assert len(set(pixels)) == 3
    settings = {"LC_ALL": "C"} if locale == "C" else latin(tmp_path)
    settings |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    home = "home" if locale == "C" else "other"  # where UTF-8 has read it before, and where nobody has
    environment = os.environ | settings | {"IKD_HOME": str(tmp_path / home)}
    command = [sys.executable, "-W", "ignore", "-c", UNDER_A_LOCALE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    encoding, *found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert "utf" not in encoding.lower()
    assert found == [classes, labels, pixels, checked]
