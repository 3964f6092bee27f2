"""Which pipeline acts in which epoch; a sample depends on (seed, epoch, index) alone, whatever is pasted into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

from ikd.augment import TeacherBoxes
from ikd.config import Recipe
from ikd.data import DataFiles, image_digest
from ikd.errors import BadInput, ConfigError
from ikd.training import prepare
from ikd.training.loaders import Phase, phases, train_loader

Build = Callable[..., Recipe]
ENHANCED = {"distill__me__enabled": True}
TWO = {"teachers__sequence": ["big", "big"], "schedule__epochs": 8}


def acting(recipe: Recipe, stage: int = 0) -> str:
    """Write what acts in each epoch of a stage: r noise and crop, a adversarial copies, b both, - nothing."""
    plan = recipe.stages[stage]
    found = phases(plan)
    assert found[0].first == plan.first - 1
    text = ""
    for epoch in range(plan.first - 1, plan.last):
        now = [phase for phase in found if phase.first <= epoch][-1]
        text += "-rab"[now.alters + 2 * now.attacks]
    return text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "bbbbb---"),
        ({"augment__stop_fraction": 1.0}, "bbbbbbbb"),
        ({"augment__stop_fraction": 0.0}, "--------"),
        ({**ENHANCED}, "bbbbbrrr"),  # the adversarial term stops, enhancement does not
        ({**ENHANCED, "augment__stop_fraction": 0.0}, "rrrrrrrr"),
        ({**ENHANCED, "augment__stop_fraction": 1.0}, "bbbbbbbb"),
        ({**ENHANCED, "distill__me__stop_fraction": 0.25, "augment__stop_fraction": 0.5}, "bbaa----"),
        ({**ENHANCED, "distill__me__stop_fraction": 0.0, "augment__stop_fraction": 0.5}, "aaaa----"),
        ({**ENHANCED, "distill__me__stop_fraction": 0.5, "augment__stop_fraction": 0.5}, "bbbb----"),
        ({"distill__me__stop_fraction": 0.25}, "bbbbb---"),  # enhancement is off
    ],
)
def test_the_two_ends_of_a_stage(tiny_recipe: Build, changes: dict[str, Any], expected: str) -> None:
    recipe = tiny_recipe(**{"schedule__epochs": 8, "augment__stop_fraction": 0.6667, **changes})
    assert acting(recipe) == expected


def test_fractions_count_within_a_stage(tiny_recipe: Build) -> None:
    recipe = tiny_recipe(**TWO, **ENHANCED, augment__stop_fraction=0.5, distill__me__stop_fraction=0.75)
    assert [acting(recipe, 0), acting(recipe, 1)] == ["bb--", "bbr-"]
    assert phases(recipe.stages[1]) == [
        Phase(4, alters=True, attacks=True),
        Phase(6, alters=True, attacks=False),
        Phase(7, alters=False, attacks=False),
    ]


def data_of(recipe: Recipe, tmp_path: Path, stage: int = 0) -> Any:
    files = DataFiles.of(recipe)
    ids = map(image_digest, files.train_images.iterdir())
    boxes = tmp_path / "boxes.npz"
    TeacherBoxes.write(boxes, dict.fromkeys(ids, np.array([[0, 0, 128, 128, 1.0]], np.float32)))
    config = train_loader(recipe.stages[stage], files, perturbations=None, boxes=boxes, with_masks=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return DATASETS.build(config["dataset"])


def test_the_data_follow_the_phases(tiny_recipe: Build, tmp_path: Path) -> None:
    """Every image is cropped while enhancement acts, counted from the start of the training."""
    recipe = tiny_recipe(**TWO, **ENHANCED, distill__me__stop_fraction=0.5, adversarial__enabled=False)
    samples = data_of(recipe, tmp_path, stage=1)
    found = []
    for epoch in range(4, 8):
        samples.start_epoch(epoch)
        found.append([sample["data_samples"].metainfo.get("altered") for sample in (samples[0], samples[5])])
    assert found == [["crop", "crop"]] * 2 + [[None, None]] * 2


PASTED = {"input__copy_paste": {"enabled": True, "probability": 1.0, "by": "box"}, "adversarial__enabled": False}


def images_of(samples: Any, indices: list[int], epoch: int) -> list[torch.Tensor]:
    samples.start_epoch(epoch)
    return [samples[index]["inputs"] for index in indices]


def test_a_sample_depends_on_seed_epoch_and_index_alone(tiny_recipe: Build, tmp_path: Path) -> None:
    samples = data_of(tiny_recipe(**PASTED), tmp_path)
    one = images_of(samples, [0, 1, 2, 3], 0)
    np.random.rand(7)
    again = images_of(samples, [3, 2, 1, 0], 0)[::-1]
    assert all(torch.equal(*pair) for pair in zip(one, again, strict=True))
    later = images_of(samples, [0, 1, 2, 3], 1)
    assert not all(one.shape == two.shape and torch.equal(one, two) for one, two in zip(one, later, strict=True))
    other = images_of(data_of(tiny_recipe(**PASTED, seed=1), tmp_path), [0, 1, 2, 3], 0)
    assert not all(one.shape == two.shape and torch.equal(one, two) for one, two in zip(one, other, strict=True))


def test_partners_differ_and_without_copy_paste_nothing_is_drawn_for_them(tiny_recipe: Build, tmp_path: Path) -> None:
    samples = data_of(tiny_recipe(**PASTED), tmp_path)
    samples.pipeline = lambda entry: entry
    entries = [samples.prepare_data(index) for index in range(12)]
    assert [one["img_id"] for one in entries] == [samples.get_data_info(index)["img_id"] for index in range(12)]
    assert len({one["partner"]["img_id"] for one in entries}) > 4
    plain = data_of(tiny_recipe(adversarial__enabled=False), tmp_path)
    plain.pipeline = lambda entry: entry
    np.random.seed(0)
    before = np.random.rand()
    np.random.seed(0)
    assert "partner" not in plain.prepare_data(0)
    assert np.random.rand() == before


def test_outlines_are_asked_for_before_training(tiny_recipe: Build, tiny_data: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_data / "train.json").read_text())
    content["annotations"][0].pop("segmentation")
    (tmp_path / "train.json").write_text(json.dumps(content))
    for name in ("val.json", "images"):
        (tmp_path / name).symlink_to(tiny_data / name)
    own = {"data__root": str(tmp_path), "teachers__sequence": [], "distill__host": "none", "student__inherit": False}
    alone = {**own, "adversarial__enabled": False, "augment__enabled": False}
    by_mask = tiny_recipe(**alone, input__copy_paste={"enabled": True})
    with pytest.raises(
        BadInput,
        match=r"input\.copy_paste\.by: needs a segmentation of every box that gives a mask, which 1 boxes .*by box",
    ):
        prepare(by_mask)
    prepare(tiny_recipe(**alone, input__copy_paste={"enabled": True, "by": "box"}))
    prepare(tiny_recipe(**alone))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input__cutout": {"holes": 0}}, r"input\.cutout\.holes: should be greater than or equal to 1, but got 0"),
        ({"input__cutout": {"ratio": 0.0}}, r"input\.cutout\.ratio: should be greater than 0, but got 0"),
        ({"input__cutout": {"ratio": 1.5}}, r"input\.cutout\.ratio: should be less than or equal to 1, but got 1\.5"),
        ({"input__cutout": {"probability": 2.0}}, r"input\.cutout\.probability: should be less than or equal to 1"),
        ({"input__cutout": {"hole": 1}}, r"input\.cutout\.hole: is not a field here; did you mean 'holes'"),
        ({"input__copy_paste": {"by": "hand"}}, r"input\.copy_paste\.by: should be 'mask' or 'box', but got 'hand'"),
        ({"input__copy_paste": {"objects": 0}}, r"input\.copy_paste\.objects: should be greater than or equal to 1"),
        ({"input__copy_paste": {"probability": -0.1}}, r"input\.copy_paste\.probability: should be greater than or"),
    ],
)
def test_bad_settings_are_refused_with_field_and_reason(
    tiny_recipe: Build, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_recipe(**changes)


@pytest.mark.parametrize("section", ["cutout", "copy_paste"])
def test_what_is_switched_off_is_no_other_recipe(tiny_recipe: Build, section: str) -> None:
    assert tiny_recipe(**{f"input__{section}__probability": 0.9}).fingerprint() == tiny_recipe().fingerprint()
    on = {f"input__{section}__enabled": True}
    other = tiny_recipe(**on, **{f"input__{section}__probability": 0.9})
    assert len({one.fingerprint() for one in (tiny_recipe(), tiny_recipe(**on), other)}) == 3
