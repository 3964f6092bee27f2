"""Every row of Tables 1 and 7 of Global Knowledge that our methods can train: the recipe says what the paper does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, load_recipe, recipe_names
from ikd.training import EpochReport, run_trial
from tests.contracts.test_coco_recipe import small

PUBLISHED = {
    "method": "greedy",
    "count": 10,
    "strength": 10.0,
    "bandwidth": 0.1,
    "quantile": 0.4,
    "images_per_class": 800,
    "min_side": 30.0,
    "every": 1.0,
    "coefficients": "cosine",
    "global_weight": 5.0,
    "feature_weight": 1.0,
    "background_weight": 4.0,
    "response_temperature": 2.0,
    "attenuate": True,
}
TEACHERS = {"faster_rcnn": "faster_rcnn_r101", "retinanet": "retinanet_r101"}
COMPARED = {
    **{f"gk_table1_faster_rcnn_{host}": host for host in ("fgfi", "defeat", "fbkd", "gid")},
    **{f"gk_table1_retinanet_{host}": host for host in ("fgfi", "defeat", "fbkd", "frs", "rmpfi", "gid")},
    "gk_table7_faster_rcnn_fbkd": "fbkd",
}
OURS = {
    **{f"gk_table1_{kind}": teacher for kind, teacher in TEACHERS.items()},
    "gk_table7_faster_rcnn": "cascade_mask_x101",
}
ALONE = tuple(f"gk_table1_{kind}_control" for kind in TEACHERS)


def settings(recipe: Recipe) -> dict[str, Any]:
    return recipe.distill.prototypes.model_dump(include={*PUBLISHED, "response_weight", "space"})


def test_every_row_has_its_recipe_and_no_other() -> None:
    shipped = {name for name in recipe_names() if name.startswith(("gk_table1_", "gk_table7_"))}
    assert shipped == {*OURS, *COMPARED, *ALONE}


@pytest.mark.parametrize("name", OURS)
def test_rows_of_global_knowledge_have_the_published_values(name: str) -> None:
    recipe = load_recipe(name)
    two_stages = "faster_rcnn" in name
    assert recipe.distill.host == "none"
    assert recipe.distill.prototypes.enabled
    paired = two_stages and recipe.teachers.stages[0].teacher != "cascade_mask_x101"
    expected = PUBLISHED | {"response_weight": 1.0 if paired else 0.0, "space": "teacher"}
    assert settings(recipe) == expected
    assert [stage.teacher for stage in recipe.teachers.stages] == [OURS[name]]
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.batch_size, schedule.clip) == (24, 16, None)
    assert schedule.optimizer.lr == (0.02 if two_stages else 0.01)
    assert schedule.warmup.iterations == 500
    assert not recipe.student.inherit


@pytest.mark.parametrize("name", COMPARED)
def test_rows_that_it_is_compared_with_have_no_prototypes(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.distill.host, recipe.distill.prototypes.enabled) == (COMPARED[name], False)
    assert recipe.student.checkpoint is None


@pytest.mark.parametrize("kind", TEACHERS)
def test_the_control_of_a_students_own_checkpoint_is_the_anchor(kind: str) -> None:
    recipe, control = load_recipe(f"gk_table1_{kind}"), load_recipe(f"gk_table1_{kind}_control")
    assert "coco" in str(recipe.student.checkpoint)
    assert control.student.checkpoint == recipe.student.checkpoint
    assert control.fingerprint() == recipe.anchor("student_alone").fingerprint()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gk_table1_faster_rcnn", "gk_table1_retinanet", "gk_table7_faster_rcnn"])
def test_rows_take_their_steps(session_home: Path, tiny_data: Path, tmp_path: Path, name: str) -> None:
    own = {"student.checkpoint": None, "distill.prototypes.min_side": 4.0}
    recipe = small(name, tiny_data, tmp_path, **own)
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=tmp_path / "trial")
    losses = {key for key in reports[0].metrics if key.startswith("loss/prototypes")}
    parts = ("global", "feature", "response") if recipe.distill.prototypes.response_weight else ("global", "feature")
    assert losses == {f"loss/prototypes_{part}" for part in parts}
