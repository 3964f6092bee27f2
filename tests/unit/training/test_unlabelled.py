"""Teachers' labels in a training: each setting acts, draws repeat, and whoever goes on ends with the same bits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Sampler

from ikd.config import Recipe
from ikd.data import DataFiles, draw_dataset, indexed
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput, ConfigError
from ikd.evaluation.labels import LabelStore
from ikd.home import cache
from ikd.training import EpochReport, Prepared, StopTrial, prepare, resumable, run_trial, train_loader
from ikd.training.hooks.rise import labels_risen
from ikd.training.kept.finding import found, stage_there
from ikd.training.prepared import check
from ikd.training.unlabelled.batches import MixedBatchSampler, draws_of
from ikd.trial import TrialOptions
from tests.marks import some
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
TEACHER = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}}
QUIET = {
    "augment__enabled": False,
    "adversarial__enabled": False,
    "distill__host": "none",
    "distill__labels__enabled": True,
    "distill__labels__threshold": 0.2,
    "schedule__workers": 0,
    "schedule__epochs": 2,
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("others") / "drawn", num_train=10, num_val=10, seed=7) / "images"


@pytest.fixture(scope="module")
def weights(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that has learnt nothing and yet sees something."""
    file = save_untrained(tiny_recipe(), TEACHER, tmp_path_factory.mktemp("teacher") / "weights.pth")
    content = torch.load(file, weights_only=True)
    content["state_dict"]["bbox_head.retina_cls.bias"].fill_(-1.0)
    torch.save(content, file)
    return file


@pytest.fixture(scope="module")
def build(tiny_recipe: Build, photographs: Path, weights: Path) -> Build:
    available = {"big": {**TEACHER, "checkpoint": str(weights)}}

    def made(**changes: Any) -> Recipe:
        given = {"teachers__available": available, "data__unlabeled": str(photographs), **QUIET}
        return tiny_recipe(**(given | changes))

    return made


def losses(recipe: Recipe, folder: Path) -> dict[str, float]:
    values = run_trial(recipe, directory=folder).last_metrics
    return {name: value for name, value in values.items() if name.startswith("loss/")}


