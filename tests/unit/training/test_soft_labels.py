"""The soft form of a teacher's labels: on labelled images and photographs, through every change of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.config import Recipe
from ikd.data import DataFiles, draw_dataset, indexed
from ikd.distill.resizing import resized
from ikd.errors import BadInput, ConfigError
from ikd.training import prepare
from ikd.training.unlabelled.reading import images_for_labels, labels_from
from tests.unit.training.test_unlabelled import QUIET, TEACHER, _losses, _model, losses, samples, weights

__all__ = ["weights"]
Build = Callable[..., Recipe]
SOFT = ("loss_labels_soft_cls", "loss_labels_soft_box")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("others") / "drawn", num_train=10, num_val=10, seed=7) / "images"


@pytest.fixture
def build(tiny_recipe: Build, photographs: Path, weights: Path) -> Build:
    available = {"big": {**TEACHER, "checkpoint": str(weights)}}

    def made(**changes: Any) -> Recipe:
        given = {"teachers__available": available, "data__unlabeled": str(photographs), **QUIET}
        return tiny_recipe(**(given | {"distill__labels__form": "soft", "distill__labels__soft__tau": 0.2} | changes))

    return made


def test_each_form_has_its_losses(build: Build, tmp_path: Path) -> None:
    """Soft targets act on all images; hard labels on photographs, where they are asked for."""
    soft = losses(build(schedule__epochs=1), tmp_path / "soft")
    both = losses(build(schedule__epochs=1, distill__labels__form="both"), tmp_path / "both")
    assert {name for name in soft if "labels" in name} == {"loss/labels_soft_cls", "loss/labels_soft_box"}
    assert {"loss/labels_soft_cls", "loss/labels_cls", "loss/labels_bbox"} <= both.keys()
    assert all(value > 0 for name, value in both.items() if "labels" in name)


def test_labelled_images_alone_suffice(build: Build, tmp_path: Path) -> None:
    recipe = build(data__unlabeled=None, schedule__epochs=1)
    assert losses(recipe, tmp_path)["loss/labels_soft_cls"] > 0
    files = DataFiles.of(recipe)
    assert len(images_for_labels(recipe, files)) == len(indexed(files.train))


def test_both_parts_count_each_image_alike(build: Build) -> None:
    recipe = build(schedule__batch_size=3, distill__labels__ratio=2.0)
    model, batch = _model(recipe), samples(recipe)[0]
    both = _losses(model, batch)
    first = _losses(model, {key: batch[key] for key in ("inputs", "data_samples")})
    second = _losses(model, {"inputs": batch["unlabelled"], "data_samples": batch["unlabelled_samples"]})
    for name in SOFT:
        assert both[name] == pytest.approx((first[name] + 2 * second[name]) / 3, rel=1e-5)
    assert model._term_of(SOFT[0]) == "labels"
    assert "labels" in model.terms.names


@pytest.mark.parametrize(
    "change",
    [
        *({"tau": 0.5}, {"alpha": 0.5}, {"beta": 2.0}, {"candidates": 2}, {"w_cls": 3.0}, {"w_box": 5.0}),
    ],
    ids=str,
)
def test_each_setting_acts(build: Build, change: dict[str, Any]) -> None:
    base = build()
    other = base.with_values({f"distill.labels.soft.{name}": value for name, value in change.items()})
    assert base.fingerprint() != other.fingerprint()
    found = [_losses(_model(recipe), samples(recipe)[0]) for recipe in (base, other)]
    assert found[0][SOFT[0]] != found[1][SOFT[0]] or found[0][SOFT[1]] != found[1][SOFT[1]]


def test_every_setting_is_tried() -> None:
    from ikd.config.recipe.labels import SoftLabels

    assert set(SoftLabels.model_fields) == {"tau", "alpha", "beta", "candidates", "w_cls", "w_box"}


def test_boxes_follow_the_image(build: Build) -> None:
    """Resize, flip, crop and padding, against mmdet's own treatment of the same boxes as labels."""
    recipe = build(
        augment__enabled=True,
        augment__noise__enabled=False,
        input__flip=0.5,
        input__pad={"enabled": True, "size": [160, 160]},
        distill__labels__threshold=0.2,
        distill__labels__form="both",
    )
    seen = 0
    for batch in samples(recipe):
        for image, one in zip(batch["unlabelled"], batch["unlabelled_samples"], strict=True):
            labels, soft = one.gt_instances, one.scored_instances
            assert image.shape[1:] == (160, 160)
            torch.testing.assert_close(soft.bboxes, labels.bboxes.tensor, rtol=0, atol=1e-2)
            assert torch.equal(soft.labels, labels.labels)
            assert (soft.scores >= 0.2).all()
            seen += len(labels)
    assert seen > 20


def test_other_sizes_of_a_batch_take_the_boxes_along(build: Build) -> None:
    batch = samples(build())[0]
    before = [one.scored_instances.bboxes.clone() for one in batch["data_samples"]]
    after = resized({key: batch[key] for key in ("inputs", "data_samples")}, 0.5)
    for was, one in zip(before, after["data_samples"], strict=True):
        torch.testing.assert_close(one.scored_instances.bboxes, was / 2, rtol=0.02, atol=0.5)


def test_what_is_read_is_what_the_teacher_sees(build: Build) -> None:
    recipe = build()
    folder, files = prepare(recipe).stages[0].labels, DataFiles.of(recipe)
    assert folder is not None
    wanted = images_for_labels(recipe, files)
    assert len(wanted) == len(indexed(files.train)) + 20
    rows = np.concatenate([labels_from(folder, wanted, files.classes, threshold=0.2).scored(image) for image in wanted])
    assert rows.shape[1] == 6
    assert (rows[:, 4] >= 0.2).all()


def test_hard_labels_have_the_fingerprint_that_they_had(build: Build) -> None:
    hard = build(distill__labels__form="hard")
    changed = hard.with_values({"distill.labels.soft.tau": 0.7})
    assert hard.fingerprint() == changed.fingerprint()
    acting = hard.effective()["teachers"][0]["distill"]["labels"]
    assert not {"form", "soft"} & set(acting)
    soft = build(distill__labels__weight=3.0)
    assert soft.fingerprint() == build().fingerprint(), "its weight is of the hard form"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            {"input__mosaic": {"enabled": True}},
            r"distill\.labels\.form: 'soft' must be hard where .* \(input\.mosaic\)",
        ),
        (
            {"input__mixup": {"enabled": True}},
            r"distill\.labels\.form: 'soft' must be hard where .* \(input\.mixup\)",
        ),
        ({"distill__labels__ignore": 0.1}, r"distill\.labels\.ignore: 0\.1 must be null with form soft"),
        ({"distill__labels__form": "mild"}, r"distill\.labels\.form"),
        ({"distill__labels__soft__tau": 1.5}, r"distill\.labels\.soft\.tau"),
    ],
)
def test_what_does_not_go_together_is_refused(build: Build, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**change)
    assert caught.match(rule.replace("'soft' ", ".*").replace("0\\.1 ", ".*"))


@pytest.mark.parametrize("kind", ["faster_rcnn_r18", "dab_detr_r18"])
def test_a_student_without_a_dense_head_is_refused(build: Build, kind: str) -> None:
    arguments = {"base_channels": 4, "neck_channels": 16}
    recipe = build(student__config=f"ikd::{kind}", student__arguments=arguments, student__inherit=False)
    with pytest.raises(BadInput, match=r"distill\.labels\.form: must be hard but for one-stage students with one of"):
        prepare(recipe)
