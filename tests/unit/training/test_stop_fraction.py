"""`distill.stop_fraction`: after that share of a stage the student trains as if there were no teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, load_recipe
from ikd.errors import ConfigError
from ikd.sweep.forecast.epochs import features_of
from ikd.training import EpochReport, StopTrial, phases, run_trial

Build = Callable[..., Recipe]


def losses(reports: list[EpochReport]) -> list[dict[str, float]]:
    return [{name: value for name, value in one.metrics.items() if name.startswith("loss/")} for one in reports]


def trained(recipe: Recipe, folder: Path, **more: Any) -> list[dict[str, float]]:
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=folder, **more)
    return losses(reports)


def test_nothing_of_the_teacher_acts_after_it_and_a_trial_goes_on_as_it_would_have(
    tiny_recipe: Build, tmp_path: Path
) -> None:
    recipe = tiny_recipe(distill__stop_fraction=0.5, augment__stop_fraction=1.0, distill__prototypes__enabled=True)
    first, second = trained(recipe, tmp_path / "whole")
    assert {"loss/fgd", "loss/adversarial", "loss/prototypes_global"} <= first.keys()
    assert second.keys() == {"loss/cls", "loss/bbox", "loss/total"}

    def stop(report: EpochReport) -> None:
        raise StopTrial

    parts = tmp_path / "parts"
    run_trial(recipe, stop, directory=parts)
    assert trained(recipe, parts, checkpoint=parts / "last.pth") == [second]


def test_copies_end_with_it_and_augmentation_does_not(tiny_recipe: Build) -> None:
    recipe = tiny_recipe(schedule__epochs=10, distill__stop_fraction=0.5, augment__stop_fraction=0.8)
    (plan,) = recipe.stages
    assert plan.taught_until == 5
    assert [(one.first, one.alters, one.attacks) for one in phases(plan)] == [
        (0, True, True),
        (5, True, False),
        (8, False, False),
    ]
    taught, alone = features_of(plan, 5), features_of(plan, 6)
    assert (taught["host"], taught["attacked"]) == ("fgd", "disk")
    assert (alone["host"], alone["attacked"], alone["teacher"]) == ("none", "no", "none")


def test_at_least_one_epoch_is_taught_and_each_stage_has_its_own_end(tiny_recipe: Build) -> None:
    assert tiny_recipe(distill__stop_fraction=0.01).stages[0].taught_until == 1
    both = tiny_recipe(schedule__epochs=8, teachers__sequence=["big", "big"], distill__stop_fraction=0.75)
    assert [plan.taught_until for plan in both.stages] == [3, 7]


def test_it_is_another_training_where_something_is_distilled(tiny_recipe: Build) -> None:
    plain, ended = tiny_recipe(), tiny_recipe(distill__stop_fraction=0.5)
    assert plain.fingerprint() != ended.fingerprint()
    assert plain.student_alone().fingerprint() == ended.student_alone().fingerprint()


@pytest.mark.parametrize("value", [0.0, 1.5, "half"])
def test_bad_values_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"distill\.stop_fraction: should be"):
        load_recipe("drawn_r18", {"distill.stop_fraction": value})
