"""One teacher is in memory at a time: each goes with its work, whatever the garbage collector does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.training import prepare, run_trial, sharing, stage
from ikd.training.teachers import loading

Build = Callable[..., Recipe]
Seen = list["weakref.ref[Any]"]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Every teacher that is loaded, while nothing is collected but on request."""
    found: Seen = []

    def load(*args: Any) -> Any:
        alive = [one for one in found if one() is not None]
        assert not alive, "the one before is still there"
        teacher = loading.load_teacher(*args)
        found.append(weakref.ref(teacher))
        return teacher

    for module in (sharing, stage):
        monkeypatch.setattr(module, "load_teacher", load)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


def staged(build: Build) -> Recipe:
    """Two teachers, the second of which attacks and sees for masking enhancement."""
    big = build().teachers.available["big"].model_dump(mode="json")
    late = {"teacher": "again", "set": {"adversarial.enabled": True}}
    return build(
        teachers__available={"big": big, "again": big},
        teachers__sequence=["big", late],
        adversarial__enabled=False,
        distill__host="dfmsd",
        distill__me={"enabled": True, "stages": "both"},
        attack__steps=1,
        seed=11,  # perturbations of its own
    )


def test_teachers_go_one_by_one(tiny_recipe: Build, tmp_path: Path, seen: Seen) -> None:
    prepare(tiny_recipe())  # its mAP, which is taken once for all tests
    seen.clear()
    recipe = staged(tiny_recipe)
    prepared = prepare(recipe)
    assert len(seen) == 3, "one attacks, two see"
    assert all(one() is None for one in seen)
    run_trial(recipe, directory=tmp_path, prepared=prepared, threads=1)
    assert len(seen) == 5
    assert all(one() is None for one in seen)


def test_what_preparing_took_is_given_back(tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack's memory on the GPU is a neighbour's while the trial trains."""
    given: list[str] = []
    monkeypatch.setattr(sharing, "reset", lambda: given.append("back"))
    prepare(tiny_recipe())
    assert given == ["back"]
    with pytest.raises(BadInput):
        prepare(tiny_recipe(data__root="nowhere"))
    assert given == ["back", "back"]
