"""Every row of Tables 3 to 6 of Global Knowledge: the recipe says what the paper does."""

from __future__ import annotations

from typing import Any

import pytest

from ikd.config import load_recipe, recipe_names
from tests.contracts.test_gk_tables import PUBLISHED, settings

NONE = {"global_weight": 0.0, "feature_weight": 0.0, "response_weight": 0.0}


def number(name: str) -> float:
    """Return the number in the name of a recipe."""
    return float(name.replace("_", "."))


OF_TABLE_3: dict[str, dict[str, Any]] = {
    "gk_table3_all": {},
    "gk_table3_global": {"feature_weight": 0.0, "response_weight": 0.0},
    "gk_table3_feature": {"global_weight": 0.0, "response_weight": 0.0},
    "gk_table3_response": {"global_weight": 0.0, "feature_weight": 0.0},
    "gk_table3_global_feature": {"response_weight": 0.0},
    "gk_table3_global_response": {"feature_weight": 0.0},
    "gk_table3_feature_response": {"global_weight": 0.0},
    **{
        f"gk_table5_feature_{name}": {"feature_weight": float(name.replace("_", "."))} for name in ("0_1", "0_5", "1_2")
    },
    **{
        f"gk_table5_response_{name}": {"response_weight": float(name.replace("_", "."))}
        for name in ("0_5", "0_8", "1_5")
    },
    **{f"gk_table5_global_{value}": {"global_weight": float(value)} for value in (1, 10, 20)},
    **{f"gk_table5_strength_{value}": {"strength": float(value)} for value in (1, 50, 100)},
    **{f"gk_table5_count_{value}": {"count": value} for value in (1, 5, 20)},
    "gk_table5_every_0_5": {"every": 0.5},
    **{f"gk_table5_every_{value}": {"every": float(value)} for value in (2, 3)},
    **{
        f"gk_table6_{method}_{space}": {"method": method, "space": space}
        for method in ("kmeans", "dbscan")
        for space in ("student", "teacher")
    },
    "gk_table6_ambiguous": {"method": "ambiguous"},
}
WITHIN = ("defeat", "rkd", "vkd")
COMPARED = {f"gk_table4_{host}": host for host in WITHIN}
ALONE = ("gk_table3_student",)


def test_every_row_has_its_recipe_and_no_other() -> None:
    coupled = {f"gk_table4_{host}_prototypes" for host in WITHIN}
    ours = {*OF_TABLE_3, *COMPARED, *ALONE, *coupled}
    other = ("gk_table1_", "gk_table2_", "gk_table7_", "gk_table8_")  # which have tests of their own
    assert {name for name in recipe_names() if name.startswith("gk_") and not name.startswith(other)} == ours


def test_the_whole_is_table_2_for_half_the_epochs() -> None:
    whole = load_recipe("gk_table3_all")
    assert settings(whole) == PUBLISHED | {"response_weight": 1.0, "space": "teacher"}
    table_2 = load_recipe("gk_table2_faster_rcnn").with_values({"schedule.epochs": 12})
    assert whole.fingerprint() == table_2.fingerprint()


def test_rows_of_one_stage_compare_no_class_scores() -> None:
    assert load_recipe("gk_table2_retinanet").distill.prototypes.response_weight == 0


@pytest.mark.parametrize("name", OF_TABLE_3)
def test_rows_of_tables_3_5_and_6_differ_from_the_whole_in_one_thing(name: str) -> None:
    recipe, whole = load_recipe(name), load_recipe("gk_table3_all")
    assert settings(recipe) == settings(whole) | OF_TABLE_3[name]
    back = {f"distill.prototypes.{key}": value for key, value in settings(whole).items()}
    assert recipe.with_values(back).fingerprint() == whole.fingerprint()
    assert recipe.total_epochs == 12


@pytest.mark.parametrize("name", COMPARED)
def test_rows_that_it_is_compared_with_have_no_prototypes(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.distill.host, recipe.distill.prototypes.enabled) == (COMPARED[name], False)
    assert recipe.student.checkpoint is None


@pytest.mark.parametrize("host", WITHIN)
def test_rows_of_table_4_differ_in_prototypes_within_the_host(host: str) -> None:
    recipe, without = load_recipe(f"gk_table4_{host}_prototypes"), load_recipe(f"gk_table4_{host}")
    assert recipe.distill.prototypes.couples
    assert settings(recipe) == PUBLISHED | NONE | {"space": "teacher"}
    assert recipe.with_values({"distill.prototypes.enabled": False}).fingerprint() == without.fingerprint()
