"""A student small enough to be trained by a test, and good enough for its mAP to say something."""

from __future__ import annotations

from pathlib import Path

from ikd.config import Recipe, load_recipe
from ikd.data import draw_dataset
from ikd.training import TrialResult, run_trial

EPOCHS = 24


def recipe_on(data: Path) -> Recipe:
    """A recipe that learns 12 drawn images by heart and is validated on them."""
    values = {
        "name": "by_heart",
        "data.root": str(data),
        "data.val.annotations": "train.json",
        "student": {
            "config": "ikd::retinanet_r18",
            "arguments": {"base_channels": 8, "neck_channels": 32, "tower_convs": 1, "levels": 4},
            "overrides": {"test_cfg.score_thr": 0.1},
        },
        "input.scale": [128, 128],
        "input.flip": 0.0,
        "schedule.epochs": EPOCHS,
        "schedule.val_interval": EPOCHS,
        "schedule.batch_size": 6,
        "schedule.optimizer.lr": 4e-3,
        "device": "cpu",
    }
    return load_recipe("drawn_r18").student_alone().with_values(values)


def train_student(folder: Path) -> TrialResult:
    """Draw a data set at folder/data and train at folder/trial."""
    data = draw_dataset(folder / "data", num_train=12, num_val=10, size_px=128, seed=0)
    return run_trial(recipe_on(data), directory=folder / "trial", threads=1)
