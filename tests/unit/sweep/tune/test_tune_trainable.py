"""`tune_trainable` in a script of one's own, with ikd's real training."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.config import Recipe
from ikd.sweep import tune_trainable


@pytest.mark.slow
@pytest.mark.usefixtures("ray_running")
def test_a_tuner_of_ones_own_searches_dotted_fields(recipe: Recipe, tmp_path: Path) -> None:
    from ray import tune

    short = recipe.student_alone().with_values({"schedule.epochs": 2, "input.scale": [64, 64]})
    tuner = tune.Tuner(
        tune.with_resources(tune_trainable(short), {"cpu": 1}),
        param_space={"schedule.optimizer.lr": tune.grid_search([1e-3, 1e-6])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="own", verbose=0),
    )
    results = list(tuner.fit())
    assert [result.error for result in results] == [None, None]
    losses = [result.metrics["loss/total"] for result in results if result.metrics]
    assert losses[0] < losses[1], "the learning rate acts"
    for result in results:
        assert result.metrics is not None
        assert result.metrics["training_iteration"] == 2
        assert result.checkpoint is not None
        assert (Path(result.checkpoint.path) / "best.pth").is_file()
