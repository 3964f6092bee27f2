"""What a dry run says of the perturbations a sweep would make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.sweep.stores import Stores, stores_of
from tests.unit.sweep.conftest import make_space

ATTACKS = {"attack.steps": {"choice": [1, 3, 5]}, "attack.eps": {"choice": [2, 4, 8]}}


@pytest.fixture
def measurable(recipe: Recipe, tmp_path: Path) -> Recipe:
    """The recipe on 1000 images that become 200x100, attacked."""
    images = [{"id": number, "file_name": "x", "width": 400, "height": 200} for number in range(1000)]
    content = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "train.json").write_text(json.dumps(content))
    values = {"data.root": str(tmp_path), "input.scale": [200, 100], "adversarial.enabled": True}
    return recipe.with_values(values)


def stores(recipe: Recipe, parameters: Any, **changes: Any) -> Stores:
    space = make_space(parameters=parameters, anchors=[], **{"budget": {"trials": 50}, **changes}).checked(recipe)
    return stores_of(space, recipe, [], int(min(space.budget.trials, space.num_configurations(recipe))))


@pytest.mark.parametrize(
    ("parameters", "changes", "count"),
    [
        ({"distill.host": {"choice": ["fgd", "mgd"]}, "seed": {"int": [0, 9]}}, {}, 1),
        ({"attack.seed": {"int": [0, 9]}}, {}, 10),
        (ATTACKS, {}, 9),
        (ATTACKS, {"constraints": ["attack.steps * attack.step >= attack.eps"]}, 6),
        (ATTACKS, {"budget": {"trials": 4}}, 4),
        ({"attack.eps": {"uniform": [2, 8]}}, {}, 50),
        ({"adversarial.enabled": {"choice": [True, False]}}, {}, 1),
        ({"input.scale": {"choice": [[200, 100], [100, 50]]}}, {}, 2),
    ],
)
def test_stores_are_counted(measurable: Recipe, parameters: Any, changes: Any, count: int) -> None:
    assert stores(measurable, parameters, **changes).count == count


@pytest.mark.parametrize("parameters", [ATTACKS, {"attack.eps": {"uniform": [2, 8]}}])
def test_none_are_made_where_nothing_is_attacked(measurable: Recipe, parameters: Any) -> None:
    found = stores(measurable.with_values({"adversarial.enabled": False}), parameters)
    assert found.count == 0
    assert found.lines() == []


def test_space_is_said(measurable: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stores(measurable, ATTACKS)
    assert found.bytes == 9 * 1000 * 200 * 100 * 3 * 0.46
    assert found.lines() == [("perturbations", "at most 9 stores, 248 MB in all")]
    monkeypatch.setenv("IKD_STORE_GB", "0.1")
    assert "kept within 100 MB (IKD_STORE_GB)" in found.lines()[0][1]


def test_data_that_is_not_there_is_no_fault(measurable: Recipe) -> None:
    found = stores(measurable.with_values({"data.root": "/nowhere"}), ATTACKS)
    assert (found.count, found.bytes) == (9, None)
    assert found.lines() == [("perturbations", "at most 9 stores; their size is not known before the data is there")]


def test_crafting_online_takes_no_space(measurable: Recipe) -> None:
    found = stores(measurable.with_values({"attack.store": "online"}), ATTACKS)
    assert found.count == 0
    assert "crafted while training" in found.lines()[0][1]
    both = stores(measurable, {"attack.store": {"choice": ["disk", "online"]}})
    assert (both.count, len(both.lines())) == (1, 2)
