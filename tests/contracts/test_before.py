"""What people had before still works: equal names of what was trained and made, equal words for what is wrong.

A difference here is a cache made anew, a sweep that cannot go on, or another text: none comes by itself.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.attack import PerturbationStore
from ikd.augment import TeacherBoxes
from ikd.config import load_recipe, load_sweep
from ikd.data import image_digest
from ikd.sweep import run_sweep, sweep_status, trials_of
from ikd.training import prepare
from tests.assets.before import facts, record_sweep
from tests.unit.sweep import fake_training


def stored(path: Path) -> Any:
    return json.loads(path.read_text())


def alike(one: Any, other: Any) -> bool:
    """Compare plain values; numbers may differ by what processors round differently."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if type(one) is not type(other) or one == other:
        return type(one) is type(other)
    with contextlib.suppress(TypeError, ValueError):  # counts are stored as texts, for some are infinite
        return math.isclose(float(one), float(other), rel_tol=1e-9)
    return False


def test_every_recipe_and_anchor_has_its_fingerprint() -> None:
    before = stored(facts.FINGERPRINTS)
    assert len(before) > 90
    now = facts.fingerprints()
    otherwise = {(name, anchor) for name in before for anchor in before[name] if trains_otherwise(name, anchor)}
    assert len(otherwise) > 30
    changed = {
        (name, one) for name in before for one in before[name] if now.get(name, {}).get(one) != before[name][one]
    }
    assert changed == otherwise


def trains_otherwise(name: str, anchor: str) -> bool:
    """Tell whether what a recipe's masking enhancement does has changed: its weight, its boxes' share, its end."""
    return any(stage.recipe.distill.me.enabled for stage in recipe_of(name).anchor(anchor).stages)


recipe_of = functools.cache(load_recipe)


def test_every_search_space_reads_counts_and_begins_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    before = stored(facts.SPACES)
    assert len(before) >= 7
    now = facts.spaces(as_meant(tmp_path / "search_spaces"))
    for name, space in before.items():
        found = now[name]["space"]
        assert found["budget"].pop("confirm") == {"share": 0.0, "apart": 0}
        if found["sampler"] == {"tpe": {}}:  # which was the default
            del found["sampler"]
        for counted in (space["counted"], now[name]["counted"]):
            del counted["epochs_expected"]  # a forecast, which gets better
        enhanced = trains_otherwise(load_sweep(facts.SEARCH_SPACES / f"{name}.yaml").recipe.name, "paper")
        for part, content in space.items():
            if part == "recipe" and enhanced:
                assert now[name][part] != content
                continue
            assert alike(now[name][part], content), f"{name}: {part}: {now[name][part]}"


def as_meant(folder: Path) -> Path:
    """Copy the search spaces of before, with what they meant by leaving it out: TPE, and nothing but a search."""
    shutil.copytree(facts.SEARCH_SPACES, folder)
    for file in folder.glob("*.yaml"):
        written = yaml.safe_load(file.read_text())
        written["budget"]["confirm"] = {"share": 0.0, "apart": 0}
        file.write_text(yaml.safe_dump({"sampler": {"tpe": {}}, **written}, sort_keys=False))
    return folder


def test_the_comparison_tells_numbers_apart() -> None:
    assert alike({"a": [1, 1.0, "x"]}, {"a": [1, 1.0 + 1e-15, "x"]})
    others: list[Any] = [{"a": [1, 1.0001, "x"]}, {"a": [1, 1.0]}, {"a": [1.0, 1.0, "x"]}, {"b": [1, 1.0, "x"]}, []]
    for other in others:
        assert not alike({"a": [1, 1.0, "x"]}, other)


