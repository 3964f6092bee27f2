"""Prototypes in a trial: chosen when it is time, by the student as it is, and the same after a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.config import Recipe
from ikd.data import indexed
from ikd.distill.prototypes import PrototypeTerm
from ikd.errors import BadInput
from ikd.training import DataFiles, EpochReport, StopTrial, run_trial
from ikd.training.hooks import PrototypeHook, chosen_instances

Build = Callable[..., Recipe]
Refreshed = list[tuple[int, int]]


@pytest.fixture(scope="module")
def known(tiny_recipe: Build) -> Build:
    """Build recipes of Global Knowledge alone."""
    alone: dict[str, Any] = {
        "distill__host": "none",
        "adversarial__enabled": False,
        "augment__enabled": False,
        "distill__prototypes__enabled": True,
        "distill__prototypes__min_side": 4.0,
        "distill__prototypes__count": 3,
    }
    return lambda **changes: tiny_recipe(**(alone | changes))


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> Refreshed:
    """Return the epochs and steps, from 0, at which prototypes were chosen."""
    times: Refreshed = []
    place: list[tuple[int, int]] = []
    whole, refresh = PrototypeHook.before_train_iter, PrototypeHook._refresh

    def step(self: PrototypeHook, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        place.append((runner.epoch, batch_idx))
        whole(self, runner, batch_idx, data_batch)

    def note(self: PrototypeHook, model: Any) -> None:
        times.append(place[-1])
        refresh(self, model)

    monkeypatch.setattr(PrototypeHook, "before_train_iter", step)
    monkeypatch.setattr(PrototypeHook, "_refresh", note)
    return times


def curve(recipe: Recipe, directory: Path, **arguments: Any) -> list[dict[str, float]]:
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=directory, **arguments)
    return [{name: value for name, value in one.metrics.items() if "seconds/" not in name} for one in reports]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(directory / "last.pth", weights_only=True)["model"]
    return found


@pytest.fixture(scope="module")
def plain(known: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The metrics of an epoch of the unchanged recipe."""
    return curve(known(schedule__epochs=1), tmp_path_factory.mktemp("plain"))[0]


def test_both_losses_are_reported_and_fade(known: Build, tmp_path: Path) -> None:
    first, second = curve(known(), tmp_path)
    names = ("loss/prototypes_global", "loss/prototypes_feature", "grad/prototypes_global", "grad/prototypes_feature")
    assert all(first[name] > 0 for name in names)
    steady = curve(known(distill__prototypes__attenuate=False), tmp_path / "steady")
    assert steady[0] == first, "the first epoch has them whole"
    assert second["loss/prototypes_global"] < 0.75 * steady[1]["loss/prototypes_global"]


@pytest.mark.parametrize(("every", "expected"), [(1.0, [(0, 0), (1, 0), (2, 0)]), (2.0, [(0, 0), (2, 0)]), (0.5, None)])
def test_they_are_chosen_anew_when_it_is_time(
    known: Build, tmp_path: Path, refreshed: Refreshed, every: float, expected: Refreshed | None
) -> None:
    curve(known(distill__prototypes__every=every, schedule__epochs=3), tmp_path)
    if expected is None:
        half = max(step for _, step in refreshed)
        expected = [(epoch, step) for epoch in range(3) for step in (0, half)]
        assert half > 0
    assert refreshed == expected


