"""Recipes with KD-DETR: from the fields to a trial, cut short and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ikd.config import Recipe, load_recipe
from ikd.errors import BadInput, ConfigError
from ikd.training import EpochReport, StopTrial, resumable, run_trial
from tests.unit.training.untrained import save_untrained

SMALL = {"base_channels": 4, "neck_channels": 16, "queries": 10, "layers": 1}


TEACHER = {"config": "ikd::dino_r18", "arguments": {**SMALL, "base_channels": 8}}


@pytest.fixture
def recipe(session_home: Path, tiny_data: Path, tmp_path: Path) -> Recipe:
    """Return small_kd_detr smaller still, its teacher untrained."""
    values = {
        "data.root": str(tiny_data),
        "student.arguments": SMALL,
        "teachers.sequence": ["big"],
        "input.scale": [96, 96],
        "schedule.epochs": 2,
        "distill.response.kd_detr.general": 6,
    }
    base = load_recipe("small_kd_detr", values | {"teachers.available": {"big": TEACHER | {"checkpoint": "none.pth"}}})
    file = save_untrained(base, TEACHER, tmp_path / "teacher.pth")
    return base.with_values({"teachers.available": {"big": TEACHER | {"checkpoint": str(file)}}})


@pytest.mark.slow
def test_a_trial_goes_on_bit_equal_where_it_was_cut(recipe: Recipe, tmp_path: Path) -> None:
    whole = run_trial(recipe, directory=tmp_path / "whole", threads=1)
    assert whole.last_metrics["loss/kd_detr_specific_cls"] > 0
    assert whole.last_metrics["loss/kd_detr_general_giou"] > 0

    def stop(report: EpochReport) -> None:
        raise StopTrial

    run_trial(recipe, stop, directory=tmp_path / "cut", threads=1)
    again = run_trial(recipe, checkpoint=resumable(tmp_path / "cut"), directory=tmp_path / "cut", threads=1)
    ours, theirs = (torch.load(one.last, weights_only=True)["model"] for one in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pairs_are_refused_before_training(recipe: Recipe, tmp_path: Path) -> None:
    wide = recipe.with_values({"student.arguments": SMALL | {"neck_channels": 32}})
    with pytest.raises(BadInput, match=r"distill\.response\.kd_detr: must be .*equal embed_dims .*\[32, 16\]"):
        run_trial(wide, directory=tmp_path, threads=1)


def test_no_queries_at_all_are_refused() -> None:
    nothing = {"distill.response.kd_detr.specific": False, "distill.response.kd_detr.general": 0}
    with pytest.raises(ConfigError, match=r"kd_detr.*general.*must be above 0, or specific true"):
        load_recipe("small_kd_detr", nothing)
    assert load_recipe("small_kd_detr", nothing | {"distill.response.kd_detr.enabled": False})
    with pytest.raises(ConfigError, match=r"kd_detr.*general"):
        load_recipe("small_kd_detr", {"distill.response.kd_detr.general": -1})


def test_what_the_class_loss_does_not_read_makes_no_other_recipe() -> None:
    base = "distill.response.kd_detr."
    recipe = load_recipe("small_kd_detr")
    assert recipe.with_values({base + "gamma": 2.0}).fingerprint() != recipe.fingerprint()
    for values, other in (
        ({"class_loss": "kl"}, {"gamma": 2.0}),
        ({"published": True}, {"gamma": 2.0, "class_loss": "kl"}),
    ):
        one, two = ({base + key: value for key, value in each.items()} for each in (values, {**values, **other}))
        assert recipe.with_values(one).fingerprint() == recipe.with_values(two).fingerprint()
