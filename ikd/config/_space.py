"""The search space: which recipe fields vary, how, and what is optimised."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from ikd.config._recipe import Recipe, Teachers
from ikd.config._search import Asha, Budget, Cost, Objective, Sampler, Scheduler, Tpe
from ikd.config._section import Section
from ikd.config._sequences import Sequences
from ikd.config._stages import stage_ends
from ikd.config._yaml import Document
from ikd.errors import ConfigError

When = dict[str, Any]
Anchor = Literal["paper", "student_alone", "equal_budget", "epochs_per_stage", "epochs_per_stage_control"]
SEQUENCE = "teachers.sequence"
_KINDS = {
    "choice": "choice", "uniform": "uniform", "log_uniform": "log_uniform", "int": "integer", "sequence": "sequence",
}  # fmt: skip


class Domain(Section):
    """The values one field may take: exactly one of `choice`, `uniform`, `log_uniform`, `int`, `sequence`."""

    choice: tuple[Any, ...] | None = None
    """Any values of the field, at least one, no two equal."""
    uniform: tuple[float, float] | None = None
    """Lowest and highest value, evenly likely."""
    log_uniform: tuple[float, float] | None = None
    """Lowest and highest value, evenly likely in the logarithm; both above 0."""
    integer: tuple[int, int] | None = Field(default=None, alias="int")
    """Lowest and highest whole number, both included; written `int`."""
    sequence: Sequences | None = None
    """Orders of teachers, only for `teachers.sequence`; a loaded space has them as a `choice`."""
    step: Annotated[float, Field(gt=0.0)] | None = None
    """Grid of `uniform` or `int`."""
    when: When = {}
    """Parent parameter -> value, or list of values, under which this parameter exists. A value that is a list itself
    stands in a list: `when: {teachers.sequence: [[a, b]]}`."""
    also: tuple[str, ...] = ()
    """Other recipe fields that get the same value, so that one switch may stand for several."""

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Domain:
        given = [name for name, attribute in _KINDS.items() if getattr(self, attribute) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_KINDS)}, and has {given or 'none'}")
        if self.step is not None and given[0] not in ("uniform", "int"):
            raise ValueError(f"step goes with uniform or int, not with {given[0]}")
        if self.choice is not None:
            self._check_choice()
        elif self.sequence is None:
            self._check_range(given[0])
        return self

    def _check_choice(self) -> None:
        assert self.choice is not None
        if not self.choice:
            raise ValueError("choice must list at least one value")
        if any(value in self.choice[:index] for index, value in enumerate(self.choice)):
            raise ValueError(f"choice must not repeat a value, and is {list(self.choice)}")

    def _check_range(self, kind: str) -> None:
        low, high = getattr(self, _KINDS[kind])
        if not low < high:
            raise ValueError(f"{kind} must be [low, high] with low below high, and is [{low}, {high}]")
        if kind == "log_uniform" and low <= 0:
            raise ValueError(f"log_uniform needs a low end above 0, and has {low}")
        if kind == "int" and self.step is not None and self.step != round(self.step):
            raise ValueError(f"step of an int must be whole, and is {self.step}")

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a check must try: all choices, or both ends."""
        for values in (self.choice, self.uniform, self.log_uniform, self.integer):
            if values is not None:
                return tuple(values)
        raise AssertionError("sequences are a choice in a resolved space")

    @property
    def size(self) -> float:
        """Number of distinct values; infinite for a continuous range."""
        if self.choice is not None:
            return len(self.choice)
        assert self.sequence is None, "sequences are a choice in a resolved space"
        bounds = self.integer or self.uniform
        if bounds is None or (self.integer is None and self.step is None):
            return math.inf
        return math.floor((bounds[1] - bounds[0]) / (self.step or 1) + 1e-9) + 1

    def resolved(self, recipe: Recipe) -> Domain:
        """Return the domain with `sequence` as the `choice` it stands for, given the teachers of `recipe`."""
        if self.sequence is None:
            return self
        ap = {name: recipe.teachers.available[name].ap for name in self.sequence.of}
        return Domain(choice=tuple(self.sequence.listed(ap)), when=self.when, also=self.also)


