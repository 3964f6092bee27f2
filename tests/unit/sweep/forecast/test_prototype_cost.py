"""What choosing prototypes costs: how often, at how many images, and what a dry run says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.data import choices_in, chosen_instances, indexed, looks_of, said_of_prototypes
from ikd.sweep import dry_run
from ikd.sweep.forecast.epochs import LOOK, NOW, EpochCost, Seen, features_of
from ikd.sweep.forecast.kept import epoch_row, keep
from tests.unit.sweep.conftest import make_runner, make_space
from tests.unit.sweep.test_dry_run import lines

Build = Callable[..., Recipe]


@pytest.fixture
def known(tiny_recipe: Build) -> Build:
    """Build recipes of Global Knowledge alone."""
    alone: dict[str, Any] = {"distill__host": "none", "adversarial__enabled": False, "augment__enabled": False}
    alone |= {"distill__prototypes__enabled": True, "distill__prototypes__min_side": 4.0, "schedule__epochs": 4}
    return lambda **changes: tiny_recipe(**(alone | changes))


@pytest.mark.parametrize(
    ("every", "expected"), [(1.0, [1, 1, 1, 1]), (2.0, [1, 0, 1, 0]), (0.5, [2, 2, 2, 2]), (1.5, [1, 1, 0, 1])]
)
def test_they_are_counted_as_the_training_makes_them(known: Build, every: float, expected: list[int]) -> None:
    (plan,) = known(distill__prototypes__every=every).stages
    assert [choices_in(plan, epoch) for epoch in (1, 2, 3, 4)] == expected
    per_epoch = 12
    steps = range(4 * per_epoch)
    chosen = [step // per_epoch for step in steps if step % round(every * per_epoch) == 0]
    assert [chosen.count(epoch) for epoch in range(4)] == expected


def test_an_epoch_costs_by_the_images_that_are_looked_at(known: Build) -> None:
    recipe = known(distill__prototypes__every=2.0, distill__prototypes__images_per_class=1)
    looks = looks_of(recipe)
    assert looks is not None
    index = indexed(Path(recipe.data.root) / "train.json")
    chosen = chosen_instances(index, min_side=4.0, images_per_class=1, seed=0)
    assert (looks.boxes, looks.images) == (chosen.sum(), len(set(index.owners[chosen].tolist())))
    assert 0 < looks.images < looks.taught
    (plan,) = recipe.stages
    assert float(features_of(plan, 1)["looked"]) == pytest.approx(looks.images / looks.taught, rel=0.05)
    assert features_of(plan, 2)["looked"] == "0"
    (alone,) = recipe.student_alone().stages
    assert features_of(alone, 1)["looked"] == "0"
    (gone,) = known(data__root="/nowhere").stages
    assert features_of(gone, 1)["looked"] == "1", "every image, until the data are there"


def test_it_is_assumed_before_it_was_seen_and_learnt_then() -> None:
    alone = {"student": "s", "teacher": "none", "attacked": "no", "when": NOW, "looked": "0"}
    taught = {**alone, "teacher": "t"}
    cost = EpochCost([Seen(alone, 4.0, 9)])
    assert cost({**taught, "looked": "2"}) == pytest.approx(4.0 * 1.25 * (1 + 2 * LOOK))
    seen = EpochCost([Seen(alone, 4.0, 20), Seen(taught, 5.0, 20), Seen({**taught, "looked": "1"}, 15.0, 20)])
    assert seen({**taught, "looked": "1"}) == pytest.approx(15.0, rel=0.1)


def test_a_dry_run_says_and_counts_it(known: Build, ikd_home: Path) -> None:
    space = make_space(parameters={"distill.prototypes.count": {"choice": [1, 2]}}, anchors=[])
    found = {}
    for every in (0.5, 4.0):
        recipe = known(distill__prototypes__every=every)
        keep([epoch_row(features_of(recipe.student_alone().stages[0], 1), 100.0, source="sweep earlier", count=8.0)])
        plan = dry_run(space, recipe=recipe, runner=make_runner(), name="next")
        assert plan.seconds is not None
        found[every] = plan.seconds
        said = lines(plan)["prototypes"]
        times = math.ceil(4 / every)
        assert said == said_of_prototypes(recipe)
        assert said.startswith(f"chosen {times} times in a training from ")
        assert "the teacher once for all trainings" in said
    assert found[0.5] > 1.1 * found[4.0]
    without = dry_run(space, recipe=known().student_alone(), runner=make_runner(), name="alone")
    assert "prototypes" not in lines(without)
