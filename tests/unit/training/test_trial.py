"""A trial: reproducible, resumable, honest about what acts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.data import DataReport
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput, CheckpointError, ConfigError, NonFiniteLoss
from ikd.training import (
    EpochReport,
    StopTrial,
    TrialOptions,
    TrialResult,
    load_teacher,
    model_config,
    on_test_part,
    prepare,
    run_trial,
)
from ikd.training.trial import _said_of_unread
from tests.marks import some

Build = Callable[..., Recipe]
TIMES = ("seconds/train", "seconds/val", "seconds/attack")


def deterministic(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def run(recipe: Recipe, directory: Path, **arguments: Any) -> tuple[TrialResult, list[EpochReport]]:
    reports: list[EpochReport] = []
    return run_trial(recipe, reports.append, directory=directory, **arguments), reports


def curve(recipe: Recipe, directory: Path) -> list[dict[str, float]]:
    return [deterministic(report.metrics) for report in run(recipe, directory)[1]]


@pytest.fixture(scope="module")
def plain(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The reports of the unchanged recipe."""
    return curve(tiny_recipe(), tmp_path_factory.mktemp("plain"))


def test_reports_every_metric_and_loss(plain: list[dict[str, float]]) -> None:
    assert len(plain) == 2
    names = {"bbox_mAP", "bbox_AP50", "bbox_AP75", "bbox_APs", "bbox_APm", "bbox_APl", "bbox_AR"}
    losses = {"loss/cls", "loss/bbox", "loss/fgd", "loss/adversarial", "loss/total"}
    weights = {
        f"weight/{name}_effective" for name in ("fgd_alpha", "fgd_beta", "fgd_gamma", "fgd_lambda", "adversarial")
    }
    assert names | losses | weights | {"lr", "grad/fgd", "grad/adversarial"} <= set(plain[0])
    parts = sum(plain[0][name] for name in losses - {"loss/total"})
    assert plain[0]["loss/total"] == pytest.approx(parts, rel=1e-5)


def test_the_adversarial_term_stops_with_the_augmentation(tiny_recipe: Build, tmp_path: Path) -> None:
    reports = curve(tiny_recipe(augment__stop_fraction=0.5), tmp_path)
    assert [("loss/adversarial" in report) for report in reports] == [True, False]


def test_the_shares_of_altered_images_are_metrics(
    tiny_recipe: Build, plain: list[dict[str, float]], tmp_path: Path
) -> None:
    """Counted where the images are trained on; drawn images of small objects only are 6 of 16, others are cropped."""
    certain = {"augment__noise__probability": 1.0, "augment__stop_fraction": 0.5}
    first, second = curve(tiny_recipe(**certain), tmp_path / "certain")
    assert first["augment/noise_share"] + first["augment/crop_share"] == pytest.approx(1)
    assert 0 < first["augment/noise_share"] < 0.5
    assert (second["augment/noise_share"], second["augment/crop_share"]) == (0, 0)
    assert plain[0]["augment/noise_share"] < first["augment/noise_share"]
    assert not [name for name in curve(tiny_recipe(augment__enabled=False), tmp_path / "off")[0] if "share" in name]


def test_the_same_seed_gives_the_same_trial(tiny_recipe: Build, plain: list[dict[str, float]], tmp_path: Path) -> None:
    torch.rand(17)  # whatever ran before must not matter
    assert curve(tiny_recipe(), tmp_path / "again") == plain
    assert curve(tiny_recipe(schedule__workers=2), tmp_path / "workers") == plain


def test_another_seed_gives_another_trial(tiny_recipe: Build, brief: dict[str, float], tmp_path: Path) -> None:
    assert losses_of(tiny_recipe(schedule__epochs=1, seed=1), tmp_path) != brief


