"""What the benchmark of the methods reads off the declarations of the losses."""

from __future__ import annotations

import pytest

from benchmarks.methods import OTHER_FACTORS, SUMMED, SUMMED_FACTORS, WEIGHTS, candidates, factors, strength
from ikd.config import HOSTS, load_recipe


def test_the_weights_of_every_host() -> None:
    assert WEIGHTS.keys() == HOSTS.keys()
    assert WEIGHTS["fgd"] == ["alpha", "beta", "gamma", "lambda_"]
    assert WEIGHTS["fbkd"] == ["w_feature", "w_attention"]
    assert WEIGHTS["dfmsd"] == ["alpha", "beta"]
    assert WEIGHTS["crosskd"] == ["w_cls", "w_reg"]  # beta is an exponent there
    assert all(WEIGHTS.values())


def test_sums_over_a_map_start_weaker() -> None:
    assert SUMMED == ("fgd", "mgd", "amd", "dmkd", "dfmsd", "adversarial")
    assert factors("adversarial") == SUMMED_FACTORS
    assert factors("pkd") == OTHER_FACTORS


def test_a_strength_scales_every_weight_and_nothing_else() -> None:
    recipe = load_recipe("small_dfmsd")
    dfmsd = recipe.distill.dfmsd
    alpha = {"distill.dfmsd.alpha": pytest.approx(dfmsd.alpha / 10)}
    assert strength(recipe, "dfmsd", 0.1) == alpha, "beta is alpha, and follows it"
    weighed = recipe.with_values({"distill.dfmsd.beta": 1.0})
    assert strength(weighed, "dfmsd", 0.1) == alpha | {"distill.dfmsd.beta": pytest.approx(0.1)}
    assert strength(recipe, "adversarial", 0.5) == {"adversarial.weight": recipe.adversarial.weight / 2}
    assert candidates(recipe).keys() == {*HOSTS, "adversarial"}
