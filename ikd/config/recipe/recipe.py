"""The recipe: one complete, fixed training set-up. Published defaults are those of one-stage detectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ikd.config.document import Document, Location
from ikd.config.recipe.effective import effective
from ikd.config.recipe.fields import as_json, assign, unknown_field
from ikd.config.recipe.rules import problems_between
from ikd.config.recipe.sections import ANCHORS, RecipeSections
from ikd.config.recipe.stages import stage_ends
from ikd.config.recipe.terms import STUDENT_ALONE
from ikd.config.replacing import without_idle_arguments
from ikd.config.section import validate
from ikd.errors import BadInput, ConfigError, Problem


class Recipe(RecipeSections):
    """One complete, fixed training set-up: data, student, teachers, distillation terms, schedule."""

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """The stages in order, each with the one-teacher recipe in force; one stage without teacher for a lone student.

        Raises:
            ConfigError: a field that a stage sets does not exist, or its value does not fit.
        """
        return stage_plans(self)

    @property
    def each_teacher(self) -> tuple[StagePlan, ...]:
        """One plan for each teacher of each stage, in order; raises as `stages`."""
        return tuple(one for stage in self.stages for one in stage.each)

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """Return a copy with dotted fields replaced; the whole is validated again.

        Raises:
            ConfigError: a name is no field, or a value does not fit it.
        """
        return replaced(self, values)

    def student_alone(self) -> Recipe:
        """Return the same training without distillation: no teacher, no inheriting, no sample-specific augmentation."""
        return self.with_values({**STUDENT_ALONE, "schedule.epochs": self.total_epochs})

    @property
    def inherits(self) -> bool:
        """Whether the student begins with neck and head of its (first) teacher."""
        return self.student.inherit and bool(self.teachers.sequence)

    def inherit_alone(self) -> Recipe:
        """Return the student alone that begins with neck and head of the (first) teacher, as this recipe does.

        Raises:
            ConfigError: this recipe does not inherit.
        """
        if not self.inherits:
            rule = "must be true, with a teacher in teachers.sequence, for anchor inherit_alone"
            raise ConfigError([Problem(self.name, "student.inherit", self.student.inherit, rule)])
        first = self.teachers.stages[0].teacher
        kept = {"student.inherit": True, "teachers.sequence": [first], "schedule.epochs": self.total_epochs}
        return self.with_values({**STUDENT_ALONE, **kept})

    def taught_by(self, teacher: str, values: Mapping[str, Any] = MappingProxyType({})) -> Recipe:
        """Return the same training with one of its teachers alone, by name, and dotted fields replaced."""
        return self.with_values({**values, "teachers.sequence": [teacher], "teachers.together": False})

    def anchor(self, name: str) -> Recipe:
        """Return what a fixed trial of a sweep trains, one of `ANCHORS`.

        `inherit_alone` tells what inheriting gives without any distillation.
        `equal_budget` is the control of several teachers: the last one alone, for all the epochs.
        `epochs_per_stage` gives every stage a whole schedule, as DFMSD does; `epochs_per_stage_control` is its control.
        Teachers at once share one stage.

        Raises:
            BadInput: no such anchor.
            ConfigError: a control of a recipe without teachers, or `inherit_alone` of one that does not inherit.
        """
        if name not in ANCHORS:
            raise BadInput(f"anchor: must be one of {', '.join(ANCHORS)}, but got {name!r}")
        if name == "paper":
            return self
        if name == "student_alone":
            return self.student_alone()
        if name == "inherit_alone":
            return self.inherit_alone()
        if not self.teachers.sequence:
            raise ConfigError([Problem(self.name, "teachers.sequence", [], f"must hold a teacher for anchor {name}")])
        long = self if name == "equal_budget" else self.with_values({"schedule.epochs_per_stage": self.schedule.epochs})
        if name == "epochs_per_stage":
            return long
        last = self.teachers.stages[-1].model_copy(update={"share": None}).model_dump(mode="json")
        whole = {"schedule.epochs": long.total_epochs, "schedule.epochs_per_stage": None}
        return self.with_values({"teachers.sequence": [last], **whole})

    def at(self, root: str) -> Recipe:
        """Return the same training where its data set lies in another folder; what tells it from others stays."""
        return self.with_values({"data.root": root}).going_on(self)

    def going_on(self, began: Recipe) -> Recipe:
        """Return this recipe for going on with a training whose data set lay elsewhere when it began.

        Args:
            began: the recipe that it was last run with.
        """
        began_at = began.data.began_at or began.data.root
        moved = None if began_at == self.data.root else began_at
        return self if moved == self.data.began_at else self.with_values({"data.began_at": moved})

    def effective(self) -> dict[str, Any]:
        """Return only what acts: switched-off sections are dropped, so two names never mean one configuration."""
        return effective(self, self.stages)

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of what acts; equal for two recipes exactly when they train the same thing."""
        return hashlib.sha256(json.dumps(self.effective(), sort_keys=True).encode()).hexdigest()


VALUES = "(values)"
"""Stands for the file in messages about values that a program gave."""


