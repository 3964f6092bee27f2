from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Domain, Recipe, SearchSpace
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.study.distributions import distribution_of, label
from ikd.trial import State
from tests.unit.sweep.conftest import make_space

HOST = {"distill.host": {"choice": ["fgd", "mgd"]}}


def record(
    number: int, values: dict[str, Any], value: float, state: State = "finished", print_: str = ""
) -> TrialRecord:
    reports = (Report(1, {"bbox_mAP": value}, 1.0, number),)
    return TrialRecord(
        number, "", (), values, True, print_ or str(number), Path(), state=state, metric=value, best_epoch=1,
        reports=reports,
    )  # fmt: skip


def draws(space: SearchSpace, recipe: Recipe, count: int, records: Sequence[TrialRecord] = ()) -> list[dict[str, Any]]:
    history, found = list(records), []
    for number in range(count):
        proposal = propose(space, recipe, history, number=len(records) + number)
        assert proposal is not None
        found.append(dict(proposal.values))
    return found


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [
        ({"uniform": [0.1, 0.7]}, 0.1, 0.7),
        ({"log_uniform": [1e-6, 1e-2]}, 1e-6, 1e-2),
        ({"int": [2, 9], "step": 3}, 2, 8),
        ({"uniform": [0.0, 1.0], "step": 0.3}, 0.0, 0.9),
    ],
)
def test_ranges_become_distributions_on_their_grid(domain: dict[str, Any], low: float, high: float) -> None:
    distribution: Any = distribution_of(Domain.model_validate_json(json.dumps(domain)))
    assert (distribution.low, distribution.high) == (low, pytest.approx(high))


def test_stepped_values_are_the_decimals_a_person_would_write(recipe: Recipe) -> None:
    space = make_space(parameters={"augment.crop.min_ratio": {"uniform": [0.1, 0.75], "step": 0.1}})
    wanted = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
    assert {one["augment.crop.min_ratio"] for one in draws(space, recipe, 60)} == wanted
    assert [one["augment.crop.min_ratio"] for one in space.settings(space.parameters)] == sorted(wanted)


def test_choices_of_lists_are_stored_as_json() -> None:
    assert label(["x101", "r101"]) == '["x101", "r101"]'
    assert label({"b": 1, "a": 2}) == '{"a": 2, "b": 1}'
    assert [label(value) for value in (None, True, 3, 0.5, "fgd")] == [None, True, 3, 0.5, "fgd"]


def test_a_list_is_proposed_as_a_list(recipe: Recipe) -> None:
    space = make_space(parameters={"input.scale": {"choice": [[96, 96], [128, 128]]}})
    assert {tuple(one["input.scale"]) for one in draws(space, recipe, 10)} == {(96, 96), (128, 128)}


def test_conditions_hold_in_every_proposal(recipe: Recipe) -> None:
    for values in draws(make_space(), recipe, 20):
        host = values["distill.host"]
        assert set(values) == {"distill.host", f"distill.{host}.alpha"}


def test_logarithmic_ranges_are_drawn_evenly_in_the_logarithm(recipe: Recipe) -> None:
    space = make_space(parameters={"adversarial.weight": {"log_uniform": [1e-6, 1e-2]}}, sampler={"random": {}})
    below = sum(one["adversarial.weight"] < 1e-4 for one in draws(space, recipe, 200))
    assert 70 <= below <= 130, "half lies below the geometric middle (four standard deviations)"


def test_a_proposal_depends_on_seed_number_and_history_alone(recipe: Recipe) -> None:
    space = make_space()
    assert draws(space, recipe, 3) == draws(space, recipe, 3)
    assert draws(space, recipe, 3) != draws(make_space(seed=1), recipe, 3)
    history = [record(n, {"distill.host": "mgd", "distill.mgd.alpha": 10.0**-n}, n / 10) for n in range(3, 8)]
    assert draws(space, recipe, 1, history) == draws(space, recipe, 1, history)


def test_tpe_prefers_the_good_region(recipe: Recipe) -> None:
    space = make_space(parameters={"adversarial.weight": {"log_uniform": [1e-6, 1e-2]}})
    grid = [10 ** (-6 + 4 * step / 29) for step in range(30)]
    history = [record(n, {"adversarial.weight": w}, 0.5 - 0.1 * abs(math.log10(w) + 5)) for n, w in enumerate(grid)]
    good = sum(1e-5 / 4 < one["adversarial.weight"] < 1e-5 * 4 for one in draws(space, recipe, 20, history))
    assert good >= 15, "a random sampler would put 6 of 20 there"


