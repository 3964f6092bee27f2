"""The recorded trials as an Optuna study in memory, for one proposal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ikd.config import Domain, SearchSpace
from ikd.sweep.records.trials import TrialRecord, worst_value
from ikd.sweep.samplers.history import History, Values
from ikd.sweep.study.distributions import distribution_of, distributions, meant, point
from ikd.trial import OPEN

Reader = Literal["tpe", "gp", "nsga2"]
SHORTFALL = "shortfall"
"""The name of the constraint that a finished trial fulfils."""


def blank_view(history: History) -> optuna.Study:
    """Return a study of the space's objectives without any trial."""
    maximize = history.space.objective.mode == "max"
    first = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
    directions = [first, *[StudyDirection.MINIMIZE] * len(history.space.costs)]
    return optuna.create_study(storage=optuna.storages.InMemoryStorage(), directions=directions)


def study_view(history: History, reader: Reader) -> optuna.Study:
    """Return what a sampler may learn from.

    Not the study itself, for three reasons: anchors outside the space have no coordinates; a diverged trial must rank
    below every stopped one, wherever it diverged (Optuna ranks pruned trials by how far they came); and a sampler that
    keeps notes in the study would make the next proposal depend on more than the records.

    What a trial that was stopped enters as depends on the reader, for Optuna's samplers treat PRUNED differently:

    * TPE of one objective ranks pruned trials behind all finished ones, by their last rung and their value there. So
      does ours, with the worst value at epoch 0 for a diverged trial.
    * TPE of several objectives cannot rank pruned trials (it asks for the one direction). It ranks trials that break a
      constraint behind all others, by how much. So a stopped trial is PRUNED and breaks one by `History.shortfall`.
    * GP sees finished trials alone; it would propose what was just stopped again and again. So a stopped trial is told
      at the worst value of all finished ones, or its own where that is worse still, and never at an early value that
      looks better than it is; a diverged one at the worst of all these.
    * NSGA-II sees finished trials alone too. So a stopped trial is told as one that breaks a constraint by
      `History.shortfall`: constrained domination puts it behind all finished ones and never compares its values.
    """
    view = blank_view(history)
    for record in history.known:
        view.add_trial(_seen(history, record, reader))
    return view


def trial_of(space: SearchSpace, record: TrialRecord, state: TrialState, **content: Any) -> FrozenTrial:
    """Return a record as an Optuna trial."""
    params = point(space, record.values)
    return create_trial(state=state, params=params, distributions=distributions(space, list(params)), **content)


def _seen(history: History, record: TrialRecord, reader: Reader) -> FrozenTrial:
    space = history.space
    if record.state in OPEN:
        return trial_of(space, record, TrialState.RUNNING)
    losses = history.losses(record)
    if losses is not None:
        values = [history.sign * losses[0], *losses[1:]]
        return trial_of(space, record, TrialState.COMPLETE, values=values, intermediate_values=_steps(history, record))
    if reader == "gp":
        return trial_of(space, record, TrialState.COMPLETE, values=_imputed(history, record))
    if reader == "nsga2":
        values = [history.last(record), *_costs(history, record)]
        constraints = {SHORTFALL: history.shortfall(record)}
        return trial_of(space, record, TrialState.COMPLETE, values=values, constraints=constraints)
    if space.costs:
        return trial_of(space, record, TrialState.PRUNED, constraints={SHORTFALL: history.shortfall(record)})
    return trial_of(space, record, TrialState.PRUNED, intermediate_values=_steps(history, record))


def _steps(history: History, record: TrialRecord) -> dict[int, float]:
    """Return the objective by epoch; of several objectives Optuna takes none."""
    metric = history.space.objective.metric
    if history.space.costs:
        return {}
    if record.state == "diverged":
        return {0: worst_value(history.space.objective.mode)}
    return {report.epoch: report.metrics[metric] for report in record.reports if metric in report.metrics}


def _imputed(history: History, record: TrialRecord) -> list[float]:
    """Return what a Gaussian process is told of a trial that did not finish."""
    finished = [losses[0] for one in history.ended if (losses := history.losses(one)) is not None]
    stopped = [record] if record.state == "stopped" else [one for one in history.ended if one.state == "stopped"]
    own = [history.sign * history.last(one) for one in stopped]
    # The worst loss is the largest. Not the worst that exists for a diverged one: it would flatten all differences.
    return [history.sign * max(finished + own, default=0.0), *_costs(history, record)]


def _costs(history: History, record: TrialRecord) -> list[float]:
    """Return the costs of a trial that did not finish; the highest known ones where it has none of its own."""
    seen = [one.costs(history.space.costs) for one in history.ended]
    highest = [max((one for one in each if math.isfinite(one)), default=0.0) for each in zip(*seen, strict=True)]
    own = record.costs(history.space.costs)
    return [mine if math.isfinite(mine) else most for mine, most in zip(own, highest, strict=True)]


def proposals(
    history: History, view: optuna.Study, make: Callable[[int], optuna.samplers.BaseSampler]
) -> Iterator[Values]:
    """Yield what a sampler suggests, made anew by its seed for each."""
    for attempt in itertools.count():
        yield asked(history, view, make(history.seed(attempt)))


def asked(history: History, view: optuna.Study, sampler: optuna.samplers.BaseSampler) -> Values:
    """Return the values that a sampler suggests next; the view stays as it was."""
    space = history.space
    view.sampler = sampler
    trial = view.ask()
    values: Values = {}
    for name in space.ordered():
        if space.is_active(name, values):
            values[name] = _suggest(trial, name, space.parameters[name])
    view.tell(trial, state=TrialState.FAIL)  # not part of what the next draw sees
    return values


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    distribution = distribution_of(domain)
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return meant(domain, trial.suggest_categorical(name, distribution.choices))
    if isinstance(distribution, optuna.distributions.IntDistribution):
        low, high = distribution.low, distribution.high
        return trial.suggest_int(name, low, high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    low_end, high_end = distribution.low, distribution.high
    return meant(domain, trial.suggest_float(name, low_end, high_end, step=distribution.step, log=distribution.log))