def _in_stages(recipe: Recipe, document: Document) -> list[Problem]:
    """Return what is wrong with the recipes of single stages, which hold the values that a stage sets for itself."""
    if not any(stage.set for stage in recipe.teachers.stages):
        return []
    try:
        recipe.stages  # noqa: B018 (building them checks them)
    except ConfigError as error:
        sets = {name: index for index, stage in enumerate(recipe.teachers.stages) for name in stage.set}
        problems = []
        for problem in error.problems:
            own = (sets[problem.field], "set", problem.field) if problem.field in sets else ()
            place: Location = ("teachers", "sequence", *own)
            problems.append(document.problem(place, problem.value, f"{problem.field}: {problem.rule}"))
        return problems
    return []


def replaced(recipe: Recipe, values: Mapping[str, Any], source: str = VALUES) -> Recipe:
    """Return `recipe` with dotted fields replaced and everything checked again; `source` stands in messages."""
    refused = {name: rule for name in values if (rule := unknown_field(name)) is not None}
    if refused:
        raise ConfigError([Problem(source, name, None, rule) for name, rule in refused.items()])
    given: dict[str, Any] = {}
    for name, value in values.items():
        assign(given, name, as_json(value))
    data = without_idle_arguments(recipe.as_dict(), given)
    for name, value in values.items():
        assign(data, name, as_json(value))
    return checked_recipe(Document(source, data))


def checked_recipe(document: Document) -> Recipe:
    """Build a recipe and check it.

    Raises:
        ConfigError: lists every fault.
    """
    recipe = validate(Recipe, document)
    problems = problems_between(recipe, document) or _in_stages(recipe, document)
    if problems:
        raise ConfigError(problems)
    return recipe


@dataclass(frozen=True)
class StagePlan:
    """One stage of a training.

    Attributes:
        teacher: its name; None when the student trains alone.
        first: first epoch, from 1.
        last: last epoch, included.
        recipe: what is in force: one teacher, the stage's own terms.
        boxes_from: teacher whose boxes drive masking enhancement (the previous one; the first stage has only its own);
            None where it is off.
        weight: of the teacher's terms; below 1 where others teach at once.
        beside: of several teachers at once those after the first, each as a stage of its own.
    """

    teacher: str | None
    first: int
    last: int
    recipe: Recipe
    boxes_from: str | None = None
    weight: float = 1.0
    beside: tuple[StagePlan, ...] = ()

    @property
    def each(self) -> tuple[StagePlan, ...]:
        """One plan for each teacher, this one first; the plan itself where there is at most one."""
        return (self, *self.beside)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers in order; empty when the student trains alone."""
        return tuple(plan.teacher for plan in self.each if plan.teacher is not None)

    @property
    def epochs(self) -> int:
        """Length in epochs."""
        return self.last - self.first + 1

    @property
    def taught_until(self) -> int:
        """Last epoch in which anything of the teacher acts, at least the first one."""
        return self.first - 1 + max(1, round(self.recipe.distill.stop_fraction * self.epochs))


def stage_plans(recipe: Recipe) -> tuple[StagePlan, ...]:
    """Return the stages of a recipe; see `Recipe.stages`."""
    stages, ends, me = recipe.teachers.stages, stage_ends(recipe), recipe.distill.me
    if not stages:
        return (StagePlan(None, 1, ends[0], recipe),)
    if len(stages) == 1 and not stages[0].set:
        name = stages[0].teacher
        return (StagePlan(name, 1, ends[0], recipe, name if me.enabled else None),)
    if recipe.teachers.at_once:
        return (_together(recipe, ends[0]),)
    plans: list[StagePlan] = []
    for index, (stage, last) in enumerate(zip(stages, ends, strict=True)):
        enhanced = me.enabled and {"first": index == 0, "last": index == len(stages) - 1, "both": True}[me.stages]
        own = {"distill.me.enabled": enhanced, **stage.set, "teachers.sequence": [stage.teacher]}
        if index:  # the student carries over
            own |= {"student.inherit": False, "student.checkpoint": None}
        in_force = recipe.with_values(own)
        source = stages[max(0, index - 1)].teacher if in_force.distill.me.enabled else None
        plans.append(StagePlan(stage.teacher, ends[index - 1] + 1 if index else 1, last, in_force, source))
    return tuple(plans)


def _together(recipe: Recipe, last: int) -> StagePlan:
    """Return the one stage of several teachers at once: what can only come from one comes from the first."""
    first, *others = recipe.teachers.stages
    shares = recipe.teachers.shares
    weights = [share / sum(shares) for share in shares]
    theirs = {"student.inherit": False, "distill.labels.enabled": False}
    beside = [
        StagePlan(stage.teacher, 1, last, recipe.taught_by(stage.teacher, {**stage.set, **theirs}), weight=weight)
        for stage, weight in zip(others, weights[1:], strict=True)
    ]
    leading = recipe.taught_by(first.teacher, first.set)
    source = first.teacher if recipe.distill.me.enabled else None
    return StagePlan(first.teacher, 1, last, leading, source, weights[0], tuple(beside))
