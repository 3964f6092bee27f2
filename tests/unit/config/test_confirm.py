"""What a budget keeps for repeats and trainings apart: what follows from its size, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SearchSpace, load_recipe, shares_of
from ikd.errors import ConfigError
from tests.unit.config.written_spaces import load, refusal

WEIGHTS = "  adversarial.weight: {log_uniform: [1.0e-6, 1.0e-4]}"
SEEDS = "  seed: {int: [1, 9]}"


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("drawn_r18")


@pytest.mark.parametrize(
    ("rest", "repeats", "apart"),
    [
        ("budget: {trials: 15}", 0.0, 0),
        ("budget: {trials: 16}", 0.0, 2),
        ("budget: {trials: 30}", 0.1, 3),
        ("budget: {trials: 30, confirm: {apart: 5}}", 0.1, 5),
        ("budget: {trials: 30, confirm: {share: 0.2}}", 0.2, 3),
        ("budget: {trials: 30, confirm: {share: 0, apart: 0}}", 0.0, 0),
        ("budget: {trials: 100000, epochs: 180}", 0.1, 3),
        ("budget: {trials: 100000, epochs: 179}", 0.0, 2),
        ("budget: {trials: 100000, epochs: 95}", 0.0, 0),
        ("budget: {trials: 30, epochs: 95, confirm: {apart: 2}}", 0.0, 2),
        ("budget: {trials: 30}\ncosts: [gflops]", 0.0, 3),
        ("budget: {trials: 30}\nscheduler: {pbt: {}}", 0.0, 0),
    ],
)
def test_shares_follow_from_the_budget(rest: str, repeats: float, apart: int, tmp_path: Path) -> None:
    found = shares_of(load(tmp_path, WEIGHTS, rest), 6)
    assert (found.repeats, found.apart) == (repeats, apart)


REFUSED: list[tuple[str, str, str]] = [
    ("{apart: 1}", "", "apart: must be 0, or at least 2: one training has no spread, but got 1"),
    ("{apart: -1}", "", "apart: should be greater than or equal to 0, but got -1"),
    ("{apart: 2.5}", "", "apart: should be a valid integer"),
    ("{share: -0.1}", "", "share: should be greater than or equal to 0, but got -0.1"),
    ("{share: 0.6}", "", r"share: should be less than or equal to 0.5, but got 0.6"),
    ("{shares: 0.1}", "", "shares: "),
    ("0.1", "", "budget.confirm: "),
    (
        "{share: 0.01}",
        "",
        r"share: must be 0, or large enough for one of the 20 trials of budget.trials \(0.05\), but got 0.01",
    ),
    (
        "{apart: 9}",
        "",
        "apart: must leave at least 4 of the 20 trials of budget.trials for the search, anchors included, and takes 18: 9 "
        "kept apart of each of 2 sides, but got 9",
    ),
    ("{share: 0.5, apart: 5}", "", "takes 20: 10 repeats and 5 kept apart of each of 2 sides, but got 5"),
    ("{apart: 20}", "anchors: []", "must leave at least 1 of the 20 .* takes 20: 20 kept apart of each of 1 side"),
    ("{apart: 3}", "scheduler: {pbt: {}}", "apart: must be 0: values of a population change while it trains, but got 3"),
    ("{share: 0.1}", "scheduler: {pbt: {}}", "share: must be 0: values of a population change while it trains"),
    ("{share: 0.1}", "costs: [gflops]", "share: must be 0 with costs: repeats choose by the objective alone"),
]  # fmt: skip


@pytest.mark.parametrize(("confirm", "rest", "message"), REFUSED)
def test_what_the_budget_does_not_hold_is_refused(confirm: str, rest: str, message: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, WEIGHTS, f"budget:\n  trials: 20\n  confirm: {confirm}\n{rest}")
    assert re.search(rf"space\.yaml:6: budget\.confirm.*{message}", said) or re.search(rf":6: {message}", said), said


def test_epochs_hold_fewer(tmp_path: Path) -> None:
    text = "budget:\n  trials: 60\n  epochs: 40\n  confirm: {apart: 3}"
    message = "must leave at least 4 of the 6 trainings that the 40 epochs of budget.epochs are for the search"
    assert re.search(rf":7: budget\.confirm\.apart: {message}.*takes 6: 3 kept", refusal(tmp_path, WEIGHTS, text))
    assert load(tmp_path, WEIGHTS, text.replace("40", "66")).budget.confirm.apart == 3


def test_a_searched_seed_and_a_factorial_have_no_other_seeds(tmp_path: Path) -> None:
    for parameters, rest, why in (
        (SEEDS, "", "the seed is searched"),
        ("  augment.enabled: {choice: [true, false]}", "sampler: grid", "a full factorial has repeats of its own"),
    ):
        said = refusal(tmp_path, parameters, f"budget: {{trials: 20, confirm: {{apart: 2}}}}\n{rest}")
        assert f":4: budget.confirm.apart: must be 0: {why}" in said
        assert not shares_of(load(tmp_path, parameters, f"budget: {{trials: 20}}\n{rest}"), 6).acts


def test_seeds_must_have_room(tmp_path: Path) -> None:
    text = "set: {seed: 2147483600}\nbudget: {trials: 20}"
    assert "seed of the recipe: must be at most 2147383648: repeats" in refusal(tmp_path, WEIGHTS, text)
    assert load(tmp_path, WEIGHTS, text.replace("20}", "8}")).budget.trials == 8, "nothing is kept apart of so few"


def test_a_program_is_told_the_same(recipe: Recipe) -> None:
    content: dict[str, Any] = {
        "recipe": "drawn_r18",
        "parameters": {"adversarial.weight": {"log_uniform": [1e-6, 1e-4]}},
        "budget": {"trials": 8, "confirm": {"apart": 3}},
    }
    with pytest.raises(ConfigError, match=r"budget\.confirm\.apart: must leave at least 4 of the 8 trials .* takes 6"):
        SearchSpace.model_validate(content).checked(recipe)


def test_the_default_sampler_is_that_of_the_objectives(tmp_path: Path) -> None:
    assert load(tmp_path, WEIGHTS).sampler.kind == "effects"
    assert load(tmp_path, WEIGHTS, "costs: [gflops]").sampler.kind == "tpe"
    assert load(tmp_path, WEIGHTS, "costs: [gflops]\nsampler: gp").sampler.kind == "gp"
    assert "sampler.effects: goes with a single objective" in refusal(
        tmp_path, WEIGHTS, "costs: [gflops]\nsampler: effects"
    )