class SearchSpace(Section):
    """Which recipe fields vary, how, and what is optimised."""

    recipe: str
    """Shipped recipe name, or path of a recipe file."""
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
    anchors: tuple[Anchor, ...] = ("paper", "student_alone")
    """Fixed trials that run first and are never stopped: the recipe's own values; the student without distillation; the
    last teacher alone for all epochs; every stage as long as the whole schedule; the last teacher alone that long."""
    scheduler: Scheduler = Scheduler(asha=Asha())
    """Early stopping."""
    sampler: Sampler = Sampler(tpe=Tpe())
    """Sampler."""
    budget: Budget = Budget()
    """Budget."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler."""

    def ordered(self) -> tuple[str, ...]:
        """Return the parameter names, parents before children, else in the order of the file."""
        done: list[str] = []

        def visit(name: str) -> None:
            if name not in done:
                for parent in self.parameters[name].when:
                    visit(parent)
                done.append(name)

        for name in self.parameters:
            visit(name)
        return tuple(done)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Tell whether parameter `name` exists, given the values of its parents (absent parents count as false)."""
        return all(
            parent in values and values[parent] in wanted(value) for parent, value in self.parameters[name].when.items()
        )

    def with_parents(self, name: str, value: Any) -> dict[str, Any]:
        """Return parameter values under which `name` exists and is `value`."""
        values: dict[str, Any] = {}
        for parent, allowed in self.parameters[name].when.items():
            values |= self.with_parents(parent, wanted(allowed)[0])
        return {**values, name: value}

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the values of parameters that do not exist under their parents' values."""
        kept: dict[str, Any] = {}
        for name in self.ordered():
            if name in values and self.is_active(name, kept):
                kept[name] = values[name]
        return kept

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

    def checked(self, recipe: Recipe, document: Document | None = None) -> SearchSpace:
        """Check the space against its recipe and return it with sequences of teachers as choices.

        Args:
            recipe: the base.
            document: the file of the space, for lines in messages; None is a space that was made by a program.

        Raises:
            ConfigError: lists every fault.
        """
        from ikd.config._space_checks import check_space  # the rules know this class

        problems = check_space(self, recipe, document or Document("(space)", {}))
        if problems:
            raise ConfigError(problems)
        return self.resolved(recipe)

    def resolved(self, recipe: Recipe) -> SearchSpace:
        """Return the space with sequences of teachers, found legal before, as choices."""
        resolved = {name: domain.resolved(recipe) for name, domain in self.parameters.items()}
        return self.model_copy(update={"parameters": resolved})

    def stage_ends(self, recipe: Recipe) -> list[tuple[int, ...]]:
        """Return the last epochs of the stages of every sequence of a resolved space, or of the recipe's own."""
        if SEQUENCE not in self.parameters:
            return [tuple(stage_ends(recipe))]
        known = recipe.teachers.model_dump(mode="json")
        plans = [{**known, "sequence": one} for one in self.parameters[SEQUENCE].ends]
        teachers = [Teachers.model_validate_json(json.dumps(plan)) for plan in plans]
        return [tuple(stage_ends(recipe.model_copy(update={"teachers": one}))) for one in teachers]

    def num_configurations(self) -> float:
        """Return how many distinct configurations the space holds; infinite with a continuous range."""
        if any(domain.size == math.inf and _reachable(domain) for domain in self.parameters.values()):
            return math.inf
        return self._count(self.ordered(), {})

    def _count(self, names: tuple[str, ...], values: dict[str, Any]) -> int:
        if not names:
            return 1
        head, rest = names[0], names[1:]
        if not self.is_active(head, values):
            return self._count(rest, values)
        domain = self.parameters[head]
        if not any(head in self.parameters[name].when for name in rest):
            return int(domain.size) * self._count(rest, values)
        return sum(self._count(rest, {**values, head: value}) for value in domain.choice or ())


def wanted(value: Any) -> list[Any]:
    """Return the values under which a condition holds; a single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _reachable(domain: Domain) -> bool:
    return all(wanted(value) for value in domain.when.values())
