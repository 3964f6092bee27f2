"""What trials share: one store for repeats over seeds, boxes found in batches, stores held while they are read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.attack import PerturbationStore
from ikd.config import Recipe
from ikd.data import image_digest
from ikd.detectors import freeze
from ikd.errors import BadInput
from ikd.evaluation import find_boxes
from ikd.home import digest
from ikd.training import DataFiles, load_teacher, perturb, prepare, run_trial, sharing
from ikd.training.prepared import teacher_recipe
from ikd.trial import ATTACK_SECONDS, StopTrial, said_of_teacher
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
SMALL = {"base_channels": 4, "neck_channels": 16, "levels": 3}


@pytest.fixture
def recipe(tiny_recipe: Build, tmp_path: Path) -> Recipe:
    """An attack of one step on random weights."""
    detector = {"config": "ikd::retinanet_r18", "arguments": SMALL}
    weights = save_untrained(tiny_recipe(), detector, tmp_path / "weights.pth")
    teacher = {**detector, "checkpoint": str(weights)}
    return tiny_recipe(
        teachers__available={"big": teacher}, adversarial__enabled=True, attack__steps=1, schedule__epochs=1
    )


@pytest.mark.parametrize(("field", "value"), [("keep_empty", True), ("orientation", "ignore")])
def test_a_teacher_is_another_where_its_data_are_read_otherwise(recipe: Recipe, field: str, value: object) -> None:
    """What is kept of one that read them as all did before has the name that it had."""
    teacher = recipe.teachers.available["big"].model_copy(update={"checkpoint": None, "recipe": "drawn_r18_teacher"})
    files, names = DataFiles.of(recipe), []
    for one in (recipe, recipe.with_values({f"data.{field}": value}), recipe.at(recipe.data.root + "/../data")):
        names.append(sharing.name_of(teacher_recipe(one, teacher), files))
    assert names[0] != names[1]
    training = teacher_recipe(recipe, teacher)
    before = digest(training.effective() | {"data": files.fingerprint(), "classes": files.classes})
    assert names[0] == names[2] == before


def store_of(recipe: Recipe) -> Path:
    folder = prepare(recipe).stages[0].perturbations
    assert folder is not None
    return folder


def test_repeats_over_seeds_share_their_perturbations(recipe: Recipe) -> None:
    folder = store_of(recipe)
    assert store_of(recipe.with_values({"seed": 1})) == folder
    other = store_of(recipe.with_values({"attack.seed": 1}))
    assert other != folder
    same = [
        np.array_equal(PerturbationStore.open(folder).read(image), PerturbationStore.open(other).read(image))
        for image in map(image_digest, sorted(DataFiles.of(recipe).train_images.glob("train*"))[:4])
    ]
    assert not all(same), "the diversity is drawn from another seed"


def test_the_seed_of_the_attack_is_part_of_the_training_where_it_is_not_the_recipes(recipe: Recipe) -> None:
    """Before it had a seed of its own the attack drew from the recipe's."""
    assert "seed" not in recipe.effective()["teachers"][0]["attack"]
    prints = [recipe.with_values(values).fingerprint() for values in ({"seed": 1}, {"seed": 1, "attack.seed": 1})]
    assert prints[0] != prints[1]
    alone = recipe.with_values({"adversarial.enabled": False})
    assert alone.with_values({"attack.seed": 1}).fingerprint() == alone.fingerprint()


def test_boxes_are_those_of_one_image_at_a_time_whoever_reads(recipe: Recipe) -> None:
    files = DataFiles.of(recipe)
    chosen = recipe.teachers.available["big"]
    assert chosen.checkpoint is not None
    teacher = freeze(load_teacher(chosen, chosen.checkpoint, files.classes))
    noted: list[tuple[int, int]] = []
    alone = find_boxes(
        recipe.with_values({"schedule.batch_size": 1, "schedule.workers": 0}),
        files,
        teacher,
        lambda *done: noted.append(done),
    )
    assert noted == [(number, len(alone)) for number in range(len(alone) + 1)]
    for workers in (0, 2):
        changed = recipe.with_values({"schedule.batch_size": 5, "schedule.workers": workers})
        found = find_boxes(changed, files, teacher, None)
        assert found.keys() == alone.keys()
        assert all(found[image].shape == alone[image].shape for image in alone)
        assert all(np.allclose(found[image], alone[image], atol=1e-3) for image in alone)


def test_a_trial_holds_the_perturbations_it_reads(recipe: Recipe, tmp_path: Path) -> None:
    prepared = prepare(recipe)
    folder = prepared.stages[0].perturbations
    assert folder is not None
    long_ago = time.time() - 10_000
    os.utime(folder / "used", (long_ago, long_ago))
    run_trial(recipe, lambda report: None, directory=tmp_path / "trial", prepared=prepared)
    assert time.time() - (folder / "used").stat().st_mtime < 600


