"""Rules between what is searched and who searches: samplers, schedulers, costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from ikd.config.document import Document, Location
from ikd.config.recipe.fields import loss_weights
from ikd.config.recipe.recipe import Recipe
from ikd.config.recipe.stages import SEQUENCE
from ikd.config.space.confirm import room_fault, shares_of, unrepeatable
from ikd.config.space.counting import number_of_settings
from ikd.config.space.domain import Domain
from ikd.config.space.sections import SpaceSections
from ikd.errors import Problem

GRID_CONFIGURATIONS = 20_000
"""A larger space is not for a full factorial."""
SEED_LIMIT = 2**31
SEEDS_BESIDES = 100_000
"""Seeds above the recipe's, at most, that repeats and trainings kept apart have."""
LOSS_WEIGHTS = frozenset(loss_weights())
"""Fields that may change in the middle of a training: they scale a term and leave every module as it is."""


def check_search(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Yield the faults between the parameters of a right, resolved space and its sampler, scheduler, costs, budget."""
    yield from _rung_problems(space, recipe, document)
    yield from _grid_problems(space, recipe, document)
    yield from _cost_problems(space, document)
    yield from _single_objective_problems(space, document)
    yield from _cmaes_problems(space, document)
    yield from _pbt_problems(space, document)
    yield from _epoch_problems(space, recipe, document)
    yield from _confirm_problems(space, recipe, document)
    yield from _priors_problems(space, document)
    kind, _, _ = space.objective.metric.partition("_")
    if kind not in recipe.validate:
        rule = f"needs {kind} in the recipe's validate, which is {list(recipe.validate)}"
        yield document.problem(("objective", "metric"), space.objective.metric, rule)
    nsga2 = space.sampler.nsga2
    if nsga2 is not None and nsga2.population > space.budget.trials:
        rule = f"must be at most budget.trials ({space.budget.trials}): the first generation is random"
        yield document.problem(("sampler", "nsga2", "population"), nsga2.population, rule)


def _rung_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Refuse rungs at stage ends where nothing has a second stage: they would never act."""
    asha = space.scheduler.asha
    if asha is None or any(len(ends) > 1 for ends in space.stage_ends(recipe)):
        return
    rule = f"needs a sequence of at least two teachers in {SEQUENCE}, of the recipe or of the space"
    if asha.rungs == "stages":
        yield document.problem(("scheduler", "asha", "rungs"), asha.rungs, rule)
    if asha.first_stage_grace:
        yield document.problem(("scheduler", "asha", "first_stage_grace"), True, rule)


def _grid_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    grid = space.sampler.grid
    if grid is None:
        return
    endless = [name for name, domain in space.parameters.items() if domain.size == math.inf]
    for name in endless:
        rule = "must be finite for sampler grid: a choice, a step or a factor"
        yield document.problem(("parameters", name), None, rule)
    if not endless and number_of_settings(space) > GRID_CONFIGURATIONS:
        rule = f"must have at most {GRID_CONFIGURATIONS} configurations for sampler grid"
        yield document.problem(("parameters",), int(number_of_settings(space)), rule)
    place: Location = ("sampler", "grid", "repeats")
    if grid.repeats > 1 and "seed" in space.fields:
        yield document.problem(place, grid.repeats, "must be 1 when seed is searched: a repeat is another seed")
    if recipe.seed + grid.repeats > SEED_LIMIT:
        yield document.problem(place, grid.repeats, f"must leave the recipe's seed plus repeats below {SEED_LIMIT}")


def _priors_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    """Refuse priors that nobody would heed."""
    if space.priors is None:
        return
    if space.sampler.grid is not None:
        yield document.problem(("priors",), space.priors, "goes with samplers that draw; a full factorial tries all")
    elif not any(domain.prior is not None for domain in space.parameters.values()):
        rule = "must be left out: the recipe's own values are outside of the ranges of all parameters"
        yield document.problem(("priors",), space.priors, rule)


def _cost_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    if len(set(space.costs)) < len(space.costs):
        yield document.problem(("costs",), list(space.costs), "must not repeat a cost")
    asha = space.scheduler.asha
    if asha is not None and asha.by == "nondominated" and not space.costs:
        rule = "needs costs; with the objective alone write objective"
        yield document.problem(("scheduler", "asha", "by"), asha.by, rule)


def _single_objective_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    if space.costs and space.sampler.kind in ("cmaes", "effects"):
        rule = "goes with a single objective; take out costs, or take tpe, gp or nsga2"
        yield document.problem(("sampler", space.sampler.kind), None, rule)
    if space.costs and space.scheduler.hopeless is not None:
        rule = "goes with a single objective, or what is cheap stops; take out costs, or take asha by: nondominated"
        yield document.problem(("scheduler", "hopeless"), None, rule)


def _cmaes_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    if space.sampler.cmaes is None:
        return
    for name, domain in _varied(space):
        if domain.choice is not None:
            rule = "must be a range of numbers for sampler cmaes, and is a choice; take another sampler or fix it"
            yield document.problem(("parameters", name), None, rule)
        if domain.when:
            rule = "must not depend on other parameters with sampler cmaes; take another sampler"
            yield document.problem(("parameters", name, "when"), None, rule)


def _pbt_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    if space.scheduler.pbt is None:
        return
    varied = _varied(space)
    if not varied:
        yield document.problem(("scheduler", "pbt"), None, "needs a searched loss weight, such as adversarial.weight")
    for name, domain in varied:
        strange = [field for field in (name, *domain.also) if field not in LOSS_WEIGHTS]
        if strange:
            known = ", ".join(sorted(LOSS_WEIGHTS))
            rule = f"must feed loss weights only with scheduler pbt ({known}), and feeds {strange[0]}"
            yield document.problem(("parameters", name), None, rule)
        elif domain.choice is not None:
            rule = "must be a range of numbers for scheduler pbt, and is a choice"
            yield document.problem(("parameters", name), None, rule)


def _varied(space: SpaceSections) -> list[tuple[str, Domain]]:
    """Return the parameters that were not fixed to one value."""
    return [(name, domain) for name, domain in space.parameters.items() if domain.size > 1]


def _epoch_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Refuse first comparisons at or after the last epoch: nothing would ever be stopped or taken over."""
    found = {
        ("median", "grace_epochs"): space.scheduler.median,
        ("hyperband", "grace_epochs"): space.scheduler.hyperband,
        ("hopeless", "grace_epochs"): space.scheduler.hopeless,
        ("pbt", "interval_epochs"): space.scheduler.pbt,
    }
    for (kind, field), section in found.items():
        epochs = getattr(section, field, None)
        if epochs is not None and epochs >= recipe.total_epochs:
            rule = f"must be below the {recipe.total_epochs} epochs of a training"
            yield document.problem(("scheduler", kind, field), epochs, rule)


def _confirm_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    confirm, place = space.budget.confirm, ("budget", "confirm")
    if confirm.apart == 1:
        yield document.problem((*place, "apart"), 1, "must be 0, or at least 2: one training has no spread")
    for field in ("share", "apart"):
        if getattr(confirm, field) and (why := unrepeatable(space)):
            yield document.problem((*place, field), getattr(confirm, field), f"must be 0: {why}")
            return
    if confirm.share and space.costs:
        rule = "must be 0 with costs: repeats choose by the objective alone"
        yield document.problem((*place, "share"), confirm.share, rule)
    if (fault := room_fault(space, recipe)) is not None:
        field, value, rule = fault
        yield document.problem((*place, field), value, rule)
    if shares_of(space, recipe.total_epochs).acts and recipe.seed + SEEDS_BESIDES > SEED_LIMIT:
        rule = f"must be at most {SEED_LIMIT - SEEDS_BESIDES}: repeats and trainings kept apart have seeds above it"
        yield dataclasses.replace(document.problem(place, recipe.seed, rule), field="seed of the recipe")
