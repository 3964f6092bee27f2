"""The spaces of response terms and of two stages: every weight is searched, and what they draw trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ikd.config import Recipe, load_sweep, loss_weights
from ikd.config.space.search import Random, Sampler
from ikd.data import DataFiles
from ikd.detectors import build_detector, freeze
from ikd.sweep.proposals.search import propose
from ikd.training.model import build_model
from ikd.training.teachers.loading import model_config

ROOT = Path(__file__).resolve().parents[3]
OTHERS = ("distill.response.kd_detr.", "distill.response.crosskd.roi.")
OF_DENSE = {name for name in loss_weights() if name.startswith("distill.response.") and not name.startswith(OTHERS)}
UNSEARCHED = {"distill.response.dense_teacher.w_quality", "distill.crosskd.roi.w_mask"}
"""Of qualities, which GFL has none of, and of masks."""


def draws(name: str, data: Path, count: int) -> list[Recipe]:
    given = load_sweep(ROOT / "search_spaces" / f"{name}.yaml", values={"data.root": str(data)})
    space = given.space.model_copy(update={"sampler": Sampler(random=Random())})
    found = [propose(space, given.recipe, [], number=number) for number in range(count)]
    return [one.recipe for one in found if one is not None]


def test_every_weight_is_searched() -> None:
    response = load_sweep(ROOT / "search_spaces" / "response.yaml").space.parameters
    assert set(response) >= OF_DENSE - UNSEARCHED
    staged = load_sweep(ROOT / "search_spaces" / "two_stage.yaml").space.parameters
    assert set(staged) >= {one for one in loss_weights() if one.startswith("distill.crosskd.roi.")} - UNSEARCHED
    for name in {*response, *staged}:
        assert (response.get(name) or staged[name]).prior is not None, name


def test_several_terms_act_at_once_with_weights_of_their_own(tiny_data: Path) -> None:
    recipes = draws("response", tiny_data, 40)
    assert len({one.fingerprint() for one in recipes}) > 30
    assert max(len(one.distill.response.active) for one in recipes) > 2
    for name in OF_DENSE - UNSEARCHED:
        assert len({one.value(name) for one in recipes}) > 5, name


@pytest.mark.parametrize("name", ["response", "two_stage"])
def test_what_is_drawn_can_be_made(name: str, tiny_data: Path) -> None:
    kinds = set()
    for recipe in draws(name, tiny_data, 8):
        files, plan = DataFiles.of(recipe), recipe.stages[0]
        assert plan.recipe.teacher is not None
        torch.manual_seed(0)
        teacher = freeze(build_detector(model_config(plan.recipe.teacher, files.classes)))
        kinds |= set(build_model(plan.recipe, files, teacher).terms.names)
    assert kinds >= ({"bckd", "ld", "logits"} if name == "response" else {"crosskd"})
