"""The shipped COCO recipe trains as it stands: zoo configs, 256 channels, every term; only the data is small."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ikd.config import load_recipe
from ikd.detectors import build_detector
from ikd.training import DataFiles, EpochReport, model_config, run_trial


@pytest.mark.slow
@pytest.mark.parametrize("host", ["fgd", "mgd"])
def test_retinanet_r50_from_x101_takes_its_steps(
    session_home: Path, tiny_data: Path, tmp_path: Path, host: str
) -> None:
    split = {"annotations": "train.json", "images": "images"}
    small = {
        "data": {"root": str(tiny_data), "train": split, "val": split | {"annotations": "val.json"}},
        "student.pretrained_backbone": False,
        "student.overrides": {"backbone.init_cfg": None},
        "input.scale": [96, 96],
        "attack.steps": 1,
        "distill.host": host,
        "schedule.epochs": 1,
        "schedule.warmup.iterations": 0,
        "schedule.workers": 0,
    }
    recipe = load_recipe("retinanet_r50_from_x101", small | {"teachers.available.x101.checkpoint": "unused"})
    weights = tmp_path / "x101.pth"
    classes = DataFiles.of(recipe).classes
    teacher = build_detector(model_config(recipe.teachers.available["x101"], classes))
    torch.save({"state_dict": teacher.state_dict(), "meta": {"CLASSES": classes}}, weights)
    recipe = recipe.with_values({"teachers.available.x101.checkpoint": str(weights)})
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=tmp_path / "trial")
    metrics = reports[0].metrics
    assert {"loss/cls", "loss/bbox", f"loss/{host}", "loss/adversarial"} <= set(metrics)
    assert all(math.isfinite(value) for name, value in metrics.items() if name.startswith("loss/"))
    cells = sum(math.ceil(96 / stride) ** 2 for stride in (8, 16, 32, 64, 128))
    assert metrics["weight/adversarial_effective"] == pytest.approx(1e-5 * 256 * cells)
