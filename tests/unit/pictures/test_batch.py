"""The batch is shown as it was trained on, with the columns that the recipe has."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.config import Recipe
from ikd.data import DataFiles
from ikd.pictures import batch
from ikd.pictures.grid import Cell
from ikd.pictures.style import drawing
from ikd.training import prepare, train_loader
from tests.unit.pictures.conftest import Trained

Rows = Sequence[Sequence[Cell]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Recipe], tuple[Rows, list[str]]]:
    """Gives the cells that are drawn of a recipe's batch, and what is said of it."""

    def draw(recipe: Recipe) -> tuple[Rows, list[str]]:
        taken: list[Rows] = []
        monkeypatch.setattr(batch, "write_grid", lambda path, rows, **texts: taken.append(rows))
        with drawing():
            said = batch.write_batch(tmp_path / "batch.jpg", recipe, DataFiles.of(recipe))
        return taken[0], said

    return draw


def captions(rows: Rows) -> list[str]:
    return [cell.caption.partition(":")[0].partition(" x")[0] for cell in rows[0]]


def test_a_student_alone_has_two_columns(drawn: Callable[[Recipe], tuple[Rows, list[str]]], trained: Trained) -> None:
    rows, said = drawn(trained.recipe)
    assert captions(rows) == ["clean", "trained on"]
    assert len(rows) == batch.ROWS
    assert said == []
    for clean, own in rows:
        assert own.caption == "trained on: as it is"
        assert clean.picture is not None
        assert own.picture is not None


@pytest.mark.slow
def test_noise_crops_and_perturbations_are_told_and_only_they_differ(
    drawn: Callable[[Recipe], tuple[Rows, list[str]]], tiny_recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(augment__area_threshold=2000)
    prepare(recipe)
    samples = list[batch.Sample]()
    sample = batch._sample

    def noted(*arguments: Any) -> batch.Sample:
        samples.append(sample(*arguments))
        return samples[-1]

    monkeypatch.setattr(batch, "_sample", noted)
    monkeypatch.setattr(batch, "ROWS", 16)
    rows, said = drawn(recipe)
    assert said == []
    assert captions(rows) == ["clean", "trained on", "perturbed against big", "its change"]
    told = [one.said for one in samples]
    assert any(one.startswith("noise σ 0.08") for one in told), told
    assert any(one.startswith("cropped") for one in told), told
    for one in samples:
        assert one.adversarial is not None
        delta = one.adversarial.astype(int) - one.clean.astype(int)
        assert 0 < np.abs(delta).max() <= recipe.attack.eps, "flipped and cropped alike"
        if not one.said.startswith("noise"):
            assert (one.trained == one.clean).all()
        else:
            assert np.abs(one.trained.astype(int) - one.clean.astype(int)).mean() > 5


def test_the_first_images_are_those_that_were_trained_on_first(tiny_recipe: Callable[..., Any]) -> None:
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    recipe = tiny_recipe()
    made = prepare(recipe)
    plan, stage = recipe.stages[0], made.stages[0]
    config = train_loader(plan, made.files, perturbations=stage.perturbations, boxes=None, with_masks=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        loader = Runner.build_dataloader(config, recipe.seed)
    loader.batch_sampler.sampler.set_epoch(0)
    loader.dataset.start_epoch(0)
    first = next(iter(loader))
    samples = batch.samples_of(recipe, plan, made.files, stage)
    for one, pixels in zip(samples, first["inputs"], strict=False):
        assert (one.trained == pixels.numpy()[::-1].transpose(1, 2, 0)).all()


def test_perturbations_that_have_gone_are_left_out_with_a_line(
    drawn: Callable[[Recipe], tuple[Rows, list[str]]], tiny_recipe: Callable[..., Any]
) -> None:
    recipe = tiny_recipe(attack__seed=77)
    (folder,) = [one.perturbations for one in prepare(recipe).stages]
    assert folder is not None
    shutil.rmtree(folder)
    rows, said = drawn(recipe)
    assert captions(rows) == ["clean", "trained on"]
    assert said == ["batch.jpg: is without perturbed images: the store of perturbations is no longer there"]


@pytest.mark.parametrize(("form", "expected"), [("replaced", False), ("added", True)])
def test_masking_enhancement_has_a_column_where_it_makes_copies(
    form: str, expected: bool, drawn: Callable[[Recipe], tuple[Rows, list[str]]], tiny_recipe: Callable[..., Any]
) -> None:
    enhanced = {"distill__me__enabled": True, "distill__me__form": form, "distill__host": "dfmsd"}
    recipe = tiny_recipe(adversarial__enabled=False, **enhanced)
    prepare(recipe)
    rows, said = drawn(recipe)
    assert said == []
    assert ("enhanced copy" in captions(rows)) == expected


def test_what_is_crafted_while_training_is_crafted_for_the_picture(
    drawn: Callable[[Recipe], tuple[Rows, list[str]]], trained: Trained
) -> None:
    recipe = trained.taught(**{"adversarial.enabled": True, "attack.store": "online", "attack.steps": 1})
    rows, said = drawn(recipe)
    assert captions(rows) == ["clean", "trained on", "perturbed against itself", "its change"]
    assert said == []
