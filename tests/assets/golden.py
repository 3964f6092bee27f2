"""The golden run: tiny student and teacher, CPU, fixed seed, 20 steps; run this file to store its curve.

A refactor leaves the curve unchanged. A change of the mathematics regenerates it, and says so in the changelog.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

FILE = Path(__file__).with_name("golden.json")
VARIANTS: dict[str, dict[str, Any]] = {
    "fgd_adversarial_adamw": {"distill.host": "fgd"},
    "mgd_adversarial_sgd": {"distill.host": "mgd", "schedule.optimizer.type": "sgd", "schedule.optimizer.lr": 0.005},
}


def curve(variant: str, home: Path) -> list[dict[str, float]]:
    """Train one variant and return the losses of each of its 20 steps."""
    import torch

    from ikd.config import load_recipe
    from ikd.data import draw_dataset
    from ikd.detectors import build_detector
    from ikd.distill.detector import DistillDetector
    from ikd.training import DataFiles, model_config, prepare, run_trial

    torch.set_num_threads(1)  # the order of a sum is part of the curve
    data = home / "golden-data"
    if not data.is_dir():
        draw_dataset(data, num_train=16, num_val=10, size_px=128, seed=7)
    weights = home / "golden-teacher.pth"
    teacher = {
        "config": "ikd::retinanet_r18",
        "arguments": {"base_channels": 8, "neck_channels": 16, "levels": 3},
        "checkpoint": str(weights),
    }
    changes = {
        "data.root": str(data),
        "student.arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3},
        "teachers.available": {"big": teacher},
        "teachers.sequence": ["big"],
        "input.scale": [96, 96],
        "attack.steps": 2,
        "schedule.epochs": 10,
        "schedule.val_interval": 10,
    }
    recipe = load_recipe("drawn_r18", changes | VARIANTS[variant])
    classes = DataFiles.of(recipe).classes
    torch.manual_seed(0)
    detector = build_detector(model_config(recipe.teachers.available["big"], classes))
    torch.save({"state_dict": detector.state_dict(), "meta": {"dataset_meta": {"classes": list(classes)}}}, weights)
    steps: list[dict[str, float]] = []
    original = DistillDetector.train_step

    def record(self: DistillDetector, batch: Any, optim_wrapper: Any) -> Any:
        losses = original(self, batch, optim_wrapper)
        steps.append({name: round(float(value), 7) for name, value in losses.items()})
        return losses

    prepared = prepare(recipe)  # which rehearses a step or two of its own
    with mock.patch.object(DistillDetector, "train_step", record):
        run_trial(recipe, directory=home / f"golden-{variant}", prepared=prepared)
    return steps


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IKD_HOME"] = folder
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        FILE.write_text(json.dumps({name: curve(name, Path(folder)) for name in VARIANTS}, indent=1) + "\n")
