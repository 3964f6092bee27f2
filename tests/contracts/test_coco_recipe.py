"""Shipped COCO recipes train as they stand: zoo configs, 256 channels, every term; only the data is small."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe, load_recipe
from ikd.detectors import build_detector
from ikd.training import DataFiles, EpochReport, model_config, run_trial

RETINANET = (8, 16, 32, 64, 128)


def small(name: str, data: Path, folder: Path, **values: Any) -> Recipe:
    """The recipe on small images, its teachers with random weights."""
    split = {"annotations": "train.json", "images": "images"}
    recipe = load_recipe(name)
    changes = {
        "data": {"root": str(data), "train": split, "val": split | {"annotations": "val.json"}},
        "student.pretrained_backbone": False,
        "input.scale": [96, 96],
        "attack.steps": 1,
        "schedule.epochs": 1,
        "schedule.epochs_per_stage": recipe.schedule.epochs_per_stage and 1,
        "schedule.warmup.iterations": 0,
        "schedule.workers": 0,
        **values,
    }
    recipe = recipe.with_values(changes)
    classes = DataFiles.of(recipe).classes
    for stage in recipe.teachers.stages:
        weights = folder / f"{stage.teacher}.pth"
        torch.manual_seed(0)
        teacher = build_detector(model_config(recipe.teachers.available[stage.teacher], classes))
        torch.save({"state_dict": teacher.state_dict(), "meta": {"CLASSES": classes}}, weights)
        recipe = recipe.with_values({f"teachers.available.{stage.teacher}.checkpoint": str(weights)})
    return recipe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # mmdet's cascades, of their own masks
@pytest.mark.parametrize(
    ("name", "losses", "strides"),
    [
        ("retinanet_r50_from_x101", {"loss/cls", "loss/bbox"}, RETINANET),
        ("ikd_table1_retinanet_ikd_mgd", {"loss/cls", "loss/bbox"}, RETINANET),
        ("ikd_table1_mask_rcnn_ikd_fgd", {"loss/rpn_cls", "loss/mask"}, (4, 8, 16, 32)),
        ("ikd_table1_reppoints_ikd_mgd", {"loss/cls", "loss/pts_refine"}, RETINANET),
    ],
)
def test_ikd_rows_take_their_steps(
    session_home: Path,
    tiny_data: Path,
    tmp_path: Path,
    name: str,
    losses: set[str],
    strides: tuple[int, ...],
) -> None:
    recipe = small(name, tiny_data, tmp_path)
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=tmp_path / "trial")
    metrics = reports[0].metrics
    assert losses | {f"loss/{recipe.distill.host}", "loss/adversarial"} <= set(metrics)
    assert all(math.isfinite(value) for key, value in metrics.items() if key.startswith("loss/"))
    cells = sum(math.ceil(96 / stride) ** 2 for stride in strides)
    assert metrics["weight/adversarial_effective"] == pytest.approx(recipe.adversarial.weight * 256 * cells)


@pytest.mark.slow
def test_a_dfmsd_row_takes_the_steps_of_both_stages(session_home: Path, tiny_data: Path, tmp_path: Path) -> None:
    recipe = small("dfmsd_table1_retinanet_from_swin", tiny_data, tmp_path)
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=tmp_path / "trial")
    first, last = (report.metrics for report in reports)
    assert {"loss/dfmsd", "loss/sfa"} <= set(first) & set(last)
    assert "loss/adversarial" in last
    assert "loss/adversarial" not in first
    assert all(math.isfinite(value) for key, value in {**first, **last}.items() if key.startswith("loss/"))
