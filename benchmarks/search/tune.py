"""The same search as a person writes it with Ray Tune: `OptunaSearch` and `ASHAScheduler`, nothing of ours.

Both are Ray's own classes. `plain` asks them as Tune's controller does, without a Ray; `on_ray` lets Tune do it, and is
what `plain` is checked against. Tune tells Optuna every trial that ASHA stopped as complete, with the value of its last
epoch. That is part of what is compared.
"""

from __future__ import annotations

import heapq
import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import optuna

from benchmarks.search.simulate import CONCURRENCY, Event, training_seed
from benchmarks.search.worlds import Array, World
from ikd.config import Domain, Recipe, Runner, SearchSpace
from ikd.sweep.study.distributions import labels, meant, quiet_optuna

METRIC = "mAP"
EPOCH_SECONDS = 0.25
"""On a Ray: long enough beside the start of a trial that two train at once, as real ones do."""
NEVER = 100_000
"""Trials that no search reaches: the epochs end it."""


@dataclass
class Searched:
    """One search by Tune.

    Attributes:
        events: in order of time.
        values: of each trial.
        expected: noise-free learning curve (E,) of each trial.
    """

    events: list[Event] = field(default_factory=list)
    values: list[Mapping[str, Any]] = field(default_factory=list)
    expected: list[Array] = field(default_factory=list)


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


def _parts(world: World, rungs: Mapping[str, float], seed: int) -> tuple[Any, Any]:
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    suggest = Suggest(world.base.searched())
    search = OptunaSearch(suggest, metric=METRIC, mode="max", seed=seed, points_to_evaluate=[world.paper()])
    named = {"grace_period": rungs["grace_epochs"], "reduction_factor": rungs["reduction_factor"]}
    return search, ASHAScheduler(metric=METRIC, mode="max", max_t=world.epochs, **named)


def plain(world: World, rungs: Mapping[str, float], *, seed: int, epochs: int, alone: bool = True) -> Searched:
    """Search as Tune does, two trials at a time, one unit of time an epoch.

    Args:
        world: that trains.
        rungs: grace and reduction factor of ASHA, by their names in a search-space file.
        seed: of the sampler and of every training.
        epochs: after so many trained ones the search is cut off.
        alone: whether one training is spent on the student alone besides, beside the first of the search: whoever
            wants to know what distilling gains needs it. Tune is not told.
    """
    with quiet_optuna():
        return _Controller(world, rungs, seed).run(epochs, alone=alone)


class _Controller:
    """What Tune's controller does with searcher and scheduler (`TuneController._process_trial_result`, Ray 2.60)."""

    def __init__(self, world: World, rungs: Mapping[str, float], seed: int) -> None:
        self._world, self._recipe = world, world.base.recipe(training_seed(seed))
        self._search, self._asha = _parts(world, rungs, seed)
        self._found, self._curves = Searched(), list[Array]()

    def run(self, epochs: int, *, alone: bool) -> Searched:
        queue = [(1, 0, self._begun())]
        queue.append((1, 0, self._alone() if alone else self._begun()))
        while len(self._found.events) < epochs:
            now, epoch, number = heapq.heappop(queue)
            over = self._reported(number, epoch + 1)
            heapq.heappush(queue, (now + 1, 0, self._begun()) if over else (now + 1, epoch + 1, number))
        return self._found

    def _begun(self) -> int:
        number = len(self._curves)
        config = self._search.suggest(str(number))
        self._asha.on_trial_add(None, SimpleNamespace(trial_id=str(number)))
        recipe = self._recipe.with_values(config)
        return self._trained(config, self._world.expected(config), recipe)

    def _alone(self) -> int:
        return self._trained({}, self._world.alone, self._recipe.student_alone())

    def _trained(self, values: Mapping[str, Any], expected: Array, recipe: Recipe) -> int:
        self._curves.append(self._world.train(expected, recipe.fingerprint()))
        self._found.values.append(values)
        self._found.expected.append(expected)
        return len(self._curves) - 1

    def _reported(self, number: int, epoch: int) -> bool:
        """Train one epoch; return whether the trial has ended with it."""
        name, value = str(number), float(self._curves[number][epoch - 1])
        self._found.events.append(Event(number, epoch, value))
        if not self._found.values[number]:
            return epoch == self._world.epochs
        result = {METRIC: value, "training_iteration": epoch}
        stopped = bool(self._asha.on_trial_result(None, SimpleNamespace(trial_id=name), result) == "STOP")
        if stopped:
            self._search.on_trial_complete(name, result)
        else:
            self._search.on_trial_result(name, result)
        return stopped


def train(config: Mapping[str, Any], recipe: Recipe, world: World) -> None:
    """Train one trial inside a Ray worker."""
    from ray import tune

    curve = world.train(world.expected(config), recipe.with_values(config).fingerprint())
    for value in curve:
        time.sleep(EPOCH_SECONDS)
        tune.report({METRIC: float(value)})


def on_ray(world: World, rungs: Mapping[str, float], *, seed: int, epochs: int) -> Searched:
    """Search with Tune itself, on a Ray of its own.

    Args:
        world: that trains; must be a recording's, as its curves go to another process.
        rungs: grace and reduction factor of ASHA, by their names in a search-space file.
        seed: of the sampler and of every training.
        epochs: after so many trained ones the search is cut off.
    """
    from ikd.sweep.tune.environment import prepare_environment

    prepare_environment("local")
    from ray import tune

    from ikd.sweep.tune.cluster import ray_session

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    found = Searched()
    search, asha = _parts(world, rungs, seed)
    runner = Runner.model_validate({"concurrency": CONCURRENCY})
    with ray_session(runner), tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_parameters(train, recipe=world.base.recipe(training_seed(seed)), world=world),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=asha,
                num_samples=NEVER,
                max_concurrent_trials=CONCURRENCY,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, stop=_enough(found, epochs), callbacks=[_note(found, world)]
            ),
        ).fit()
    found.events = found.events[:epochs]
    return found


def _enough(found: Searched, epochs: int) -> Any:
    from ray import tune

    class Enough(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return len(found.events) >= epochs

    return Enough()


def _note(found: Searched, world: World) -> Any:
    from ray import tune

    class Note(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            for one in trials[len(found.values) :]:  # as they began: which of two reports first is chance
                found.values.append(one.config)
                found.expected.append(world.expected(one.config))
            number = [one.trial_id for one in trials].index(trial.trial_id)
            found.events.append(Event(number, result["training_iteration"], result[METRIC]))

    return Note()