def test_who_makes_perturbations_reports_what_that_took(recipe: Recipe, tmp_path: Path) -> None:
    fresh = recipe.with_values({"attack.seed": 77, "schedule.epochs": 2})
    seconds = []
    for name in ("maker", "finder"):
        prepared = prepare(fresh)
        reports: list[Any] = []
        run_trial(fresh, lambda one: reports.append(one.metrics), directory=tmp_path / name, prepared=prepared)  # noqa: B023
        assert ATTACK_SECONDS not in reports[1]
        seconds.append((prepared.stages[0].attack_seconds, reports[0].get(ATTACK_SECONDS, 0.0)))
    assert seconds[0][0] == seconds[0][1] > 0
    assert seconds[1] == (0.0, 0.0)


class TestOnline:
    """Copies crafted while training are those of a store."""

    def curve(self, recipe: Recipe, directory: Path) -> list[Any]:
        found = []
        run_trial(recipe, lambda epoch: found.append(epoch.metrics), directory=directory, prepared=prepare(recipe))
        return [{name: value for name, value in one.items() if not name.startswith("seconds/")} for one in found]

    @pytest.mark.slow
    def test_a_training_is_the_same_where_the_attacked_batches_are(self, recipe: Recipe, tmp_path: Path) -> None:
        alone = recipe.with_values({"attack.batch_size": 1, "schedule.workers": 2, "schedule.epochs": 2})
        online = alone.with_values({"attack.store": "online"})
        assert prepare(online).stages[0].perturbations is None
        curves = [self.curve(one, tmp_path / one.attack.store) for one in (alone, online)]
        assert curves[0][0]["loss/adversarial"] > 0
        assert curves[0] == curves[1]
        assert not [key for key in curves[0][1] if key.startswith("loss/adv")], "the term has stopped"
        weaker = self.curve(online.with_values({"attack.eps": 1.0, "attack.step": 1.0}), tmp_path / "weaker")
        assert weaker[0]["loss/adversarial"] != curves[1][0]["loss/adversarial"]

    def test_it_is_another_training_and_the_way_of_before_has_the_name_of_before(self, recipe: Recipe) -> None:
        assert "store" not in recipe.effective()["teachers"][0]["attack"]
        assert recipe.with_values({"attack.store": "online"}).fingerprint() != recipe.fingerprint()

    def test_what_it_cannot_do_is_refused(self, recipe: Recipe) -> None:
        with pytest.raises(BadInput, match=r"attack\.store: should be 'disk' or 'online', but got 'memory'"):
            recipe.with_values({"attack.store": "memory"})
        online = recipe.with_values({"attack.store": "online"})
        with pytest.raises(BadInput, match=r"attack\.store: must be disk to make .* but got 'online'"):
            perturb(online)

    @pytest.mark.slow
    def test_masks_that_only_the_teacher_reads_are_there(
        self, tiny_recipe: Build, recipe: Recipe, tmp_path: Path
    ) -> None:
        detector = {"config": "ikd::mask_rcnn_r18", "arguments": {"base_channels": 4, "neck_channels": 16}}
        weights = save_untrained(tiny_recipe(), detector, tmp_path / "masks.pth")
        teacher = {**detector, "checkpoint": str(weights)}
        values = {"teachers.available": {"big": teacher}, "attack.batch_size": 1, "schedule.epochs": 1}
        disk = recipe.with_values(values)
        curves = [
            self.curve(one, tmp_path / one.attack.store) for one in (disk, disk.with_values({"attack.store": "online"}))
        ]
        assert curves[0] == curves[1]


def test_a_teacher_is_measured_once_for_its_weights_and_the_size(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(*arguments: Any) -> float:
        measured.append(arguments)
        return 0.25

    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))  # others have measured the same weights
    monkeypatch.setattr("ikd.training.sharing._measured", measure)
    quick = recipe.with_values({"adversarial.enabled": False})
    for one in (quick, quick.with_values({"seed": 3}), quick.with_values({"input.scale": [64, 64]})):
        assert [stage.score for stage in prepare(one).stages] == [0.25]
    assert len(measured) == 2


def test_a_teacher_that_predicts_no_boxes_teaches_unmeasured(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    quick = recipe.with_values({"adversarial.enabled": False})

    def fail(error: Exception) -> Any:
        def run(*_: Any, **__: Any) -> Any:
            raise error

        return run

    monkeypatch.setattr("ikd.training.sharing.run", fail(StopTrial()))
    with pytest.raises(StopTrial):
        prepare(quick)
    monkeypatch.setattr("ikd.training.sharing.run", fail(AttributeError("'InstanceData' object has no 'masks'")))
    for _ in range(2):  # measured, and remembered
        assert [stage.score for stage in prepare(quick).stages] == [None]
    assert "mAP not measured" in said_of_teacher("big", None)
