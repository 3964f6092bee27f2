"""A loss of one's own: check that it is one as ikd means it, and train with it.

    pip install -e examples/own_loss
    python examples/own_loss/train.py                       # on a small drawn data set
    python examples/own_loss/train.py --data my/coco --epochs 9

From then on `distill: {host: huber}` works in every recipe, and `distill.huber.delta` in every search space.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

from ikd import load_recipe, run_trial
from ikd.data import draw_dataset
from ikd.distill import check_loss
from ikd.trial import EpochReport

WORK = Path(gettempdir()) / "ikd-example"


def main() -> None:
    """Train a student by the loss."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with train.json, val.json and images/; drawn without it")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument(
        "--work", type=Path, default=Path(gettempdir()) / "ikd-example", help="folder for what is made"
    )
    given = options.parse_args()

    check_loss("huber")
    data = given.data or given.work / "drawn"
    if given.data is None and not data.exists():
        draw_dataset(data, num_train=32, num_val=16, size_px=128)
    recipe = load_recipe(
        "small_r18",
        {
            "data.root": str(data.resolve()),
            "schedule.epochs": given.epochs,
            "adversarial.enabled": False,
            "distill.host": "huber",
            "distill.huber.weight": 2.0,
        },
    )

    def report(done: EpochReport) -> None:
        pull = done.metrics.get("grad/huber", float("nan"))  # 1: as hard as the detection loss
        print(f"epoch {done.epoch}: bbox_mAP {100 * done.metrics['bbox_mAP']:.1f}, the loss pulls {pull:.2f}")

    result = run_trial(recipe, report, directory=given.work / "own_loss")
    print(f"best: epoch {result.best_epoch}, {result.best}")


if __name__ == "__main__":
    main()