def test_tpe_leaves_the_region_that_diverges(recipe: Recipe) -> None:
    """The upper half diverges late, after good epochs; told by its epochs it would look better than stopped trials."""
    space = make_space(parameters={"adversarial.weight": {"log_uniform": [1e-6, 1e-2]}})
    grid = [10 ** (-6 + 4 * step / 29) for step in range(30)]
    history = [record(n, {"adversarial.weight": w}, 0.3, "diverged" if w > 1e-4 else "stopped")
               for n, w in enumerate(grid)]  # fmt: skip
    bad = sum(one["adversarial.weight"] > 1e-4 for one in draws(space, recipe, 30, history))
    assert bad <= 9, "a random sampler would put 15 of 30 there"


def test_startup_trials_are_random(recipe: Recipe) -> None:
    history = [record(n, {"adversarial.weight": 1e-5 * 1.01**n}, 0.5) for n in range(6)]
    parameters = {"adversarial.weight": {"log_uniform": [1e-6, 1e-2]}}
    model = draws(make_space(parameters=parameters, sampler={"tpe": {"startup_trials": 6}}), recipe, 5, history)
    start = draws(make_space(parameters=parameters, sampler={"tpe": {"startup_trials": 7}}), recipe, 5, history)
    fresh = draws(make_space(parameters=parameters, sampler={"random": {}}), recipe, 5, history)
    assert start == fresh
    assert model != start


def test_the_last_configuration_of_a_small_space_is_found(recipe: Recipe) -> None:
    parameters = {"attack.steps": {"choice": [1, 2, 3]}, "distill.host": {"choice": ["fgd", "mgd"]}}
    space = make_space(parameters=parameters)
    everything = list(space.settings(space.parameters))
    assert len(everything) == 6 == space.num_configurations()
    taken = [record(n, one, 0.1, "failed", recipe.with_values(one).fingerprint()) for n, one in enumerate(everything)]
    for left_out in range(6):
        rest = taken[:left_out] + taken[left_out + 1 :]
        proposal = propose(space, recipe, rest)
        assert proposal is not None
        assert dict(proposal.values) == everything[left_out]
    assert propose(space, recipe, taken) is None


def test_values_that_act_the_same_are_one_configuration(recipe: Recipe) -> None:
    """Without the adversarial term the attack does not act, so three values of it are one configuration."""
    base = recipe.with_values({"adversarial.enabled": False})
    space = make_space(parameters={"attack.steps": {"choice": [1, 2, 3]}})
    first = propose(space, base, [])
    assert first is not None
    assert propose(space, base, [record(0, dict(first.values), 0.1, print_=first.recipe.fingerprint())]) is None


def test_combinations_the_recipe_refuses_are_not_proposed(recipe: Recipe) -> None:
    parameters = {"attack.eps": {"choice": [1, 2, 4]}, "attack.step": {"choice": [1, 2, 4]}}
    for values in draws(make_space(parameters=parameters), recipe, 20):
        assert values["attack.step"] <= values["attack.eps"]


def test_the_paper_is_a_point_of_the_space_when_it_lies_inside(recipe: Recipe) -> None:
    paper, alone = anchor_proposals(make_space(), recipe)
    assert (paper.anchors, alone.anchors) == (("paper",), ("student_alone",))
    assert paper.in_space
    assert paper.values == {"distill.host": "fgd", "distill.fgd.alpha": recipe.distill.fgd.alpha}
    assert not alone.in_space
    assert alone.recipe.fingerprint() == recipe.student_alone().fingerprint()
    outside = make_space(
        parameters=HOST | {"distill.fgd.alpha": {"uniform": [0.5, 1.0], "when": {"distill.host": "fgd"}}}
    )
    paper, _ = anchor_proposals(outside, recipe)
    assert not paper.in_space
    assert paper.recipe.fingerprint() == recipe.fingerprint()


def test_equal_anchors_are_one_trial(recipe: Recipe) -> None:
    (only,) = anchor_proposals(make_space(parameters={}), recipe.student_alone())
    assert only.anchors == ("paper", "student_alone")
