"""The declarations of the losses in `ikd.config`, and the losses that the registry builds from them."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from ikd.config import HOSTS
from ikd.config import LOSSES as DECLARED
from ikd.distill import LOSSES, Scale, build_loss
from ikd.distill.crosskd import CrossHeads, CrossRegions
from ikd.distill.response.hosts import HEADS
from ikd.errors import BadInput

OPTIONAL = {"anchors", "level", "levels", "reduction", "scale"}
"""Keywords that no section has; the losses alone give them a default."""


def keywords(made: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(made).parameters)


def test_every_host_between_heads_has_what_compares_them() -> None:
    assert set(HEADS) == {name for name, section in DECLARED.items() if section.between_heads}
    made = {name: [one] if inspect.isclass(one) else [CrossHeads, CrossRegions] for name, one in HEADS.items()}
    assert {name: {getattr(one, "name", "") for one in ones} for name, ones in made.items()} == {
        name: {name} for name in HEADS
    }


def test_every_declared_loss_is_there() -> None:
    own = {name for name, section in DECLARED.items() if not section.implementation}
    assert set(LOSSES) == own
    assert set(DECLARED) == {*HOSTS, "adversarial"}


@pytest.mark.parametrize("name", LOSSES)
def test_every_hyperparameter_is_a_keyword_and_has_its_default_in_its_section_alone(name: str) -> None:
    section, taken = DECLARED[name], keywords(LOSSES[name])
    known = {**taken, **(keywords(HEADS[name]) if section.between_heads else {})}
    assert set(section.hyperparameters()) <= set(known)
    assert set(taken) <= {*section.hyperparameters(), "channels", *OPTIONAL}
    assert {key for key, one in taken.items() if one.default is not one.empty} == set(taken) & OPTIONAL


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_given_comes_from_the_section(name: str) -> None:
    loss = build_loss(name, 4, 4).loss
    given = {key: value for key, value in DECLARED[name]().model_dump().items() if value is not None}  # null follows
    kept = {key: value for key, value in given.items() if hasattr(loss, key)}
    assert kept
    assert {key: getattr(loss, key) for key in kept} == kept


@pytest.mark.parametrize(
    ("name", "key", "value", "rule"),
    [
        ("fgd", "temperature", 0.0, "must be a number above 0"),
        ("fgd", "beta", -1, "must be a finite number, 0 or above"),
        ("fgd", "beta", math.inf, "must be a finite number, 0 or above"),
        ("fgd", "beta", True, "must be a finite number, 0 or above"),
        ("fgd", "beta", "1", "must be a finite number, 0 or above"),
        ("fgd", "reduction", "sum", "must be one of published, mean, variance"),
        ("fgd", "scale", 2.0, "must be a Scale"),
        ("mgd", "mask_ratio", 1.5, "must be a number from 0 to 1"),
        ("dmkd", "se", 1, "must be true or false"),
        ("amd", "se_side", "teacher", "must be one of student, both, none"),
        ("fbkd", "level", 1.5, "must be a whole number, 0 or above"),
        ("crosskd", "position", -1, "must be a whole number, 0 or above"),
        ("crosskd", "w_reg", -1.0, "must be a finite number, 0 or above"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, key: str, value: object, rule: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_loss(name, 4, 4, **{key: value})
    assert str(caught.value) == f"loss {name}: {key}: {rule}, but got {value!r}"


@pytest.mark.parametrize(
    ("name", "key", "known"),
    [
        ("adversarial", "enabled", "weight, distance, reduction, scale"),  # a switch of the recipe's
        ("cwd", "reduction", "tau, weight, normalise"),
        ("crosskd", "level", "position, connector, w_cls, w_reg, beta, roi, reduction"),
        ("mgd", "channels", "alpha, mask_ratio, reduction, scale"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, key: str, known: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_loss(name, 4, 4, **{key: 1})
    assert str(caught.value) == f"loss {name}: has no hyperparameter {key!r}; it has {known}"


def test_a_scale_and_a_reduction_reach_the_loss() -> None:
    loss: Any = build_loss("mgd", 4, 4, scale=Scale(2.0), reduction="mean").loss
    assert (loss.normaliser.scale.elements, loss.normaliser.reduction) == (2.0, "mean")