def test_a_trial_stopped_and_resumed_equals_an_uninterrupted_one(tiny_recipe: Build, tmp_path: Path) -> None:
    """Stopped after each epoch."""
    recipe = tiny_recipe(schedule__epochs=3)
    whole, reports = run(recipe, tmp_path / "whole")
    found: list[EpochReport] = []

    def stop(report: EpochReport) -> None:
        found.append(report)
        raise StopTrial

    directory, last = tmp_path / "parts", None
    for epoch in (1, 2, 3):
        result = run_trial(recipe, stop, last, directory=directory)
        assert result.epochs == epoch
        last = result.last
        if epoch < 3:
            with (directory / "log.jsonl").open("a") as log:
                log.write('{"epoch": 99')  # a line that a crash cut short
    assert [report.epoch for report in found] == [1, 2, 3]
    assert [deterministic(one.metrics) for one in found] == [deterministic(one.metrics) for one in reports]
    assert result.best_epoch == whole.best_epoch
    weights = [torch.load(one.last, weights_only=True)["model"] for one in (whole, result)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


OPTIONS: dict[str, dict[str, Any]] = {
    "host": {"distill__host": "mgd"},
    "host pkd": {"distill__host": "pkd"},
    "host cwd": {"distill__host": "cwd"},
    "no host": {"distill__host": "none"},
    "alpha": {"distill__fgd__alpha": 0.01},
    "beta": {"distill__fgd__beta": 0.005},
    "gamma": {"distill__fgd__gamma": 0.005},
    "lambda": {"distill__fgd__lambda_": 5e-5},
    "temperature": {"distill__fgd__temperature": 0.1},
    "reduction": {"distill__reduction": "mean"},
    "reduction by variance": {"distill__reduction": "variance"},
    "rescale": {"distill__rescale_from": None},
    "levels": {"distill__levels": [0]},
    "weights as written": {"distill__levels": [0], "distill__keep_strength": False},
    "adversarial off": {"adversarial__enabled": False},
    "adversarial weight": {"adversarial__weight": 1e-4},
    "adversarial distance": {"adversarial__distance": "l1"},
    "eps": {"attack__eps": 2.0},
    "no attack": {"attack__eps": 0.0},
    "attack step": {"attack__step": 1.0},
    "attack steps": {"attack__steps": 1},
    "attack momentum": {"attack__momentum": 0.0},
    "attack diversity": {"attack__diversity__probability": 0.0},
    "attack loss": {"attack__loss": "cls+reg"},
    "attack published": {"attack__published": True},
    "augment off": {"augment__enabled": False},
    "augment published": {"augment__published": True},
    "area threshold": {"augment__area_threshold": 1e5},
    "crop off": {"augment__crop__enabled": False},
    "crop ratio": {"augment__crop__min_ratio": 0.5},
    "crop probability": {"augment__crop__probability": 0.2},
    "noise sigma": {"augment__area_threshold": 1e5, "augment__noise__sigma": 0.3},
    "inherit": {"student__inherit": True},
    "cutout": {"input__cutout__enabled": True},
    "cutout holes": {"input__cutout": {"enabled": True, "holes": 3}},
    "cutout ratio": {"input__cutout": {"enabled": True, "ratio": 0.5}},
    "cutout probability": {"input__cutout": {"enabled": True, "probability": 1.0}},
    "copy-paste": {"input__copy_paste__enabled": True},
    "copy-paste by box": {"input__copy_paste": {"enabled": True, "by": "box"}},
    "copy-paste objects": {"input__copy_paste": {"enabled": True, "objects": 1}},
    "copy-paste probability": {"input__copy_paste": {"enabled": True, "probability": 1.0}},
    "overrides": {"student__overrides": {"bbox_head.loss_bbox.loss_weight": 2.0}},
    "flip": {"input__flip": 0.0},
    "order": {"input__order": "crop_flip"},
    "scale": {"input__scale": [128, 128]},
    "optimizer": {"schedule__optimizer__type": "sgd"},
    "lr": {"schedule__optimizer__lr": 1e-3},
    "lr base": {"schedule__optimizer__base_batch_size": 16},
    "weight decay": {"schedule__optimizer__weight_decay": 0.5},
    "policy": {"schedule__policy__type": "cosine"},
    "clip": {"schedule__clip": 0.01},
    "amp": {"schedule__amp": True},
    "batch": {"schedule__batch_size": 4},
}

WITHIN = (
    *(
        "beta",
        "gamma",
        "lambda",
        "host cwd",
        "reduction by variance",
        "attack step",
        "attack momentum",
        "attack diversity",
    ),
    *("host", "host pkd", "alpha", "temperature", "rescale", "weights as written", "adversarial weight", "no attack"),
    *("levels", "area threshold", "noise sigma"),
    *("attack steps", "attack published", "augment published", "crop ratio", "crop probability", "lr base"),
    *(f"cutout {name}" for name in ("holes", "ratio", "probability")),
    *(f"copy-paste {name}" for name in ("by box", "objects", "probability")),
)
"""Options beside others of the same section that always run, most with tests of their own without a training."""


def losses_of(recipe: Recipe, directory: Path) -> dict[str, float]:
    """Train one epoch of two steps; return its losses."""
    return {name: value for name, value in curve(recipe, directory)[0].items() if name.startswith("loss/")}


@pytest.fixture(scope="module")
def brief(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The losses of one epoch of the unchanged recipe."""
    return losses_of(tiny_recipe(schedule__epochs=1), tmp_path_factory.mktemp("brief"))


@pytest.mark.parametrize("option", some(sorted(OPTIONS, key=WITHIN.__contains__), len(OPTIONS) - len(WITHIN)))
def test_every_option_acts(tiny_recipe: Build, brief: dict[str, float], tmp_path: Path, option: str) -> None:
    recipe = tiny_recipe(schedule__epochs=1, **OPTIONS[option])
    assert recipe.fingerprint() != tiny_recipe(schedule__epochs=1).fingerprint()
    losses = losses_of(recipe, tmp_path)
    assert losses != brief
    assert torch.isfinite(torch.tensor(list(losses.values()))).all()


def test_warmup_acts(tiny_recipe: Build, tmp_path: Path) -> None:
    constant = {"schedule__epochs": 1, "schedule__policy__type": "constant"}
    losses = [
        losses_of(tiny_recipe(schedule__warmup__iterations=length, **constant), tmp_path / str(length))
        for length in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_warmup_with_one_cycle_is_refused(tiny_recipe: Build) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.warmup\.iterations: must be 0 with policy one_cycle"):
        tiny_recipe(schedule__warmup__iterations=1)


@pytest.mark.parametrize(
    "option",
    [
        {"name": "other"},
        {"description": "x"},
        {"attack__batch_size": 3},
        {"schedule__workers": 2},
        {"distill__measure_gradients": False},
    ],
)
def test_what_does_not_act_does_not_name_another_configuration(tiny_recipe: Build, option: dict[str, Any]) -> None:
    assert tiny_recipe(**option).fingerprint() == tiny_recipe().fingerprint()


def test_measuring_gradients_changes_no_training(
    tiny_recipe: Build, plain: list[dict[str, float]], tmp_path: Path
) -> None:
    without = curve(tiny_recipe(distill__measure_gradients=False), tmp_path)
    assert [sorted(report.keys() - other.keys()) for report, other in zip(plain, without, strict=True)] == [
        ["grad/adversarial", "grad/fgd"],
        ["grad/fgd"],  # the adversarial term has ended
    ]
    assert [{name: report[name] for name in other} for report, other in zip(plain, without, strict=True)] == without


def test_a_non_finite_loss_stops_before_the_step_and_names_the_term(tiny_recipe: Build, tmp_path: Path) -> None:
    recipe = tiny_recipe(distill__fgd__alpha=3e38, distill__fgd__beta=3e38)
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step 1: loss_fgd=") as caught:
        run(recipe, tmp_path)
    assert list(caught.value.terms) == ["loss_fgd"]
    assert not (tmp_path / "last.pth").exists()


def test_the_teacher_never_changes(tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[DistillDetector] = []
    original = DistillDetector.train_step

    def spy(self: DistillDetector, data: Any, optim_wrapper: Any) -> Any:
        seen.append(self)
        return original(self, data, optim_wrapper)

    monkeypatch.setattr(DistillDetector, "train_step", spy)
    recipe = tiny_recipe()
    prepared = prepare(recipe)
    weights = prepared.stages[0].weights
    assert weights is not None
    assert recipe.teacher is not None
    fresh = load_teacher(recipe.teacher, weights, prepared.files.classes)
    result, _ = run(recipe, tmp_path)
    used = seen[-1].teacher
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), used.state_dict().values(), strict=True))
    assert not any(module.training for module in used.modules())
    assert not any(parameter.requires_grad for parameter in used.parameters())
    kept = torch.load(result.last, weights_only=True)["model"]
    assert {name.split(".")[0] for name in kept} == {"student", "host"}


def test_the_best_file_is_a_plain_student(tiny_recipe: Build, tmp_path: Path) -> None:
    from ikd.detectors import build_detector, load_weights, read_checkpoint

    recipe = tiny_recipe()
    result, reports = run(recipe, tmp_path)
    classes = prepare(recipe).files.classes
    detector = build_detector(model_config(recipe.student, classes))
    load_weights(detector, read_checkpoint(result.best), classes=classes)
    assert result.metrics == reports[result.best_epoch - 1].metrics
    best = max(range(2), key=lambda index: reports[index].metrics["bbox_mAP"])
    assert result.best_epoch == best + 1


def test_best_epoch_follows_the_objective(tiny_recipe: Build, tmp_path: Path) -> None:
    falling, reports = run(tiny_recipe().student_alone(), tmp_path / "min", objective=("lr", "min"))
    assert falling.metrics["lr"] == min(report.metrics["lr"] for report in reports)


def test_validation_interval(tiny_recipe: Build, tmp_path: Path) -> None:
    _, reports = run(tiny_recipe(schedule__epochs=3, schedule__val_interval=2).student_alone(), tmp_path)
    assert [report.epoch for report in reports] == [2, 3]


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"no checkpoint"])
def test_a_damaged_checkpoint_is_refused(tiny_recipe: Build, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    alone = tiny_recipe(schedule__epochs=1).student_alone()
    result, _ = run(alone, tmp_path)
    result.last.write_bytes(damage(result.last.read_bytes()))
    with pytest.raises(CheckpointError, match=r"last\.pth: must be a whole checkpoint"):
        run(alone, tmp_path, checkpoint=result.last)


def test_a_checkpoint_of_another_recipe_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    alone = tiny_recipe(schedule__epochs=1).student_alone()
    result, _ = run(alone, tmp_path)
    with pytest.raises(CheckpointError, match="must belong to this recipe"):
        run(alone.with_values({"seed": 5}), tmp_path, checkpoint=result.last)


def test_a_warmup_longer_than_training_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"schedule\.warmup\.iterations: must be below the 4 steps .* but got 500"):
        run(tiny_recipe(schedule__policy__type="cosine", schedule__warmup__iterations=500), tmp_path)


def test_missing_data_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data\.train\.annotations: must be a COCO json file, but .* is not there"):
        run(tiny_recipe(data__root=str(tmp_path)), tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_the_files_of_a_data_set_are_named_in_place_of_those_that_are_not_there(
    tiny_recipe: Build, tiny_data: Path, tmp_path: Path
) -> None:
    wrong = {"data__train": {"annotations": "annotations/instances_train2017.json", "images": "images"}}
    with pytest.raises(BadInput, match=rf"is not there; in {tiny_data} are .*train\.json, val\.json"):
        run(tiny_recipe(**wrong), tmp_path / "trial")


def test_what_of_the_students_config_is_not_read_is_told_once(tiny_recipe: Build) -> None:
    config = "mmdet::yolox/yolox_s_8xb8-300e_coco.py"
    recipe = tiny_recipe().with_values({"student.config": config})
    said = _said_of_unread(recipe)
    assert said.endswith("and not BatchSyncRandomResize (input.batch_scale is), EMAHook (schedule.ema is)")
    assert not _said_of_unread(recipe.with_values({"schedule.ema.enabled": True, "input.batch_scale.enabled": True}))
    assert not _said_of_unread(tiny_recipe())


def test_a_data_set_without_boxes_is_refused(tiny_recipe: Build, tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    train = tmp_path / "data" / "train.json"
    train.write_text(json.dumps(json.loads(train.read_text()) | {"annotations": []}))
    with pytest.raises(BadInput, match=r"train\.json: annotations: the data set is empty, it needs at least one box"):
        run(tiny_recipe(data__root=str(tmp_path / "data")), tmp_path / "trial")


def test_a_checkpoint_of_another_architecture_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    weights = run(recipe.student_alone().with_values({"schedule.epochs": 1}), tmp_path / "teacher")[0].best
    wider = recipe.teachers.available["big"].model_dump() | {"checkpoint": str(weights)}
    with pytest.raises(CheckpointError, match=r"best\.pth' is of another architecture: backbone"):
        run(recipe.with_values({"teachers.available": {"big": wider}}), tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_a_teacher_of_other_classes_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    weights = run(recipe.student_alone().with_values({"schedule.epochs": 1}), tmp_path / "teacher")[0].best
    content = torch.load(weights, weights_only=True)
    content["meta"]["dataset_meta"]["classes"] = ["cat", "dog"]
    torch.save(content, weights)
    detector = recipe.student.model_dump(exclude={"inherit"}) | {"checkpoint": str(weights)}
    with pytest.raises(CheckpointError, match="cat"):
        run(recipe.with_values({"teachers.available": {"big": detector}}), tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_the_student_left_is_of_the_last_epoch_on_request(tiny_recipe: Build, tmp_path: Path) -> None:
    """With a learning rate that ruins it after the first epoch, the best one is the first."""
    ruined = {"schedule__optimizer__lr": 1e-12, "teachers__sequence": [], "adversarial__enabled": False}
    recipe = tiny_recipe(**ruined, distill__host="none")
    epochs = {}
    for student in ("best", "last"):
        result, _ = run(recipe, tmp_path / student, options=TrialOptions(student=student))
        epochs[student] = torch.load(result.best, weights_only=True)["meta"]["epoch"]
        assert result.best_epoch == epochs["best"]
    assert epochs["last"] == 2


def test_the_last_report_of_a_trial_kept_apart_has_the_test_part(
    tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"teachers__sequence": [], "adversarial__enabled": False, "distill__host": "none"}
    plain = tiny_recipe(**alone)
    recipe = plain.with_values({"data.test": plain.data.val.model_dump()})  # the same part, so that figures are equal
    monkeypatch.setattr(DataReport, "raise_for_errors", lambda report: None)  # which it would be refused for
    options = TrialOptions(student="last", test=True)
    result, reports = run(recipe, tmp_path / "apart", options=options)
    first, last = (deterministic(report.metrics) for report in reports)
    assert not [name for name in first if name.startswith("test/")]
    kept = {name: value for name, value in last.items() if name.startswith("test/")}
    assert {"test/bbox_mAP", "test/bbox_AP50"} <= set(kept)
    assert kept == pytest.approx({name: last[name.removeprefix("test/")] for name in kept}, abs=1e-6, nan_ok=True)
    assert on_test_part(recipe, result.best) == pytest.approx(kept, nan_ok=True)
    untold = [deterministic(one.metrics) for one in run(recipe, tmp_path / "search")[1]]
    assert untold == [first, {name: value for name, value in last.items() if name not in kept}], (
        "it changes no training"
    )
    with pytest.raises(BadInput, match=r"data\.test: must name annotations and images of a test part"):
        on_test_part(plain, result.best)
