"""The search space: which recipe fields vary, how, and what is optimised."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import Self

from ikd.config.paths import from_here
from ikd.config.recipe.recipe import Recipe
from ikd.config.recipe.sections import Anchor, Teachers
from ikd.config.recipe.stages import SEQUENCE, TOGETHER, stage_ends
from ikd.config.section import Section
from ikd.config.space.conditions import Test, holds, parents, test_of, translated, wanted
from ikd.config.space.constraints import Constraint, constraint
from ikd.config.space.domain import Domain
from ikd.config.space.search import Auto, Budget, Cost, EffectsModel, Objective, Sampler, Scheduler, Tpe
from ikd.config.space.stopping import Chosen, chosen_scheduler


class SpaceSections(Section):
    """The fields of a search space, and what can be read off them alone; `SearchSpace` is what a person works with."""

    recipe: str
    """Shipped recipe name, or path of a recipe file from the file that says it."""
    description: str = ""
    """One line for people."""
    set: dict[str, Any] = {}
    """Recipe fields fixed for this search, by dotted name."""
    objective: Objective = Objective()
    """Objective: decides the best epoch and the best trial."""
    costs: tuple[Cost, ...] = ()
    """What shall be small besides: the student's gflops, mparameters (millions), latency_ms; the trial's gpu_hours."""
    parameters: dict[str, Domain] = {}
    """Varied fields by dotted name."""
    constraints: tuple[str, ...] = ()
    """What every trial but an anchor must fulfil, between recipe fields by dotted name: `attack.step <= attack.eps`;
    with comparisons, arithmetic, and, or, not, in, len, min, max."""
    priors: Literal["paper"] | None = None
    """`paper` expects good values around the recipe's own wherever a parameter has them and says no `prior`."""
    anchors: tuple[Anchor, ...] = ("paper", "student_alone")
    """Fixed trials that run first and are never stopped: the recipe's own values; the student without distillation; the
    same with what it inherits; the last teacher alone for all epochs; every stage as long as the whole schedule; the
    last teacher alone that long. Where none are named and the recipe inherits, inherit_alone is one too, if the budget
    leaves a trial besides."""
    scheduler: Scheduler = Scheduler(auto=Auto())
    """Early stopping."""
    sampler: Sampler = Sampler(effects=EffectsModel())
    """Sampler. Where none is named a space with costs has tpe, since effects goes with one objective."""
    budget: Budget = Budget()
    """Budget."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler."""

    def ordered(self) -> tuple[str, ...]:
        """Return the parameter names, parents before children, else in the order of the file.

        A space that is still checked may have conditions that lead in a circle, or to nothing; there no order is right.
        """
        done: list[str] = []
        seen: set[str] = set()

        def visit(name: str) -> None:
            if name in self.parameters and name not in seen:
                seen.add(name)
                for parent in self.parents(name):
                    visit(parent)
                done.append(name)

        for name in self.parameters:
            visit(name)
        return tuple(done)

    def parents(self, name: str) -> tuple[str, ...]:
        """Return the parameters that the condition of parameter `name` reads."""
        return parents(self.parameters[name].when)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Tell whether parameter `name` exists, given the values of its parents; an absent parent matches nothing."""
        return holds(self.parameters[name].when, values)

    def existence(self) -> dict[str, Test]:
        """Return for each parameter what tells whether it exists, given values of its parents; see `is_active`."""
        return {name: test_of(domain.when) for name, domain in self.parameters.items()}

    def settings(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the values that some parameters and their ancestors may have together, absent ones left out.

        All of them must have finitely many values, as parents do.
        """
        return self._settings(self.with_ancestors(names), {})

    def _settings(self, names: tuple[str, ...], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield values
        elif not self.is_active(names[0], values):
            yield from self._settings(names[1:], values)
        else:
            for value in self.parameters[names[0]].grid() or ():
                yield from self._settings(names[1:], {**values, names[0]: value})

    def with_ancestors(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return some parameters and all that decide whether they exist, parents before children."""
        found, pending = set(), list(names)
        while pending:
            name = pending.pop()
            if name in self.parameters and name not in found:
                found.add(name)
                pending += self.parents(name)
        return tuple(name for name in self.ordered() if name in found)

    def with_parents(self, name: str, value: Any) -> dict[str, Any]:
        """Return parameter values under which `name` exists and is `value`."""
        possible = (one for one in self.settings(self.parents(name)) if self.is_active(name, one))
        return {**next(possible, {}), name: value}

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the values of parameters that do not exist under their parents' values."""
        kept: dict[str, Any] = {}
        for name in self.ordered():
            if name in values and self.is_active(name, kept):
                kept[name] = values[name]
        return kept

    @property
    def rules(self) -> tuple[Constraint, ...]:
        """The parsed constraints."""
        return tuple(constraint(text) for text in self.constraints)

    @property
    def followers(self) -> tuple[str, ...]:
        """The recipe fields that take another one's value through `also`."""
        return tuple(field for domain in self.parameters.values() for field in domain.also)

    @property
    def fields(self) -> tuple[str, ...]:
        """The recipe fields that the parameters feed."""
        return (*self.parameters, *self.followers)

    def expanded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe values of parameter values: those that `also` feeds are added."""
        return {field: value for name, value in values.items() for field in (name, *self.parameters[name].also)}

    def with_fixed(self, fixed: Mapping[str, Any]) -> Self:
        """Return a resolved space in which some parameters have one value, by itself or by its short name.

        Parameters that can then no longer exist are left out; those that always do lose their condition.
        """
        if not fixed:
            return self
        held = {name: self.parameters[name].fixed(value) for name, value in fixed.items()}
        space = self.model_copy(update={"parameters": {**self.parameters, **held}})
        kept: dict[str, Domain] = {}
        for name, domain in space.parameters.items():
            exists = {space.is_active(name, values) for values in space.settings(space.parents(name))}
            if True in exists:
                kept[name] = domain if False in exists else domain.model_copy(update={"when": {}})
        read = {parent for domain in kept.values() for parent in parents(domain.when)}
        kept = {name: kept.get(name, domain) for name, domain in space.parameters.items() if name in {*kept, *read}}
        return self.model_copy(update={"parameters": kept})

    def resolved(self, recipe: Recipe) -> Self:
        """Return the space in plain values: sequences as choices, names of choices as what they stand for."""
        resolved = {name: domain.resolved(name, recipe) for name, domain in self.parameters.items()}

        def meant(parent: str, content: Any) -> Any:
            domain = resolved.get(parent)
            values = [from_here(parent, domain.meant(one)) for one in wanted(content)] if domain else content
            return content if values == wanted(content) else values

        for name, domain in resolved.items():
            resolved[name] = domain.model_copy(update={"when": translated(domain.when, meant)})
        if self.priors == "paper":
            resolved = {name: domain.around(recipe.value(name)) for name, domain in resolved.items()}
            if SEQUENCE in resolved:  # a recipe's stages may say more than who teaches
                teachers = [stage.teacher for stage in recipe.teachers.stages]
                resolved[SEQUENCE] = resolved[SEQUENCE].around(teachers)
        space = self.model_copy(update={"parameters": resolved, "anchors": self._anchors_of(recipe)})
        if self.costs and "sampler" not in self.model_fields_set:
            space = space.model_copy(update={"sampler": Sampler(tpe=Tpe())})
        return space.stopped_by(recipe)

    def stopped_by(self, recipe: Recipe, budget: Budget | None = None) -> Self:
        """Return the space with a scheduler by its kind: with what `auto` stands for under a budget.

        Args:
            recipe: the base; its epochs count.
            budget: of the sweep, where it is another one than was written; what was chosen for that is chosen anew.
        """
        budget, scheduler = budget or self.budget, self.scheduler
        if scheduler.auto is not None or isinstance(scheduler, Chosen):
            scheduler = chosen_scheduler(recipe.total_epochs, budget, self.sampler, several=bool(self.costs))
        return self.model_copy(update={"scheduler": scheduler, "budget": budget})

    def _anchors_of(self, recipe: Recipe) -> tuple[Anchor, ...]:
        room = self.budget.trials > len(self.anchors) + 1
        fair = recipe.inherits and room and "anchors" not in self.model_fields_set
        return (*self.anchors, "inherit_alone") if fair else self.anchors

    def stage_ends(self, recipe: Recipe) -> list[tuple[int, ...]]:
        """Return the last epochs of the stages of every sequence of a resolved space, or of the recipe's own."""
        if SEQUENCE not in self.parameters and TOGETHER not in self.parameters:
            return [tuple(stage_ends(recipe))]
        known = recipe.teachers.model_dump(mode="json")
        at_once = self.parameters[TOGETHER].ends if TOGETHER in self.parameters else [recipe.teachers.together]
        orders = self.parameters[SEQUENCE].ends if SEQUENCE in self.parameters else [known["sequence"]]
        every = itertools.product(orders, at_once)
        plans = [{**known, "sequence": one, "together": together} for one, together in every]
        teachers = [Teachers.model_validate_json(json.dumps(plan)) for plan in plans]
        return [tuple(stage_ends(recipe.model_copy(update={"teachers": one}))) for one in teachers]
