"""What the benchmark of the methods reads off the declarations of the losses."""

from __future__ import annotations

import pytest

from benchmarks.methods import (
    CHOICE_SEED,
    OTHER_FACTORS,
    STUDENTS,
    SUMMED,
    SUMMED_FACTORS,
    TERMS,
    WEIGHTS,
    candidates,
    factors,
    made,
    rows,
    strength,
    table,
)
from ikd.config import HOSTS, RESPONSES, load_recipe


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
    assert candidates(recipe).keys() == {*HOSTS, *RESPONSES, "adversarial"}


def test_a_response_term_stands_alone_and_its_weights_are_scaled() -> None:
    recipe = load_recipe("small_rtmdet")
    (first, second) = candidates(recipe, ["bckd"])["bckd"]
    assert (first.name, second.name) == ("bckd x1", "bckd x0.1")
    trained = made(recipe, second, 0)
    assert trained.distill.host == "none"
    assert trained.distill.response.active == ("bckd",)
    assert (trained.distill.response.bckd.w_cls, trained.distill.response.bckd.w_loc) == pytest.approx((0.1, 0.4))
    assert [row.name for row in rows(recipe, {"bckd": 1.0, "pkd": 1.0})] == ["pkd", "bckd"]


def test_the_students_of_a_table_are_alike() -> None:
    for names in STUDENTS.values():
        recipes = [load_recipe(name) for name in names]
        assert len({one.student_alone().fingerprint() for one in recipes}) == 1, "one floor for all of its tables"


def test_rows_are_those_of_what_a_strength_was_chosen_for() -> None:
    recipe = load_recipe("small_dfmsd")
    names = [row.name for row in rows(recipe, {"gid": 1.0, "icd": 0.1})]
    assert names == ["gid", "icd"]
    both = [row.name for row in rows(recipe, {"icd": 0.1, "adversarial": 0.1})]
    assert both == ["ikd alone", "icd", "icd + ikd"]
    everything = (*WEIGHTS, *TERMS, "adversarial")
    assert len(rows(recipe, dict.fromkeys(everything, 1.0))) == 1 + 2 * (len(WEIGHTS) - 1 + len(TERMS)) + 4


def test_no_seed_that_judges_has_chosen_and_the_table_says_what_is_there() -> None:
    recipe = load_recipe("small_dfmsd")
    listed = rows(recipe, {"gid": 1.0, "icd": 1.0})
    chosen = made(recipe, listed[0], CHOICE_SEED).fingerprint()
    assert chosen not in {made(recipe, row, seed).fingerprint() for row in listed for seed in range(10)}
    value = {"bbox_mAP": 0.3, "bbox_APs": 0.1, "bbox_APm": 0.2, "bbox_APl": 0.4, "cpu_seconds": 3.0}
    results = {recipe.student_alone().with_values({"seed": 0}).fingerprint(): {**value, "cpu_seconds": 2.0}}
    results |= {made(recipe, listed[0], seed).fingerprint(): value for seed in range(2)}
    lines = table(recipe, listed, results, 3).splitlines()
    assert lines[2].startswith("| student alone | 1 | 30.0 ± 0.0 |")
    assert lines[3].startswith("| gid | 2 | 30.0 ± 0.0 |")
    assert lines[3].endswith("| 1.50 |")
    assert lines[4] == "| icd | 0 | not measured | | | | |"
