"""Prototypes in a trial: chosen when it is time, by the student as it is, and the same after a restart."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.config import Recipe
from ikd.config.recipe.terms import COUPLED
from ikd.data import chosen_instances, indexed
from ikd.detectors import build_detector, freeze
from ikd.distill import arrange
from ikd.distill.knowledge import Knowledge
from ikd.errors import BadInput
from ikd.training import DataFiles, EpochReport, StopTrial, run_trial
from ikd.training.hooks import PrototypeHook, instances, prototypes
from ikd.training.model import build_model
from ikd.training.prepared import check
from ikd.training.teachers.loading import model_config
from tests.marks import some
from tests.unit.sweep.conftest import make_space

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


def test_every_loss_is_reported_and_two_fade(known: Build, tmp_path: Path) -> None:
    first, second = curve(known(), tmp_path)
    parts = ("global", "feature", "response")
    assert all(first[f"{kind}/prototypes_{part}"] > 0 for kind in ("loss", "grad") for part in parts)
    steady = curve(known(distill__prototypes__attenuate=False), tmp_path / "steady")
    assert steady[0] == first, "the first epoch has them whole"
    assert second["loss/prototypes_global"] < 0.75 * steady[1]["loss/prototypes_global"]


@pytest.mark.parametrize(
    ("every", "expected"), some([(0.5, None), (1.0, [(0, 0), (1, 0), (2, 0)]), (2.0, [(0, 0), (2, 0)])], 1)
)
def test_they_are_chosen_anew_when_it_is_time(
    known: Build, tmp_path: Path, refreshed: Refreshed, every: float, expected: Refreshed | None
) -> None:
    curve(known(distill__prototypes__every=every, schedule__epochs=3), tmp_path)
    if expected is None:
        half = max(step for _, step in refreshed)
        expected = [(epoch, step) for epoch in range(3) for step in (0, half)]
        assert half > 0
    assert refreshed == expected


@pytest.mark.slow
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
    """With all losses cut off, the student is that of a training that never looked for prototypes."""
    monkeypatch.setattr(Knowledge, "losses", lambda *_: {})
    curve(known(), tmp_path / "chosen")
    monkeypatch.setattr(PrototypeHook, "_refresh", lambda *_: None)
    curve(known(), tmp_path / "not")
    ends = weights(tmp_path / "chosen"), weights(tmp_path / "not")
    student = [name for name in ends[0] if name.startswith("student.")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in student)
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), "the buffers"


@pytest.mark.parametrize(
    "change",
    some(
        [
            {"method": "kmeans"},
            {"min_side": 30.0},
            {"response_weight": 2.0},
            {"count": 1},
            {"global_weight": 1.0},
            {"feature_weight": 0.0},
            {"method": "dbscan", "bandwidth": 0.5},
            {"method": "random"},
            {"method": "ambiguous"},
            {"images_per_class": 1},
            {"background_weight": 0.0},
            {"coefficients": "ridge"},
            {"response_weight": 0.0},
            {"response_temperature": 4.0},
        ],
        3,
    ),
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
        ("random", {"global_weight": 0.0, "coefficients": "ridge", "strength": 3.0}),
        ("greedy", {"response_weight": 0.0, "response_temperature": 4.0}),
        ("greedy", {"feature_weight": 0.0, "background_weight": 1.0}),
        ("greedy", {"feature_weight": 0.0, "global_weight": 0.0, "attenuate": False}),
    ],
)
def test_what_does_not_act_is_no_other_training(known: Build, method: str, idle: dict[str, Any]) -> None:
    base = {"distill__prototypes__method": method}
    base |= {f"distill__prototypes__{name}": value for name, value in idle.items() if value == 0 and value is not False}
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


def test_no_box_that_is_large_enough_is_refused_before_anything_is_trained(known: Build, tmp_path: Path) -> None:
    rule = r"distill[.]prototypes[.]min_side: .*no training box is wider and higher.*5000.*must be below \d+"
    with pytest.raises(BadInput, match=rule):
        check(known(distill__prototypes__min_side=5000.0))
    assert check(known()).classes


def test_prototypes_without_a_loss_are_refused(known: Build) -> None:
    off = {f"distill__prototypes__{name}_weight": 0.0 for name in ("global", "feature", "response")}
    with pytest.raises(BadInput, match=r"distill[.]prototypes[.]global_weight: must be above 0, or"):
        known(**off)
    assert known(**off, distill__host="rkd", distill__prototypes__couples=True).distill.prototypes.couples


class TestWithinHosts:
    @pytest.mark.parametrize("host", some(["rkd", "defeat", "vkd"], 1))
    def test_they_change_the_training(self, known: Build, tmp_path: Path, host: str) -> None:
        off = {f"distill__prototypes__{name}_weight": 0.0 for name in ("global", "feature")}
        both = [
            known(**off, schedule__epochs=1, distill__host=host, distill__prototypes__couples=couples)
            for couples in (False, True)
        ]
        assert both[0].fingerprint() != both[1].fingerprint()
        found = [curve(one, tmp_path / str(index))[0] for index, one in enumerate(both)]
        assert 0 < found[1][f"loss/{host}"] != found[0][f"loss/{host}"]

    def test_whether_they_do_can_be_searched(self, known: Build) -> None:
        couples = {"choice": [True, False], "when": {"distill.host": list(COUPLED)}}
        hosts = {"choice": ["none", "mgd", *COUPLED]}
        space = make_space(parameters={"distill.host": hosts, "distill.prototypes.couples": couples}, anchors=[])
        assert space.num_configurations(known()) == 2 + 2 * len(COUPLED)

    def test_other_hosts_are_refused(self, known: Build) -> None:
        for host in ("none", "mgd"):
            rule = rf"prototypes[.]couples: must be false .* [(]{host}[)].*defeat, rkd, vkd"
            with pytest.raises(BadInput, match=rule):
                known(distill__host=host, distill__prototypes__couples=True)

    def test_standardised_maps_are_refused_for_what_is_not(self, known: Build) -> None:
        sfa = {"distill__sfa__enabled": True, "distill__sfa__mode": "standardise_inputs"}
        with pytest.raises(BadInput, match=r"distill[.]sfa[.]mode: must be extra_loss where rkd compares"):
            known(distill__host="rkd", distill__prototypes__couples=True, **sfa)
        assert known(distill__host="defeat", distill__prototypes__couples=True, **sfa)


def test_heads_that_score_other_places_are_refused_and_have_the_other_losses(known: Build, tmp_path: Path) -> None:
    student = {"student__config": "ikd::fcos_r18", "student__arguments": {"base_channels": 4, "neck_channels": 16}}
    with pytest.raises(BadInput, match=r"distill[.]prototypes[.]response_weight above 0: "):
        check(known(**student))
    found = curve(known(**student, distill__prototypes__response_weight=0.0, schedule__epochs=1), tmp_path)[0]
    assert found["loss/prototypes_global"] > 0
    assert "loss/prototypes_response" not in found


@pytest.mark.slow
def test_two_stages_have_every_loss_by_their_own_regions(known: Build, tmp_path: Path) -> None:
    values: dict[str, Any] = {}
    for side, base in (("student", 4), ("teachers__available__big", 8)):
        values |= {f"{side}__config": "ikd::faster_rcnn_r18"}
        values |= {f"{side}__arguments": {"base_channels": base, "neck_channels": 16}}
    recipe = known(**values, schedule__epochs=1)
    found = curve(recipe, tmp_path)[0]
    parts = ("global", "feature", "response")
    assert all(found[f"{kind}/prototypes_{part}"] > 0 for kind in ("loss", "grad") for part in parts)
    assert (weights(tmp_path)["prototypes.labels_0"] >= 0).any()


@pytest.mark.slow
def test_a_class_without_instances_has_no_prototypes_and_few_instances_have_few(known: Build, tmp_path: Path) -> None:
    """All boxes of the first class are too small; of the others there are fewer than K."""
    root = tmp_path / "data"
    shutil.copytree(known().data.root, root)
    content = json.loads((root / "train.json").read_text())
    first = content["categories"][0]["id"]
    for box in content["annotations"]:
        if box["category_id"] == first:
            box["bbox"] = [*box["bbox"][:2], 3.0, 3.0]
            box["area"] = 9.0
            box.pop("segmentation", None)
    (root / "train.json").write_text(json.dumps(content))
    recipe = known(data__root=str(root), schedule__epochs=1, distill__prototypes__count=1000)
    found = curve(recipe, tmp_path / "trial")[0]
    assert all(np.isfinite(value) for name, value in found.items() if name.startswith("loss/"))
    index = indexed(DataFiles.of(recipe).train)
    held = weights(tmp_path / "trial")["prototypes.labels_0"]
    counts = np.bincount(held[held >= 0].numpy(), minlength=len(index.classes))
    own = chosen_instances(index, min_side=4.0, images_per_class=800, seed=0)
    available = np.bincount(np.asarray(index.labels)[own], minlength=len(index.classes))
    assert counts[0] == 0
    assert (counts[1:] > 0).all()
    assert (counts <= available).all()


class TestFeaturesOfTheTeacher:
    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return who looked at the images of each pass."""
        sides: list[str] = []
        features = prototypes._Instances._features

        def note(self: Any, model: Any, lesson: Any, side: Any) -> Any:
            sides.append(side)
            return features(self, model, lesson, side)

        monkeypatch.setattr(prototypes._Instances, "_features", note)
        return sides

    @pytest.mark.slow
    def test_one_training_looks_and_others_find_them(
        self, known: Build, tmp_path: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = known(schedule__epochs=2, distill__prototypes__images_per_class=3)
        whole = curve(recipe, tmp_path / "one")
        assert looks == ["teacher", "student", "student"]
        looks.clear()
        assert curve(recipe, tmp_path / "two") == whole, "what is kept is what was computed"
        curve(recipe.with_values({"distill.prototypes.method": "random"}), tmp_path / "three")
        assert set(looks) == {"student"}
        looks.clear()
        monkeypatch.setattr(instances, "whole_folder", full_disk)
        full = recipe.with_values({"distill.prototypes.images_per_class": 2, "schedule.epochs": 1})
        curve(full, tmp_path / "four")
        assert looks == ["teacher", "student"], "without room for them they serve this training alone"

    @pytest.mark.parametrize(
        "change",
        [
            {"input__scale": [64, 64]},
            {"input__keep_ratio": False},
            {"distill__levels": [0, 1]},
            {"distill__prototypes__min_side": 25.0},
            {"distill__teacher_precision": "bfloat16"},
            {"student__overrides": {"data_preprocessor.mean": [1.0, 2.0, 3.0]}},
        ],
    )
    def test_other_features_have_another_name(self, known: Build, change: dict[str, Any]) -> None:
        assert named(known(**change)) != named(known())
        assert named(known(distill__prototypes__count=7, schedule__epochs=9)) == named(known())

    def test_another_order_of_the_same_annotations_has_another_name(self, known: Build, tmp_path: Path) -> None:
        root = tmp_path / "data"
        shutil.copytree(known().data.root, root)
        before = named(known(data__root=str(root)))
        content = json.loads((root / "train.json").read_text())
        content["annotations"].reverse()
        (root / "train.json").write_text(json.dumps(content))
        assert named(known(data__root=str(root))) != before


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "no room")