@pytest.fixture(scope="module")
def plain(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The losses of the unchanged recipe."""
    return losses(build(), tmp_path_factory.mktemp("plain"))


def samples(recipe: Recipe, epoch: int = 0) -> list[Any]:
    """Return the batches of an epoch."""
    prepared = prepare(recipe)
    plan, files, made = recipe.stages[0], prepared.files, prepared.stages[0]
    config = train_loader(plan, files, perturbations=None, boxes=None, with_masks=False, labels=made.labels)
    with DefaultScope.overwrite_default_scope("mmdet"):
        loader = Runner.build_dataloader(config, recipe.seed)
        loader.batch_sampler.sampler.set_epoch(epoch)
        loader.dataset.start_epoch(epoch)
        return list(loader)


def shown(batches: list[Any]) -> list[str]:
    return [one.img_path for batch in batches for one in batch.get("unlabelled_samples", ())]


def test_a_training_reports_the_loss_on_the_teachers_labels(plain: dict[str, float]) -> None:
    assert {"loss/labels_cls", "loss/labels_bbox", "loss/cls", "loss/bbox"} <= plain.keys()
    assert plain["loss/labels_cls"] > 0


@pytest.mark.parametrize(
    "change",
    some(
        [
            {"distill__labels__labelled": "fill", "distill__labels__threshold_fill": 0.2},
            {"distill__labels__ratio": 2.0},
            {"distill__labels__warmup": 2},
            {"distill__labels__threshold": 0.3},
            {"distill__labels__weight": 0.5},
            {"distill__labels__ratio": 0.5},
        ],
        3,
    ),
    ids=lambda change: next(reversed(change)).removeprefix("distill__labels__"),
)
def test_each_setting_acts(build: Build, plain: dict[str, float], tmp_path: Path, change: dict[str, Any]) -> None:
    other = build(**change)
    assert other.fingerprint() != build().fingerprint()
    assert losses(other, tmp_path) != plain


def test_ignoring_boxes_acts(build: Build, tmp_path: Path) -> None:
    folder, files = prepare(build()).stages[0].labels, DataFiles.of(build())
    assert folder is not None
    assert files.photographs is not None
    book = LabelStore.open(folder).read(files.photographs.digests, 0.0, files.classes)
    scores = np.concatenate([book.of(image)[:, 4] for image in files.photographs.digests])
    base = build(distill__labels__threshold=float(np.median(scores)), schedule__epochs=1)
    other = base.with_values({"distill.labels.ignore": 0.05})
    assert losses(base, tmp_path / "a")["loss/labels_cls"] != losses(other, tmp_path / "b")["loss/labels_cls"]


def test_a_person_is_told_how_many_boxes_are_labels(build: Build, tmp_path: Path) -> None:
    every = {"distill__labels__labelled": "fill", "distill__labels__form": "both", "schedule__epochs": 1}
    recipe = build(**every, distill__labels__threshold=0.99, distill__labels__soft={"tau": 0.06})
    run_trial(recipe, directory=tmp_path)
    said = (tmp_path / "notes.txt").read_text()
    who = f"recipe {recipe.name}: distill.labels"
    assert f"warning: {who}.threshold 0.99 leaves no box on any of 20 photographs, which teach nothing by" in said
    assert re.search(rf"^{who}\.soft\.tau 0\.06 leaves \d+ boxes on \d+ of \d+ images$", said, re.MULTILINE)
    assert f"{who}.threshold_fill 0.6 leaves no box on any of" in said


def test_labels_can_be_filled_without_photographs(build: Build, tmp_path: Path) -> None:
    fill = {"data__unlabeled": None, "distill__labels__labelled": "fill", "distill__labels__threshold_fill": 0.2}
    fill |= {"schedule__epochs": 1}
    filled = build(**fill)
    plain = losses(filled.with_values({"distill.labels.enabled": False}), tmp_path / "plain")
    values = losses(filled, tmp_path / "filled")
    assert values.keys() == plain.keys()
    assert values["loss/cls"] != plain["loss/cls"]
    less = losses(filled.with_values({"distill.labels.threshold_fill": 0.9}), tmp_path / "less")
    assert less == plain, "nothing scores as high"
    assert "ratio" not in filled.effective()["teachers"][0]["distill"]["labels"]


def test_with_a_weight_of_zero_only_the_terms_see_the_photographs(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = build(distill__host="pkd", distill__labels__weight=0.0, schedule__epochs=1)
    values = losses(host, tmp_path / "with")
    assert values["loss/labels_cls"] == 0
    without = losses(host.with_values({"distill.labels.enabled": False}), tmp_path / "without")
    assert values["loss/pkd"] != without["loss/pkd"]


def test_the_two_parts_are_two_calls_and_the_terms_means_over_all_images(build: Build) -> None:
    """So that what a head divides by is counted in one part alone."""
    recipe = build(distill__host="pkd", schedule__batch_size=3, distill__labels__ratio=2.0)
    model, batch = _model(recipe), samples(recipe)[0]
    assert (len(batch["inputs"]), len(batch["unlabelled"])) == (3, 6)
    both = _losses(model, batch)
    first = _losses(model, {key: batch[key] for key in ("inputs", "data_samples")})
    second = _losses(model, {"inputs": batch["unlabelled"], "data_samples": batch["unlabelled_samples"]})
    for name in ("cls", "bbox"):
        assert both[f"loss_{name}"] == pytest.approx(first[f"loss_{name}"], rel=1e-6)
        assert both[f"loss_labels_{name}"] == pytest.approx(second[f"loss_{name}"], rel=1e-6)
    assert both["loss_pkd"] == pytest.approx((first["loss_pkd"] + 2 * second["loss_pkd"]) / 3, rel=1e-6)


def _model(recipe: Recipe) -> DistillDetector:
    from ikd.training import build_model, load_teacher

    files, chosen = DataFiles.of(recipe), recipe.teacher
    assert chosen is not None
    assert chosen.checkpoint is not None
    torch.manual_seed(0)
    model = build_model(recipe, files, load_teacher(chosen, chosen.checkpoint, files.classes))
    return model.eval()


def _losses(model: DistillDetector, batch: Any) -> dict[str, float]:
    copied = {key: [one.clone() for one in value] for key, value in batch.items()}
    with torch.no_grad():
        found = model.losses(model.data_preprocessor(copied, True))
    return {name: float(sum(value) if isinstance(value, list) else value) for name, value in found.items()}


def test_a_part_without_a_box_has_no_weight(build: Build, tmp_path: Path) -> None:
    values = losses(build(distill__labels__threshold=1.0, schedule__epochs=1), tmp_path)
    assert values["loss/labels_cls"] == values["loss/labels_bbox"] == 0


def test_boxes_that_are_ignored_are_no_background(build: Build) -> None:
    plain, band = (
        build(distill__labels__threshold=0.5),
        build(distill__labels__threshold=0.5, distill__labels__ignore=0.1),
    )
    batch = samples(band)[0]
    assert sum(len(one.ignored_instances) for one in batch["unlabelled_samples"]) > 0
    assert sum(len(one.ignored_instances) for one in samples(plain)[0]["unlabelled_samples"]) == 0
    from ikd.distill.labels import ignored, ignoring_assigners

    model = _model(band)
    (assigner,) = ignoring_assigners(model.student)
    before = assigner.ignore_iof_thr
    with ignored(model.student, acts=True):
        assert assigner.ignore_iof_thr == 0.5
    assert assigner.ignore_iof_thr == before


def test_every_photograph_comes_equally_often(build: Build) -> None:
    recipe = build()
    counts: Counter[str] = Counter()
    epochs = [shown(samples(recipe, epoch)) for epoch in range(4)]
    for one in epochs:
        counts.update(one)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == 20
    assert epochs[0] != epochs[1]
    assert shown(samples(recipe, 2)) == epochs[2], "by seed, epoch and index alone"
    assert shown(samples(recipe.with_values({"seed": 3}), 2)) != epochs[2]


def test_a_sample_does_not_depend_on_who_reads_it(build: Build) -> None:
    here, there = samples(build(input__flip=0.5), 1), samples(build(input__flip=0.5, schedule__workers=2), 1)
    for one, other in zip(here, there, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one["unlabelled"], other["unlabelled"], strict=True))
        for ours, theirs in zip(one["unlabelled_samples"], other["unlabelled_samples"], strict=True):
            assert torch.equal(ours.gt_instances.bboxes.tensor, theirs.gt_instances.bboxes.tensor)


class _Order(Sampler[int]):
    """Indices in order, of images of one shape."""

    def __init__(self, count: int) -> None:
        self.count, self.dataset = count, self

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def get_data_info(self, index: int) -> dict[str, int]:
        return {"width": 2, "height": 1}


@pytest.mark.parametrize(
    ("ratio", "counts"), [(1.0, [4, 4, 2]), (0.25, [1, 1, 1]), (2.5, [10, 10, 5]), (0.1, [0, 1, 0])]
)
def test_the_share_of_a_batch(ratio: float, counts: list[int]) -> None:
    batches = list(MixedBatchSampler(_Order(10), 4, ratio=ratio))
    assert [sum(index >= 10 for index in batch) for batch in batches] == counts
    drawn = [index for batch in batches for index in batch if index >= 10]
    assert drawn == list(range(10, 10 + draws_of(10, ratio)))
    assert sorted(index for batch in batches for index in batch if index < 10) == list(range(10))


@pytest.mark.parametrize("ratio", [1.0, 0.5, 3.0])
def test_processes_share_both_parts(monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    parts = []
    for rank in range(2):
        monkeypatch.setattr("ikd.training.unlabelled.batches.get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(list(MixedBatchSampler(_Order(8), 4, ratio=ratio)))
    for one, other in zip(*parts, strict=True):
        assert sum(index >= 8 for index in one) == sum(index >= 8 for index in other)
        assert not set(one) & set(other)
    drawn = sorted(index for part in parts for batch in part for index in batch if index >= 8)
    assert drawn == list(range(8, 8 + len(drawn)))


def test_the_weight_rises(build: Build) -> None:
    recipe = build(distill__labels__warmup=3)
    assert [labels_risen(recipe, step) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert labels_risen(build(), 0) == 1


def test_who_goes_on_ends_with_the_same_bits(build: Build, tmp_path: Path) -> None:
    recipe = build(distill__host="pkd", distill__labels__warmup=3, distill__labels__ratio=0.5, schedule__epochs=3)
    whole = run_trial(recipe, directory=tmp_path / "whole")

    def stop(report: EpochReport) -> None:
        raise StopTrial

    run_trial(recipe, stop, directory=tmp_path / "cut")
    again = run_trial(recipe, checkpoint=resumable(tmp_path / "cut"), directory=tmp_path / "cut")
    ours, theirs = (torch.load(one.last, weights_only=True)["model"] for one in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_two_processes_train_on_both_parts(build: Build, tmp_path: Path) -> None:
    recipe = build(schedule__epochs=1, schedule__batch_size=8)
    values = run_trial(recipe, directory=tmp_path, options=TrialOptions(processes=2)).last_metrics
    assert values["loss/labels_cls"] > 0


def test_labels_are_made_once_and_found(build: Build) -> None:
    recipe = build(distill__labels__threshold=0.33)
    first = prepare(recipe).stages[0].labels
    assert first is not None
    assert first.parent == cache("labels")
    stamps = {file: file.stat().st_mtime_ns for file in first.glob("*.npz")}
    assert prepare(recipe.with_values({"distill.labels.threshold": 0.5, "seed": 9})).stages[0].labels == first
    assert {file: file.stat().st_mtime_ns for file in first.glob("*.npz")} == stamps
    (shared,) = [one for one in found(recipe) if one.kind == "labels"]
    assert (shared.teacher, shared.done, shared.total) == ("big", 20, 20)
    assert stage_there(recipe, recipe.stages[0], DataFiles.of(recipe)).labels == first
    filled = recipe.with_values({"distill.labels.labelled": "fill"})
    (more,) = [one for one in found(filled) if one.kind == "labels"]
    assert more.total == 20 + len(indexed(DataFiles.of(recipe).train))
    assert more.done in (20, more.total), "another test may have looked at them"


def test_other_photographs_are_another_training(build: Build, tmp_path: Path, photographs: Path) -> None:
    """Whoever goes on must have the photographs that it began with."""
    import shutil

    from ikd.errors import CheckpointError

    folder = Path(shutil.copytree(photographs, tmp_path / "photographs"))
    recipe = build(data__unlabeled=str(folder))

    def stop(report: EpochReport) -> None:
        raise StopTrial

    run_trial(recipe, stop, directory=tmp_path / "trial")
    next(folder.iterdir()).unlink()
    with pytest.raises(CheckpointError, match="the unlabelled part had 20 images with 0 boxes, and has 19"):
        run_trial(recipe, checkpoint=resumable(tmp_path / "trial"), directory=tmp_path / "trial")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            {"student__config": "ikd::mask_rcnn_r18", "student__arguments": {"base_channels": 4, "neck_channels": 16}},
            r"distill\.labels\.enabled: must be false for a MaskRCNN",
        ),
        (
            {
                "student__config": "ikd::fcos_r18",
                "student__arguments": {"base_channels": 4, "neck_channels": 16},
                "distill__labels__ignore": 0.1,
            },
            r"distill\.labels\.ignore: must be null: no assigner of this FCOS",
        ),
        (
            {"distill__labels__threshold": "auto", "distill__labels__ignore": 0.4},
            r"distill\.labels\.ignore: must be below 0\.4, what distill\.labels\.threshold: auto is for teacher big",
        ),
        ({"distill__labels__warmup": 400}, r"distill\.labels\.warmup: must be below the 4 steps"),
        ({"distill__labels__ratio": 1e-9}, r"distill\.labels\.ratio: must be at least 0\.0\d+ for one photograph"),
    ],
)
def test_what_cannot_be_is_refused_before_training(build: Build, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(BadInput, match=rule):
        check(build(**change))


def test_a_weight_of_zero_needs_a_term_that_sees_the_photographs(build: Build) -> None:
    rule = r"distill\.labels\.weight: must be above 0 where no term between the detectors sees the photographs either"
    with pytest.raises(ConfigError, match=rule):
        build(distill__host="none", distill__labels__weight=0.0)
    build(distill__host="none", distill__labels__weight=0.0, distill__response__bckd__enabled=True)
    build(distill__host="pkd", distill__labels__weight=0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"augment__enabled": True, "adversarial__enabled": True, "attack__steps": 1, "distill__host": "fgd"},
        {"teachers__sequence": ["big", {"teacher": "big", "set": {"distill.labels.enabled": False}}]},
        pytest.param(
            {"distill__host": "dfmsd", "distill__me__enabled": True, "distill__me__form": "added"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"distill__host": "crosskd", "distill__crosskd__position": 1}, marks=pytest.mark.slow),
        pytest.param({"input__copy_paste__enabled": True, "distill__host": "rkd"}, marks=pytest.mark.slow),
    ],
    ids=["adversarial", "one stage of two", "enhanced", "crosskd", "pasted"],
)
def test_it_stands_beside_the_other_terms(build: Build, tmp_path: Path, change: dict[str, Any]) -> None:
    epochs = len(change.get("teachers__sequence", "1"))
    values = losses(build(**change, schedule__epochs=epochs), tmp_path)
    assert all(np.isfinite(value) for value in values.values())


def test_a_prepared_training_can_be_sent(build: Build) -> None:
    import pickle

    prepared = prepare(build())
    again = pickle.loads(pickle.dumps(prepared))
    assert isinstance(again, Prepared)
    assert again.files.photographs == prepared.files.photographs