def test_what_is_refused_is_refused_in_the_same_words() -> None:
    before = stored(facts.REFUSALS)
    assert len(before) >= 20
    assert "nothing" not in before.values()
    now = facts.refusals()
    assert {text: now.get(text) for text in before} == before


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the cache of the time before, in which nothing but perturbations may be made."""
    shutil.copytree(facts.CACHE, tmp_path / "cache")
    for file in (tmp_path / "cache").rglob("*.pth.text"):
        file.rename(file.with_suffix(""))
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    facts.write_weights(tmp_path / "weights.pth")

    def made(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("is made anew")

    for name in ("train", "find_boxes"):
        monkeypatch.setattr(f"ikd.training.sharing.{name}", made)
    return tmp_path


def test_a_cache_filled_before_is_found(filled: Path) -> None:
    trained, attacking = map(prepare, facts.cached_recipes(filled / "weights.pth"))
    cache = filled / "cache"
    (stage,) = trained.stages
    assert stage.weights in list(cache.glob("teachers/*/best.pth"))
    (stage,) = attacking.stages
    assert stage.boxes == next(cache.glob("boxes/*.npz"))
    assert stage.perturbations is not None
    assert not list(stage.perturbations.glob("*.png"))
    store = PerturbationStore.open(stage.perturbations)
    deltas = [store.read(image_digest(image)) for image in sorted((facts.DATA / "images").glob("train-*"))]
    assert [delta.shape for delta in deltas] == [(64, 64, 3)] * 3
    assert set(deltas[0].ravel()) <= {-2, 0, 2}
    assert TeacherBoxes(stage.boxes)  # it says now of which images they are


def test_perturbations_of_before_only_take_space_that_is_had_back(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are files that nobody reads any more, the oldest that there are."""
    cache = filled / "cache" / "perturbations"
    (before,) = cache.glob("*/")
    assert list(before.glob("*.png"))
    monkeypatch.setenv("IKD_STORE_GB", "1e-6")
    (stage,) = prepare(facts.cached_recipes(filled / "weights.pth")[1]).stages
    assert list(cache.glob("*/")) == [stage.perturbations]


def test_what_another_recipe_needs_is_not_found(filled: Path) -> None:
    trained, attacking = facts.cached_recipes(filled / "weights.pth")
    with pytest.raises(AssertionError, match="is made anew"):
        prepare(attacking.with_values({"input.scale": [96, 96]}))
    teacher = {"small": {**facts.TEACHER, "recipe": "small_r18_teacher"}}
    with pytest.raises(AssertionError, match="is made anew"):
        prepare(trained.with_values({"teachers.available": teacher}))


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the sweep that was interrupted before; return the sweep's folder."""
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    folder = tmp_path / "sweeps" / record_sweep.NAME
    shutil.copytree(record_sweep.SWEEP, folder)
    for file in list(folder.rglob(f"*{record_sweep.TEXT}")):
        file.rename(file.with_suffix(""))
    return folder


def test_a_sweep_recorded_before_is_shown(interrupted: Path) -> None:
    status = sweep_status(record_sweep.NAME)
    assert not status.running
    before = stored(record_sweep.STORY)["interrupted"]
    assert [one["state"] for one in before] == ["finished"] * 4 + ["stopped", "finished", "waiting"]
    assert alike(record_sweep.told(status.trials), before)


@pytest.mark.slow
def test_a_sweep_interrupted_before_goes_on_as_it_would_have(interrupted: Path) -> None:
    """The open trial goes on from its checkpoint, nothing that ended runs again, and the next proposals are equal."""
    result = run_sweep(
        record_sweep.SPACE,
        runner=record_sweep.runner(),
        name=record_sweep.NAME,
        training=record_sweep.TRAINING,
        values=facts.AS_BEFORE,
    )
    assert result.exit_status == 0
    starts = [(note["trial"], note["first"]) for note in fake_training.notes(interrupted, "start")]
    trial, epoch = record_sweep.INTERRUPTED
    assert starts == [(trial, epoch), (trial + 1, 0), (trial + 2, 0), (trial + 3, 0)]
    found, before = record_sweep.told(trials_of(record_sweep.NAME)), stored(record_sweep.STORY)["whole"]
    assert [one["values"].keys() for one in found] == [one["values"].keys() for one in before]
    for one, then in zip(found, before, strict=True):
        rounded = one["values"] != then["values"]  # the last digits of a proposal are the processor's
        drawn = {"fingerprint": then["fingerprint"]} if rounded and one["number"] > trial else {}
        assert alike(one | drawn, then), one
