"""What stands in for what a teacher has not made: measured epochs and rehearsals find it like the real thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ikd.attack import PerturbationStore
from ikd.augment import TeacherBoxes
from ikd.config import Recipe
from ikd.data import DataFiles, image_digest
from ikd.training.rehearsal.stand_ins import half_boxes, zero_perturbations
from ikd.training.rehearsal.timed import timed
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
DETECTOR = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}}


def test_they_are_found_by_the_content_of_images(tiny_recipe: Build, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    files = DataFiles.of(recipe)
    boxes = TeacherBoxes(half_boxes(files, tmp_path / "boxes.npz"))
    store = PerturbationStore.open(zero_perturbations(recipe, files, tmp_path / "store"))
    for image in map(image_digest, sorted(files.train_images.glob("train*"))):
        assert image in boxes
        delta = store.read(image)
        assert delta.shape[2] == 3
        assert max(delta.shape) == max(recipe.input.scale)
        assert not delta.any()


def test_an_epoch_with_perturbations_is_measured_before_they_are_made(
    tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))  # others have made these perturbations
    weights = save_untrained(tiny_recipe(), DETECTOR, tmp_path / "weights.pth")
    teacher = {**DETECTOR, "checkpoint": str(weights)}
    recipe = tiny_recipe(
        teachers__available={"big": teacher}, adversarial__enabled=True, attack__steps=1, schedule__epochs=1
    )
    said: list[str] = []
    found = {one.kind: one for one in timed(recipe, 1, said.append)}
    assert list(found) == ["alone", "taught", "perturbations"]
    assert all(one.seconds > 0 for one in found.values())
    assert found["taught"].checkpoint_bytes > 0
    assert said[-1] == "a few images of the perturbations of big"