def named(recipe: Recipe) -> str:
    """Return what the features of an untrained teacher are kept by."""
    files = DataFiles.of(recipe)
    torch.manual_seed(0)
    assert recipe.teacher is not None
    teacher = freeze(build_detector(model_config(recipe.teacher, files.classes)))
    model = arrange(build_model(recipe, files, teacher), recipe)
    return instances.features_name(
        recipe, files, model.lessons[0], instances.instances_of(recipe, indexed(files.train))
    )


class TestOwnCheckpoint:
    """The authors' students go on from a finished training of their own: twice the budget of the others."""

    @pytest.mark.slow
    def test_the_control_goes_on_from_it_too_for_as_many_epochs(self, known: Build, tmp_path: Path) -> None:
        curve(known(schedule__epochs=1).student_alone(), tmp_path / "own")
        recipe = known(student__checkpoint=str(tmp_path / "own" / "best.pth"), schedule__epochs=2)
        control = recipe.anchor("student_alone")
        assert control.student.checkpoint == recipe.student.checkpoint
        assert control.total_epochs == recipe.total_epochs
        assert not control.distill.prototypes.enabled
        assert control.fingerprint() != known().anchor("student_alone").fingerprint()
        started = [build_model(one, DataFiles.of(one), None).student for one in (recipe, control)]
        own = torch.load(tmp_path / "own" / "best.pth", weights_only=True)["state_dict"]
        for student in started:
            assert all(torch.equal(value, own[name]) for name, value in student.state_dict().items())
        assert curve(recipe, tmp_path / "on")[0]["loss/prototypes_global"] > 0
        alone = curve(control, tmp_path / "control")
        assert len(alone) == 2
        assert not any("prototypes" in name for name in alone[0])
