"""A detector of one's own: a small RTMDet as the student of a RetinaNet.

    pip install -e examples/own_detector
    python examples/own_detector/train.py                   # on a small drawn data set
    python examples/own_detector/train.py --data my/coco --epochs 9

The package says in one line where RTMDet's neck is tapped. Teacher and student are of two families: maps of equal
stride are compared, and nothing is inherited.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

from ikd import Recipe, run_trial
from ikd.data import draw_dataset
from ikd.trial import EpochReport

WORK = Path(gettempdir()) / "ikd-example"


def recipe_for(data: Path, epochs: int) -> Recipe:
    """Return the training of the student.

    Args:
        data: folder with train.json, val.json and images/.
        epochs: of student and teacher each.
    """
    return Recipe.model_validate(
        {
            "name": "small_rtmdet",
            "data": {
                "root": str(data.resolve()),
                "train": {"annotations": "train.json"},
                "val": {"annotations": "val.json"},
            },
            "student": {"config": "ikd::rtmdet_small", "arguments": {"width": 0.125, "channels": 32}},
            "teachers": {
                "available": {
                    "retinanet": {
                        "config": "ikd::retinanet_r18",
                        "arguments": {"base_channels": 16, "neck_channels": 64},
                        "recipe": "drawn_r18_teacher",  # trained once on the data above, or name a checkpoint
                    }
                },
                "sequence": ["retinanet"],
            },
            "input": {"scale": [160, 160]},
            "distill": {"host": "pkd", "pkd": {"weight": 2.0}},
            "schedule": {
                "epochs": epochs,
                "batch_size": 8,
                "optimizer": {"type": "adamw", "lr": 2e-3},
                "policy": {"type": "one_cycle"},
                "warmup": {"iterations": 0},
                "workers": 0,
            },
        }
    )


def main() -> None:
    """Train the student."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with train.json, val.json and images/; drawn without it")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument(
        "--work", type=Path, default=Path(gettempdir()) / "ikd-example", help="folder for what is made"
    )
    given = options.parse_args()

    data = given.data or given.work / "drawn"
    if given.data is None and not data.exists():
        draw_dataset(data, num_train=32, num_val=16, size_px=128)

    def report(done: EpochReport) -> None:
        print(f"epoch {done.epoch}: bbox_mAP {100 * done.metrics['bbox_mAP']:.1f}")

    result = run_trial(recipe_for(data, given.epochs), report, directory=given.work / "own_detector")
    print(f"best: epoch {result.best_epoch}, {result.best}")


if __name__ == "__main__":
    main()
