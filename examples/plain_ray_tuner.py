"""ikd's trainer in a Ray Tune script of one's own: `tune_trainable` is a plain function trainable.

    python examples/plain_ray_tuner.py                      # on a small drawn data set
    python examples/plain_ray_tuner.py --data my/coco --samples 20 --epochs 9

Any scheduler, search algorithm or callback of Ray Tune goes with it. What `ikd sweep` adds (anchors, repeats, what is
kept apart, a study that survives anything) is not in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from ikd import load_recipe, tune_trainable
from ikd.data import draw_dataset

WORK = Path(gettempdir()) / "ikd-example"


def main() -> None:
    """Search the weight of a loss, and print the best trial."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with train.json, val.json and images/; drawn without it")
    options.add_argument("--samples", type=int, default=3)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument(
        "--work", type=Path, default=Path(gettempdir()) / "ikd-example", help="folder for what is made"
    )
    given = options.parse_args()

    data = given.data or given.work / "drawn"
    if given.data is None and not data.exists():
        draw_dataset(data, num_train=32, num_val=16, size_px=128)
    recipe = load_recipe(
        "small_r18",
        {
            "data.root": str(data.resolve()),
            "schedule.epochs": given.epochs,
            "distill.host": "mgd",
            "adversarial.enabled": False,
        },
    )
    tuner = tune.Tuner(
        tune.with_resources(tune_trainable(recipe), {"cpu": 1}),
        param_space={
            "distill.mgd.alpha": tune.loguniform(2e-7, 2e-5),  # keys are recipe fields
            "schedule.optimizer.lr": tune.choice([1e-3, 2e-3]),
        },
        tune_config=tune.TuneConfig(
            metric="bbox_mAP",
            mode="max",
            num_samples=given.samples,
            scheduler=ASHAScheduler(max_t=given.epochs, grace_period=1),
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(given.work.resolve() / "tune"), verbose=0),
    )
    best = tuner.fit().get_best_result()
    assert best.metrics is not None
    assert best.checkpoint is not None
    print(f"best: bbox_mAP {100 * best.metrics['bbox_mAP']:.1f} with {best.config}")
    print(f"its student: {Path(best.checkpoint.path) / 'best.pth'}")


if __name__ == "__main__":
    main()
