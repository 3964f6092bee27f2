"""From a search space and the trials so far to the next values."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from ikd.config import Domain, Recipe, SearchSpace
from ikd.errors import ConfigError
from ikd.sweep._domains import as_chosen, configurations, contains, distribution_of, distributions, on_grid, point
from ikd.sweep._records import ANCHOR_NAMES, OPEN, TrialRecord, worst_value

MODEL_DRAWS = 8
"""Draws from the model before a duplicate makes us draw at random."""
RANDOM_DRAWS = 200
"""Random draws before the space is searched one by one (finite) or called exhausted (continuous)."""
LISTED_CONFIGURATIONS = 20_000
"""A finite space up to this size is searched one by one for what is left."""


@dataclass(frozen=True)
class Proposal:
    """The next trial.

    Attributes:
        values: recipe fields by dotted name; only those that exist under their parents' values.
        recipe: the base recipe with `values`.
        anchors: names of the anchors it is; empty when sampled.
        in_space: `values` is a point of the space.
    """

    values: Mapping[str, Any]
    recipe: Recipe
    anchors: tuple[str, ...] = ()
    in_space: bool = True


def anchor_proposals(space: SearchSpace, recipe: Recipe) -> list[Proposal]:
    """Return the anchors, one proposal per distinct configuration.

    An anchor whose values all lie inside the space is a point of it and the sampler learns from its result. One that
    lies outside (the student alone nearly always) stays outside the sampler's model: it has no coordinates there. Its
    values are kept all the same, so that a table shows what it had where the others vary.
    """
    found: dict[str, Proposal] = {}
    for anchor in space.anchors:
        fixed = recipe.anchor(anchor)
        print_ = fixed.fingerprint()
        if print_ in found:
            found[print_] = replace(found[print_], anchors=(*found[print_].anchors, anchor))
            continue
        own = {name: as_chosen(domain, field_value(fixed, name)) for name, domain in space.parameters.items()}
        point_ = space.active(own)
        fed = space.expanded(point_)
        inside = all(contains(space.parameters[name], value) for name, value in point_.items())
        inside = inside and _fingerprint(recipe, fed) == print_
        shown = {field: point_[field] if field in point_ else field_value(fixed, field) for field in fed}
        found[print_] = Proposal(shown, fixed, (anchor,), inside)
    return list(found.values())


def _fingerprint(recipe: Recipe, values: Mapping[str, Any]) -> str | None:
    with contextlib.suppress(ConfigError):  # of values that the recipe takes only together with others
        return recipe.with_values(values).fingerprint()
    return None


def field_value(recipe: Recipe, name: str) -> Any:
    """Return a recipe field by dotted name; None when it lies below a key that is not there."""
    node: Any = recipe.as_dict()
    parts = name.split(".")
    for index, part in enumerate(parts):
        rest = ".".join(parts[index:])
        if isinstance(node, dict) and rest in node:  # keys of `overrides` are dotted themselves
            return node[rest]
        node = node.get(part) if isinstance(node, dict) else None
    return node


def propose(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], *, number: int | None = None
) -> Proposal | None:
    """Return the next configuration that was never tried, or None when the space is exhausted.

    The answer depends on the arguments alone: the sampler is made anew, seeded by the space's seed and the trial's
    number, and sees the recorded trials. So a restarted sweep proposes what an uninterrupted one would.

    Args:
        space: what is searched.
        recipe: the base.
        records: every trial of the study, in order of number.
        number: of the trial to be; default is the next one.
    """
    number = len(records) if number is None else number
    if space.sampler.grid is not None:
        return _next_of_grid(space, recipe, records, space.sampler.grid.repeats)
    with quiet_optuna():
        return _propose(space, recipe, records, number)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing every study, without changing what a person's own script has set."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _propose(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], number: int) -> Proposal | None:
    tried = {record.fingerprint for record in records}
    view = _view(space, records)
    for attempt in range(MODEL_DRAWS + RANDOM_DRAWS):
        seed = int(np.random.SeedSequence([space.seed, number, attempt]).generate_state(1)[0])
        view.sampler = _sampler(space, seed) if attempt < MODEL_DRAWS else optuna.samplers.RandomSampler(seed)
        trial = view.ask()
        values = _suggested(space, trial)
        view.tell(trial, state=TrialState.FAIL)  # not part of what the next draw sees
        proposal = _untried(recipe, space.expanded(values), tried)
        if proposal is not None:
            return proposal
    return _left_over(space, recipe, tried, number)


def _untried(recipe: Recipe, values: Mapping[str, Any], tried: set[str]) -> Proposal | None:
    try:
        candidate = recipe.with_values(values)
    except ConfigError:  # a combination that fields of the recipe exclude, such as attack.step above attack.eps
        return None
    return None if candidate.fingerprint() in tried else Proposal(values, candidate)


def _left_over(space: SearchSpace, recipe: Recipe, tried: set[str], number: int) -> Proposal | None:
    if space.num_configurations() > LISTED_CONFIGURATIONS:
        return None
    everything = list(configurations(space))
    order = np.random.default_rng([space.seed, number]).permutation(len(everything))
    candidates = (_untried(recipe, space.expanded(everything[index]), tried) for index in order)
    return next((candidate for candidate in candidates if candidate is not None), None)


def _next_of_grid(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], repeats: int
) -> Proposal | None:  # fmt: skip
    """Return the next configuration of a full factorial; every one comes once before any is repeated."""
    tried = {record.fingerprint for record in records}
    known = [dict(record.values) for record in records if record.in_space]
    everything = [space.expanded(values) for values in configurations(space)]
    for repeat in range(repeats):
        again = {"seed": recipe.seed + repeat} if repeats > 1 else {}
        for index in np.random.default_rng([space.seed, repeat]).permutation(len(everything)):
            values = {**everything[index], **again}
            if values not in known and (proposal := _untried(recipe, values, tried)) is not None:
                return proposal
    return None


def _suggested(space: SearchSpace, trial: optuna.Trial) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in space.ordered():
        if space.is_active(name, values):
            values[name] = _suggest(trial, name, space.parameters[name])
    return values


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    distribution = distribution_of(domain)
    if isinstance(distribution, CategoricalDistribution):
        assert domain.choice is not None
        chosen = trial.suggest_categorical(name, distribution.choices)
        return domain.choice[list(distribution.choices).index(chosen)]
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    assert isinstance(distribution, FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    value = trial.suggest_float(name, low, high, step=step, log=distribution.log)
    return value if step is None else on_grid(domain, round((value - low) / step))


def _sampler(space: SearchSpace, seed: int) -> optuna.samplers.BaseSampler:
    tpe = space.sampler.tpe
    if tpe is None:
        return optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group=True
        return optuna.samplers.TPESampler(
            n_startup_trials=tpe.startup_trials,
            multivariate=tpe.multivariate,
            group=tpe.group,
            constant_liar=tpe.constant_liar,
            n_ei_candidates=tpe.ei_candidates,
            seed=seed,
        )


def _view(space: SearchSpace, records: Sequence[TrialRecord]) -> optuna.Study:
    """Return what the sampler may learn from, in memory.

    Not the study itself, for three reasons: anchors outside the space have no coordinates; a diverged trial must rank
    below every stopped one, wherever it diverged (Optuna ranks pruned trials by how far they came); and a sampler that
    keeps notes in the study would make the next proposal depend on more than the records.
    """
    maximize = space.objective.mode == "max"
    direction = optuna.study.StudyDirection.MAXIMIZE if maximize else optuna.study.StudyDirection.MINIMIZE
    view = optuna.create_study(storage=optuna.storages.InMemoryStorage(), direction=direction)
    for record in records:
        if record.in_space and record.state != "failed":
            view.add_trial(_seen(space, record))
    return view


def _seen(space: SearchSpace, record: TrialRecord) -> optuna.trial.FrozenTrial:
    metric, mode = space.objective.metric, space.objective.mode
    params = point(space, record.values)
    steps = {report.epoch: report.metrics[metric] for report in record.reports if metric in report.metrics}
    state, value = TrialState.PRUNED, None
    if record.state in OPEN:
        state = TrialState.RUNNING
    elif record.state == "finished":
        state, value = TrialState.COMPLETE, record.metric
    elif record.state == "diverged":
        steps = {0: worst_value(mode)}
    return optuna.trial.create_trial(
        state=state,
        value=value,
        params=params,
        distributions=distributions(space, list(params)),
        intermediate_values={} if state is TrialState.RUNNING else steps,
    )


def sampled_name(anchors: Sequence[str]) -> str:
    """Return the name of an anchor trial for people."""
    return " = ".join(ANCHOR_NAMES[anchor] for anchor in anchors)
