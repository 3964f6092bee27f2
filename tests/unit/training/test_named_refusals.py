"""What is wrong with a detector of a recipe is refused by recipe and field, whatever refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.errors import BadInput, CheckpointError, within
from ikd.training.prepared import check

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "student's config": ({"student__config": "ikd::foo"}, r"student: no detector is called 'ikd::foo'"),
    "student's argument": (
        {"student__arguments": {"widht": 8}},
        r"student: ikd::.*: unknown argument widht",
    ),
    "student's override": (
        {"student__overrides": {"bbox_head.foo": 3}},
        r"student: mmdet cannot build RetinaNet: TypeError",
    ),
    "student's weights": ({"student__checkpoint": "/nowhere.pth"}, r"student\.checkpoint: no checkpoint at"),
    "what it inherits": (
        {"student__inherit": True, "student__arguments": {"neck_channels": 32}, "distill__host": "pkd"},
        r"student\.inherit: RetinaNet cannot inherit from RetinaNet",
    ),
    "teacher's config": (
        {"teachers__available__big__config": "ikd::foo"},
        r"teachers\.available\.big: no detector is called",
    ),
    "teacher's override": (
        {"teachers__available__big__overrides": {"foo.bar": 1}},
        r"teachers\.available\.big: override 'foo\.bar'",
    ),
    "teacher's weights": (
        {"teachers__available__big__checkpoint": "/nowhere.pth"},
        r"teachers\.available\.big\.checkpoint: no checkpoint at",
    ),
    "tap": (
        {"distill__taps__teacher": ["neck.foo"]},
        r"distill\.taps\.teacher: RetinaNet has no module called 'neck\.foo'",
    ),
    "term": (
        {"distill__response__ld__enabled": True},
        r"distill\.response\.ld: must be between heads that predict distributions",
    ),
    "no recipe of the teacher": (
        {"teachers__available__big__recipe": "/nowhere.yaml"},
        r"teachers\.available\.big\.recipe: /nowhere\.yaml: \(file\): must be",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_part_is_refused_by_recipe_and_field(case: str, tiny_recipe: Callable[..., Recipe]) -> None:
    changes, message = REFUSED[case]
    quick = {"adversarial__enabled": False, "augment__enabled": False}
    with pytest.raises(BadInput, match=f"^recipe drawn_r18: {message}"):
        check(tiny_recipe(**quick, **changes))


def test_of_several_teachers_the_one_is_named_and_the_recipe_once(tiny_recipe: Callable[..., Recipe]) -> None:
    big = tiny_recipe().teachers.available["big"].model_dump(mode="json")
    recipe = tiny_recipe(
        adversarial__enabled=False,
        augment__enabled=False,
        teachers__available={"big": big, "other": big},
        teachers__sequence=["big", {"teacher": "other", "set": {"distill.levels": [9]}}],
        teachers__together=True,
    )
    with pytest.raises(BadInput, match=r"^recipe drawn_r18: teacher other: distill\.levels: must be among"):
        check(recipe)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("f: must be 1", "recipe r: t: f: must be 1"),
        ("recipe r: f: must be 1", "recipe r: t: f: must be 1"),
        ("recipe r: t: f: must be 1", "recipe r: t: f: must be 1"),
    ],
)
def test_where_something_stands_is_said_once(said: str, told: str) -> None:
    with pytest.raises(CheckpointError) as caught, within("recipe r: t"):
        raise CheckpointError(said)
    assert str(caught.value) == told
