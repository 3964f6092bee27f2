"""A sweep from Python: recipe and search space as objects, and the export of what was chosen.

    python examples/sweep_from_python.py                    # on a small drawn data set
    python examples/sweep_from_python.py --data my/coco --trials 40 --epochs 9

Given again it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import gettempdir

from ikd import Runner, SearchSpace, export_sweep, load_recipe, run_sweep
from ikd.data import draw_dataset

WORK = Path(gettempdir()) / "ikd-example"
RECIPE = "small_r18"
PARAMETERS = {
    "distill.host": {"choice": ["mgd", "pkd"]},
    "distill.mgd.alpha": {"log_uniform": [2e-7, 2e-5], "when": {"distill.host": "mgd"}},
    "distill.pkd.weight": {"log_uniform": [0.3, 10.0], "when": {"distill.host": "pkd"}},
    "adversarial.enabled": {"choice": [True, False]},
}


def make_space(trials: int) -> SearchSpace:
    """Say what varies, beside what and for how long."""
    return SearchSpace.model_validate(
        {
            "recipe": RECIPE,
            "parameters": PARAMETERS,
            "anchors": ["student_alone", "inherit_alone"],
            "budget": {"trials": trials},
        }
    )


def main() -> None:
    """Search a loss and its weight, and write the best student."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder with train.json, val.json and images/; drawn without it")
    options.add_argument("--name", default="from_python", help="of the sweep")
    options.add_argument("--trials", type=int, default=6)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--work", type=Path, default=WORK, help="folder for what is made")
    given = options.parse_args()

    data = given.data or given.work / "drawn"
    if given.data is None and not data.exists():
        draw_dataset(data, num_train=32, num_val=16, size_px=128)
    recipe = load_recipe(RECIPE, {"data.root": str(data.resolve()), "schedule.epochs": given.epochs})
    result = run_sweep(
        make_space(given.trials),
        recipe=recipe,
        runner=Runner(concurrency=2),
        name=given.name,
        force=given.data is None,  # two epochs on drawn pictures teach nobody anything; your data should
    )
    if result.best is None:
        raise SystemExit(f"no result: {result.reason}")
    print(export_sweep(given.name, given.work / "student").summary())


if __name__ == "__main__":
    main()