def test_a_trial_killed_between_refreshes_goes_on_as_it_would_have(
    known: Build, tmp_path: Path, refreshed: Refreshed
) -> None:
    recipe = known(distill__prototypes__every=2.0, schedule__epochs=3)
    whole = curve(recipe, tmp_path / "whole")

    def stop(report: EpochReport) -> None:
        raise StopTrial

    run_trial(recipe, stop, directory=tmp_path / "parts")
    refreshed.clear()
    torch.rand(7)
    rest = curve(recipe, tmp_path / "parts", checkpoint=tmp_path / "parts" / "last.pth")
    assert refreshed == [(2, 0)], "the second epoch has the prototypes of the first"
    assert rest == whole[1:]
    ends = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_choosing_disturbs_nothing_else(known: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both losses cut off, the student is that of a training that never looked for prototypes."""
    monkeypatch.setattr(PrototypeTerm, "forward", lambda *_: {})
    curve(known(), tmp_path / "chosen")
    monkeypatch.setattr(PrototypeHook, "_refresh", lambda *_: None)
    curve(known(), tmp_path / "not")
    ends = weights(tmp_path / "chosen"), weights(tmp_path / "not")
    student = [name for name in ends[0] if name.startswith("student.")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in student)
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), "the buffers"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "kmeans"},
        {"method": "dbscan", "bandwidth": 0.5},
        {"method": "random"},
        {"method": "ambiguous"},
        {"count": 1},
        {"images_per_class": 1},
        {"min_side": 30.0},
        {"global_weight": 1.0},
        {"feature_weight": 0.0},
        {"background_weight": 0.0},
        {"coefficients": "ridge"},
    ],
)
def test_every_option_changes_the_training(
    known: Build, plain: dict[str, float], tmp_path: Path, change: dict[str, Any]
) -> None:
    changed = known(schedule__epochs=1, **{f"distill__prototypes__{name}": value for name, value in change.items()})
    assert changed.fingerprint() != known(schedule__epochs=1).fingerprint()
    assert curve(changed, tmp_path)[0]["loss/total"] != plain["loss/total"]


@pytest.mark.parametrize(
    ("method", "idle"),
    [
        ("greedy", {"space": "student"}),
        ("random", {"space": "student", "bandwidth": 0.3, "quantile": 0.2, "strength": 3.0}),
        ("kmeans", {"bandwidth": 0.3, "quantile": 0.2}),
        ("dbscan", {"quantile": 0.2, "strength": 3.0}),
    ],
)
def test_what_does_not_act_is_no_other_training(known: Build, method: str, idle: dict[str, Any]) -> None:
    base = {"distill__prototypes__method": method}
    changed = base | {f"distill__prototypes__{name}": value for name, value in idle.items()}
    assert known(**base).fingerprint() == known(**changed).fingerprint()
    off = {"distill__prototypes__enabled": False, "distill__host": "mgd"}
    assert known(**off).fingerprint() == known(**off, **changed).fingerprint()


def test_instances_are_of_chosen_images_and_large_enough(known: Build) -> None:
    index = indexed(DataFiles.of(known()).train)
    all_of = chosen_instances(index, min_side=0.0, images_per_class=1000, seed=0)
    assert all_of.sum() == (index.held & ~index.set_aside).sum()
    large = chosen_instances(index, min_side=20.0, images_per_class=1000, seed=0)
    boxes = np.asarray(index.boxes)
    assert (large == (all_of & (boxes[:, 2] > 20) & (boxes[:, 3] > 20))).all()
    few = chosen_instances(index, min_side=0.0, images_per_class=2, seed=0)
    for label in range(len(index.classes)):
        own = few & (np.asarray(index.labels) == label)
        images = np.unique(index.owners[own])
        assert len(images) == 2
        assert (own == (all_of & (np.asarray(index.labels) == label) & np.isin(index.owners, images))).all()
    assert (few == chosen_instances(index, min_side=0.0, images_per_class=2, seed=0)).all()
    assert (few != chosen_instances(index, min_side=0.0, images_per_class=2, seed=1)).any()


def test_no_box_that_is_large_enough_is_refused(known: Build, tmp_path: Path) -> None:
    rule = r"distill[.]prototypes[.]min_side: .*no training box is wider and higher.*5000"
    with pytest.raises(BadInput, match=rule):
        curve(known(distill__prototypes__min_side=5000.0), tmp_path)


def test_prototypes_without_a_loss_are_refused(known: Build) -> None:
    with pytest.raises(BadInput, match=r"distill[.]prototypes[.]global_weight: must be above 0, or"):
        known(distill__prototypes__global_weight=0.0, distill__prototypes__feature_weight=0.0)
