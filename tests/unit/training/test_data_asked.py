"""Training asks what the check asks, and its settings act wherever images are read."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from PIL import Image
from typer.testing import CliRunner

from ikd.attack import TrainingImages, perturbation_key
from ikd.attack.images import open_dataset
from ikd.cli import app
from ikd.config import Recipe
from ikd.errors import BadInput, DataGone
from ikd.export.config import write_config
from ikd.training import DataFiles, EpochReport, check, run_trial
from ikd.training.loaders import train_loader, val_loader

Build = Callable[..., Any]


@pytest.fixture
def copied(tiny_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


def spoil(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def alone(build: Build, directory: Path, **changes: Any) -> Recipe:
    values = {"teachers__sequence": [], "adversarial__enabled": False, "distill__host": "none"}
    return build(data__root=str(directory), **values, **changes).student_alone()


def dataset_of(loader: dict[str, Any]) -> Any:
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        return DATASETS.build(loader["dataset"])


def test_all_images_without_a_box_are_trained_on_on_demand(tiny_recipe: Build, copied: Path) -> None:
    def bare(content: dict[str, Any]) -> None:
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] > 5]

    spoil(copied, bare)
    sizes = []
    for keep in (False, True):
        recipe = alone(tiny_recipe, copied, data__keep_empty=keep)
        files = check(recipe)
        loader = train_loader(recipe.stages[0], files, perturbations=None, boxes=None, with_masks=False)
        sizes.append(len(dataset_of(loader)))
    assert sizes[1] == 16
    assert sizes[0] <= 11
    fingerprints = {alone(tiny_recipe, copied, data__keep_empty=keep).fingerprint() for keep in (False, True)}
    assert len(fingerprints) == 2


def first_image(directory: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """Turn the first training image by a tag; return it and its stored pixels, BGR."""
    path = directory / "images" / "train_00000.png"
    picture = Image.open(path).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    return path, np.asarray(picture)[:, :, ::-1]


def test_orientation_acts_in_training_validation_attack_and_export(
    tiny_recipe: Build, copied: Path, tmp_path: Path
) -> None:
    path, stored = first_image(copied)
    shutil.copy(path, copied / "images" / "val_00000.png")
    for orientation, seen in (("apply", np.rot90(stored, -1)), ("ignore", stored)):
        values = {"data.orientation": orientation, "input.scale": [128, 128], "input.flip": 0.0}
        recipe = alone(tiny_recipe, copied).with_values(values)
        files = DataFiles.of(recipe)
        loaders = [
            train_loader(recipe.stages[0], files, perturbations=None, boxes=None, with_masks=False),
            val_loader(recipe, files, None),
        ]
        source = TrainingImages.of(recipe, files.train, files.train_images)
        for dataset in (*map(dataset_of, loaders), open_dataset(source, with_masks=False)):
            pixels = dataset[0]["inputs"].numpy().transpose(1, 2, 0)
            assert np.array_equal(pixels, seen), (orientation, type(dataset))
        written = tmp_path / f"{orientation}.py"
        write_config(recipe, files, written, title="x")
        assert ("color_ignore_orientation" in written.read_text()) == (orientation == "ignore")


def test_an_attack_on_other_pixels_is_another_one(tiny_recipe: Build, copied: Path) -> None:
    from ikd.attack import attack_of
    from ikd.detectors import build_detector
    from ikd.training import model_config

    recipe = tiny_recipe(data__root=str(copied))
    files = DataFiles.of(recipe)
    teacher = build_detector(model_config(recipe.student, files.classes))
    keys = []
    for orientation in ("apply", "ignore"):
        one = recipe.with_values({"data.orientation": orientation})
        source = TrainingImages.of(one, files.train, files.train_images)
        keys.append(perturbation_key(teacher, source, attack_of(one), data_fingerprint="x"))
    assert keys[0] != keys[1]
    assert "orientation" not in keys[0], "stores of before have none"


@pytest.mark.parametrize("command", ["train", "attack", "sweep"])
def test_every_command_refuses_what_the_check_refuses(
    command: str, tiny_recipe: Build, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(copied, lambda content: content["annotations"][2].update(category_id=99))
    data = ["--set", f"data.root={copied}"]
    recipe = "drawn_r18" if command != "sweep" else str(tmp_path / "space.yaml")
    (tmp_path / "space.yaml").write_text(
        "recipe: drawn_r18\nbudget: {trials: 2}\nparameters: {seed: {choice: [0, 1]}}\n"
    )
    options = {"train": ["--to", str(tmp_path / "out")], "attack": [], "sweep": ["--dry-run"]}[command]
    result = CliRunner().invoke(app, [command, recipe, *data, *options])
    assert isinstance(result.exception, BadInput), result.output
    assert result.exception.exit_status == 2
    assert "train.json: annotations[2].category_id: must be the id of a category, but got 99" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_detector_with_masks_needs_masks_that_it_can_learn(tiny_recipe: Build, copied: Path) -> None:
    spoil(copied, lambda content: content["annotations"][2].update(segmentation=[[1, 2, 3, 4]]))
    recipe = alone(tiny_recipe, copied, input__copy_paste__enabled=True, augment__enabled=False)
    with pytest.raises(BadInput, match=r"copy_paste\.by: needs a segmentation .* which 1 boxes"):
        check(recipe)


def test_what_is_said_is_what_mmdet_teaches(tiny_recipe: Build, copied: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["ignore"] = 1
        content["annotations"][2]["bbox"][3] = 0.4

    spoil(copied, change)
    recipe = alone(tiny_recipe, copied)
    files = check(recipe)
    loader = train_loader(recipe.stages[0], files, perturbations=None, boxes=None, with_masks=False)
    dataset = dataset_of(loader)
    taught = sum(not one["ignore_flag"] for n in range(len(dataset)) for one in dataset.get_data_info(n)["instances"])
    from ikd.data import said_of_data

    assert f"taught: {len(dataset)} images, {taught} boxes" in said_of_data(recipe)[0]


def test_a_picture_that_is_nearly_black_is_refused(tiny_recipe: Build, copied: Path) -> None:
    path = copied / "images" / "train_00001.png"
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    cv2.imwrite(str(path), grey.astype(np.uint16) * 16)
    with pytest.raises(BadInput, match=r"train\.json: images\[1\]\.file_name: .*nearly black.*'train_00001\.png'"):
        check(alone(tiny_recipe, copied))


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_vanish_in_mid_training_are_told_as_that(
    tiny_recipe: Build, copied: Path, tmp_path: Path, workers: int
) -> None:
    """Put back, they are trained on from the last epoch on."""
    recipe, folder = alone(tiny_recipe, copied, schedule__epochs=2, schedule__workers=workers), tmp_path / "out"
    images, away = copied / "images", tmp_path / "away"

    def take_away(report: EpochReport) -> None:
        images.rename(away)

    with pytest.raises(DataGone, match=f"{images} is not there; put it back and go on") as caught:
        run_trial(recipe, take_away, directory=folder)
    assert caught.value.exit_status == 1
    away.rename(images)
    assert run_trial(recipe, checkpoint=folder / "last.pth", directory=folder).epochs == 2
