"""What a validation measures, and what may be searched for by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikd.config import load_recipe
from ikd.errors import ConfigError
from tests.unit.config.written_spaces import load, refusal

SEED = "  seed: {int: [1, 8]}\n"


@pytest.mark.parametrize("wrong", [[], ["segm"], ["bbox", "bbox"]])
def test_boxes_are_always_validated_and_nothing_twice(wrong: list[str]) -> None:
    with pytest.raises(ConfigError, match="validate: must hold bbox, and nothing twice"):
        load_recipe("drawn_r18", {"validate": wrong})


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"validate.*: should be 'bbox', 'segm' or 'voc'"):
        load_recipe("drawn_r18", {"validate": ["bbox", "keypoints"]})


def test_what_is_validated_is_part_of_what_a_trial_is() -> None:
    recipe = load_recipe("small_mask_rcnn")
    assert recipe.with_values({"validate": ["bbox", "segm"]}).fingerprint() != recipe.fingerprint()


@pytest.mark.parametrize("metric", ["bbox_ARs", "bbox_ARm", "bbox_ARl"])
def test_recall_by_size_may_be_the_objective(tmp_path: Path, metric: str) -> None:
    assert load(tmp_path, SEED, f"objective: {{metric: {metric}}}\n").objective.metric == metric


def test_an_objective_of_masks_needs_their_validation(tmp_path: Path) -> None:
    objective = "objective: {metric: segm_mAP}\n"
    said = refusal(tmp_path, SEED, objective)
    assert "objective.metric: needs segm in the recipe's validate, which is ['bbox']" in said
    values: dict[str, Any] = {"validate": ["bbox", "segm"]}
    assert load(tmp_path, SEED, objective, **values).objective.metric == "segm_mAP"
