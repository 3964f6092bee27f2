"""A teacher's labels on disk: by content, in shards, the same bits after a kill; what of them is taught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ikd.config import Recipe
from ikd.data import DataFiles, image_digest
from ikd.detectors import build_detector, freeze
from ikd.errors import DataError
from ikd.evaluation.labels import LabelStore, look_for_labels, store, usual_threshold
from ikd.evaluation.labels.making import _boxes_of
from ikd.training import load_teacher, model_config
from ikd.training.unlabelled.making import label_store, shown_as
from ikd.training.unlabelled.reading import TaughtBoxes, labels_from
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
CLASSES = ["disc", "square", "triangle", "ring"]
DETECTOR = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}}


def made(root: Path, **boxes: list[list[float]]) -> LabelStore:
    """Return a store with boxes of images named by a digit, in two shards."""
    one = LabelStore(root, {"classes": ["ring", "disc", "cat"], "threshold": 0.4})
    for name, found in boxes.items():
        one.write({name[-1] * 64: np.array(found, np.float32).reshape(-1, 6)})
    return one


def test_boxes_are_found_by_content_from_a_score_on_under_our_classes(tmp_path: Path) -> None:
    rows = [[0, 0, 5, 5, 0.9, 0], [1, 1, 6, 6, 0.6, 1], [2, 2, 7, 7, 0.55, 2], [3, 3, 8, 8, 0.3, 0]]
    folder = made(tmp_path, image_1=rows, image_2=[]).folder
    taught = labels_from(folder, ["1" * 64, "2" * 64], CLASSES, threshold=0.5)
    found = taught.instances("1" * 64)
    assert [one["bbox_label"] for one in found] == [3, 0], "by name; no cat among ours"
    assert found[0] == {"bbox": [0, 0, 5, 5], "bbox_label": 3, "ignore_flag": 0}
    assert taught.instances("2" * 64) == []
    assert len(labels_from(folder, ["1" * 64], CLASSES, threshold="auto").instances("1" * 64)) == 2
    assert labels_from(folder, ["1" * 64], CLASSES, threshold="auto").threshold == 0.4


def test_a_band_below_the_threshold_is_set_aside(tmp_path: Path) -> None:
    folder = made(tmp_path, image_1=[[0, 0, 5, 5, 0.9, 0], [1, 1, 6, 6, 0.4, 1], [1, 1, 6, 6, 0.2, 1]]).folder
    found = labels_from(folder, ["1" * 64], CLASSES, threshold=0.5, ignore=0.3).instances("1" * 64)
    assert [one["ignore_flag"] for one in found] == [0, 1]


def test_filling_adds_what_no_label_is_about(tmp_path: Path) -> None:
    rows = [[0, 0, 10, 10, 0.9, 0], [50, 50, 60, 60, 0.8, 0], [30, 30, 34, 34, 0.7, 1], [70, 70, 80, 80, 0.4, 0]]
    folder = made(tmp_path, image_1=rows).folder
    taught = labels_from(folder, ["1" * 64], CLASSES, threshold=0.6)
    labels = [
        {"bbox": [1, 0, 10, 10], "bbox_label": 2, "ignore_flag": 0},
        {"bbox": [20, 20, 60, 40], "bbox_label": 2, "ignore_flag": 1},
    ]
    added = taught.beside("1" * 64, labels)
    assert [one["bbox"] for one in added] == [[50, 50, 60, 60]], (
        "one overlaps a label, one lies in a crowd, one is weak"
    )
    assert len(taught.beside("1" * 64, [])) == 3


def test_an_image_that_was_not_looked_at_is_named(tmp_path: Path) -> None:
    folder = made(tmp_path, image_1=[]).folder
    with pytest.raises(DataError, match=f"has no boxes of the image of SHA-256 {'3' * 64}"):
        labels_from(folder, ["1" * 64, "3" * 64], CLASSES, threshold=0.5)
    with pytest.raises(DataError, match="holds no teacher's labels"):
        labels_from(tmp_path / "absent", [], CLASSES, threshold=0.5)


@pytest.mark.parametrize("damage", [lambda raw: raw[:60], lambda raw: b"", lambda raw: b"garbage" * 40])
def test_a_damaged_shard_counts_as_missing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    one = made(tmp_path, image_1=[[0, 0, 5, 5, 0.9, 0]], image_2=[])
    first = next(file for file in one.folder.glob("*.npz") if _holds(file, 1))
    first.write_bytes(damage(first.read_bytes()))
    assert one.missing(["1" * 64, "2" * 64]) == [["1" * 64]]
    one.write({"1" * 64: np.zeros((0, 6), np.float32)})
    assert one.missing(["1" * 64, "2" * 64]) == []


def _holds(file: Path, digit: int) -> bool:
    with np.load(file) as content:
        return bytes(content["images"][0]).hex() == str(digit) * 64


def test_what_is_kept_of_predictions() -> None:
    rows = torch.tensor([[0.0, 0, 9, 9]] * 400)
    rows[3, 2] = 0.005
    seen = SimpleNamespace(bboxes=rows, scores=torch.linspace(0, 1, 400), labels=torch.ones(400).long())
    kept = _boxes_of(seen)
    assert kept.shape == (store.MOST_BOXES, 6)
    assert np.all(np.diff(kept[:, 4]) <= 0)
    few = SimpleNamespace(bboxes=rows[:5], scores=torch.tensor([0.5, 0.01, 0.05, 0.9, 0.3]), labels=torch.arange(5))
    assert _boxes_of(few)[:, 5].tolist() == [0, 4, 2], "by score; not below .05, nor a sliver"
    none = SimpleNamespace(bboxes=rows[:0], scores=torch.zeros(0), labels=torch.zeros(0).long())
    assert _boxes_of(none).shape == (0, 6)


@pytest.mark.parametrize(
    ("config", "threshold"),
    [
        ("ikd::retinanet_r18", 0.4),
        ("ikd::fcos_r18", 0.4),
        ("ikd::faster_rcnn_r18", 0.7),
        ("ikd::cascade_rcnn_r18", 0.7),
    ],
)
def test_the_usual_threshold_is_that_of_the_kind(tiny_recipe: Build, config: str, threshold: float) -> None:
    teacher = tiny_recipe().student.model_copy(update={"config": config, "arguments": {}})
    assert usual_threshold(build_detector(model_config(teacher, CLASSES))) == threshold


@pytest.fixture
def looking(tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, DataFiles, Any]:
    """A recipe whose teacher has random weights, and shards of four images."""
    weights = save_untrained(tiny_recipe(), DETECTOR, tmp_path / "weights.pth")
    teacher = {**DETECTOR, "checkpoint": str(weights)}
    recipe = tiny_recipe(teachers__available={"big": teacher}, schedule__workers=0)
    monkeypatch.setattr(store, "SHARD", 4)
    files, chosen = DataFiles.of(recipe), recipe.teachers.available["big"]
    detector: Any = freeze(load_teacher(chosen, weights, files.classes))
    with torch.no_grad():
        detector.bbox_head.retina_cls.bias.fill_(-1.0)  # it sees something
    return recipe, files, detector


class _Killed(Exception):
    pass


def test_who_is_killed_goes_on_and_ends_with_the_same_bits(
    looking: tuple[Recipe, DataFiles, Any], tmp_path: Path
) -> None:
    recipe, files, teacher = looking
    paths = {image_digest(path): str(path) for path in sorted(files.train_images.glob("train*"))[:10]}
    pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (96, 96), "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]
    key = label_store(recipe, recipe.teachers.available["big"], files, teacher).key

    def run(root: Path, stop: int | None = None) -> LabelStore:
        def tell(done: int, total: int) -> None:
            assert total == 10
            seen.append(done)
            if stop is not None and done > stop:
                raise _Killed

        one = LabelStore(root, key)
        look_for_labels(one, paths, teacher, pipeline, batch_size=3, workers=0, progress=tell)
        return one

    seen: list[int] = []
    whole = run(tmp_path / "whole")
    assert (seen[0], seen[-1]) == (0, 10)
    for stop in (5, 9):
        with pytest.raises(_Killed):
            run(tmp_path / "cut", stop)
    seen.clear()
    again = run(tmp_path / "cut")
    assert seen[0] == 8, "what is there is not made again"
    for image in paths:
        one, other = (each.read([image], 0.0, CLASSES).of(image) for each in (whole, again))
        assert one.tobytes() == other.tobytes()
    assert sum(len(whole.read([image], 0.0, CLASSES).of(image)) for image in paths) > 0
    assert {file.name: file.read_bytes() for file in whole.folder.glob("*.npz")}.keys() == {
        file.name for file in again.folder.glob("*.npz")
    }


def test_labels_depend_on_weights_scale_and_suppression(looking: tuple[Recipe, DataFiles, Any]) -> None:
    recipe, files, teacher = looking
    chosen = recipe.teachers.available["big"]
    first = label_store(recipe, chosen, files, teacher).folder
    assert label_store(recipe.with_values({"seed": 4}), chosen, files, teacher).folder == first
    assert label_store(recipe.with_values({"input.scale": [64, 64]}), chosen, files, teacher).folder != first
    other = chosen.model_copy(update={"overrides": {"test_cfg.nms.iou_threshold": 0.3}})
    assert label_store(recipe, other, files, teacher).folder != first
    with torch.no_grad():
        next(teacher.parameters()).add_(1)
    assert label_store(recipe, chosen, files, teacher).folder != first


def test_a_teacher_looks_at_its_own_test_scale(tiny_recipe: Build) -> None:
    recipe = tiny_recipe()
    own = recipe.teachers.available["big"]
    assert shown_as(recipe, own).input.scale == (160, 160), "that of drawn_r18_teacher, which trains it"
    zoo = own.model_copy(update={"config": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", "recipe": None})
    zoo = zoo.model_copy(update={"checkpoint": "weights.pth", "arguments": {}})
    assert (shown_as(recipe, zoo).input.scale, shown_as(recipe, zoo).input.keep_ratio) == ((1333, 800), True)
    padded = recipe.with_values({"input.pad": {"enabled": True, "size": [96, 96]}})
    assert shown_as(padded, zoo).input.pad.size == (1333, 1333), "the student's is too small for it"
    given = own.model_copy(update={"checkpoint": "weights.pth"})
    assert shown_as(recipe, given).input.scale == (96, 96), "nothing is known, so it is the student's"


def test_nothing_of_boxes_below_the_threshold_is_taught(tmp_path: Path) -> None:
    book = made(tmp_path, image_1=[[0, 0, 5, 5, 0.5, 0]]).read(["1" * 64], 0.0, CLASSES)
    assert len(TaughtBoxes(book, 0.5).instances("1" * 64)) == 1
    assert TaughtBoxes(book, 0.51).instances("1" * 64) == []
