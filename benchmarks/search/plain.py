"""The same search as a person writes it with Ray Tune: `OptunaSearch` and `ASHAScheduler`, nothing of ours.

Tune tells Optuna every trial that ASHA stopped as complete, with the value of its last epoch. That is part of what is
compared.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna

from benchmarks.search.runs import CONCURRENCY, NEVER, RUNGS, Run
from benchmarks.search.surrogate import Surrogate
from ikd.config import Domain, Recipe, Runner, SearchSpace
from ikd.sweep.study.distributions import labels, meant
from ikd.sweep.tune.environment import prepare_environment

TUNE_RUNGS = {"grace_period": RUNGS["grace_epochs"], "reduction_factor": RUNGS["reduction_factor"]}
EPOCH_SECONDS = 0.25
"""Long enough beside the start of a trial that two train at once, as real ones do."""


@dataclass(frozen=True)
class Suggest:
    """The space as a define-by-run function, which is how `OptunaSearch` takes conditions."""

    space: SearchSpace

    def __call__(self, trial: optuna.Trial) -> None:
        """Suggest every parameter that exists."""
        values: dict[str, Any] = {}
        for name in self.space.ordered():
            if self.space.is_active(name, values):
                values[name] = _suggested(trial, name, self.space.parameters[name])


def _suggested(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    if domain.choice is not None:
        return meant(domain, trial.suggest_categorical(name, labels(domain)))
    assert domain.bounds is not None
    low, high = domain.bounds
    if domain.integer is not None or domain.log_int is not None:
        return trial.suggest_int(name, low, high, step=int(domain.step or 1), log=domain.log_int is not None)
    return trial.suggest_float(name, low, high, step=domain.step, log=domain.log_uniform is not None)


def train(config: Mapping[str, Any], recipe: Recipe, surrogate: Surrogate) -> None:
    """Train one trial inside a Ray worker."""
    from ray import tune

    curve = surrogate.train(recipe.with_values(config), config)
    for value in curve:
        time.sleep(EPOCH_SECONDS)
        tune.report({"mAP": float(value)})


def plain(surrogate: Surrogate, *, seed: int, epochs: int) -> Run:
    """Search with Tune, on a Ray of its own.

    Args:
        surrogate: trains, and knows what is searched.
        seed: of the sampler and of every training.
        epochs: after so many trained ones the search is cut off.
    """
    prepare_environment("local")
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from ikd.sweep.tune.cluster import ray_session

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    run = Run()
    recipe = surrogate.recording.recipe(seed)
    search = OptunaSearch(
        Suggest(surrogate.space), metric="mAP", mode="max", seed=seed, points_to_evaluate=[surrogate.paper()]
    )
    asha = ASHAScheduler(metric="mAP", mode="max", max_t=surrogate.epochs, **TUNE_RUNGS)
    runner = Runner.model_validate({"concurrency": CONCURRENCY})
    with ray_session(runner), tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_parameters(train, recipe=recipe, surrogate=surrogate),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=asha,
                num_samples=NEVER,
                max_concurrent_trials=CONCURRENCY,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, stop=_enough(run, epochs), callbacks=[_note(run, surrogate)]
            ),
        ).fit()
    run.events = run.events[:epochs]
    return run


def _enough(run: Run, epochs: int) -> Any:
    from ray import tune

    class Enough(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return len(run.events) >= epochs

    return Enough()


def _note(run: Run, surrogate: Surrogate) -> Any:
    from ray import tune

    class Note(tune.Callback):
        numbers: ClassVar[dict[str, int]] = {}

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            number = self.numbers.setdefault(trial.trial_id, len(self.numbers))
            run.events.append((number, result["training_iteration"], result["mAP"]))
            run.values[number] = trial.config
            run.expected[number] = float(surrogate.expected(trial.config).max())

    return Note()
