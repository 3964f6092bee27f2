"""What trials share: which of it a recipe needs, by content, and which recipes a space is likely to give."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ikd.config import Recipe, SearchSpace, StagePlan
from ikd.errors import BadInput, ConfigError
from ikd.home import digest
from ikd.sweep.forecast.course import Course, Event
from ikd.sweep.training import Training
from ikd.trial import Shared, SharedKind

FEEDS = (
    *("attack.", "input.", "data.", "teachers.", "adversarial.enabled", "distill.me."),
    *("distill.labels.enabled", "distill.labels.labelled", "distill.labels.form"),
)
"""What decides which shared things a trial needs."""
COSTLY = ("student.", "distill.host", "augment.enabled", "schedule.", "distill.sfa.enabled", "distill.labels.ratio")
"""What an epoch costs by besides."""
SAMPLED = 64
"""Recipes of a space that are looked at, at most."""
COUNTED = 2000
"""Settings of a space's fields that are tried one by one, at most."""
ASKED = 16
"""Recipes of a space whose shared things are looked up, at most: each may load a teacher."""


@dataclass(frozen=True)
class Want:
    """Something shared that a recipe needs.

    Attributes:
        kind: what it is.
        teacher: whose, by name in the recipe.
        key: equal for equal content.
    """

    kind: SharedKind
    teacher: str
    key: str

    @property
    def item(self) -> str:
        """Its name in a course."""
        return f"{self.kind} {self.key}"


def wants(recipe: Recipe) -> tuple[Want, ...]:
    """Return what must be made or found before a recipe trains, in the order of `prepare`."""
    needed: dict[Want, None] = {}
    for plan in recipe.each_teacher:
        if plan.teacher is None:
            continue
        needed.update(dict.fromkeys(_trained(recipe, plan.teacher)))
        if plan.recipe.adversarial.enabled and plan.recipe.attack.store == "disk":
            needed[Want("perturbations", plan.teacher, digest([*_seen(recipe, plan.teacher), _attack(plan)]))] = None
        if plan.boxes_from is not None:
            needed.update(dict.fromkeys(_trained(recipe, plan.boxes_from)))
            needed[Want("boxes", plan.boxes_from, digest(_seen(recipe, plan.boxes_from)))] = None
        if plan.recipe.distill.labels.enabled:
            looked_at = [
                *_seen(recipe, plan.teacher),
                recipe.data.unlabeled,
                plan.recipe.distill.labels.looks_at_labelled,
            ]
            needed[Want("labels", plan.teacher, digest(looked_at))] = None
    return tuple(needed)


def _trained(recipe: Recipe, name: str) -> tuple[Want, ...]:
    if recipe.teachers.available[name].checkpoint is not None:
        return ()
    return (Want("teacher", name, digest([*_content(recipe, name), recipe.device])),)


def _content(recipe: Recipe, name: str) -> list[Any]:
    teacher = recipe.teachers.available[name].acting()
    made_of = recipe.data.model_dump(mode="json", exclude={"test", "unlabeled"})  # which none of this is made of
    return [teacher, made_of]


def _seen(recipe: Recipe, name: str) -> list[Any]:
    return [*_content(recipe, name), list(recipe.input.scale), recipe.input.keep_ratio]


def _attack(plan: StagePlan) -> Mapping[str, Any]:
    return plan.recipe.attack.model_dump(mode="json", exclude={"batch_size", "store"})


def settings(space: SearchSpace, recipe: Recipe, feeds: Sequence[str]) -> list[Recipe] | None:
    """Return a recipe for each setting of the fields whose names begin like these; None where there are too many.

    Args:
        space: resolved.
        recipe: the base.
        feeds: beginnings of dotted names.
    """
    starts = tuple(feeds)
    names = [
        name for name, domain in space.parameters.items() if any(one.startswith(starts) for one in (name, *domain.also))
    ]
    every = space.with_ancestors(names)
    if math.prod(space.parameters[name].size for name in every) > COUNTED:
        return None
    decided = {field for name in every for field in (name, *space.parameters[name].also)}
    open_ = set(space.fields) - decided
    rules = [rule.text for rule in space.rules if not open_ & set(rule.fields)]
    restricted = space.model_copy(update={"constraints": tuple(rules)})
    taken = []
    for values in space.settings(names):
        with contextlib.suppress(ConfigError):  # values that only others make possible
            one = recipe.with_values(space.expanded(values))
            if restricted.allows(one):
                taken.append(one)
    return taken


def likely(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return recipes that stand for those of a space with too many settings: the base, with the term if it varies."""
    if "adversarial.enabled" not in space.fields or not recipe.teachers.sequence:
        return [recipe]
    return [recipe, recipe.with_values({"adversarial.enabled": True})]


def sampled_recipes(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return recipes that sampled trials may have, as different as their epochs and shared things may be."""
    for feeds in ((*FEEDS, *COSTLY), FEEDS):
        if (found := settings(space, recipe, feeds)) is not None and found:
            return found[:: max(1, len(found) // SAMPLED)][:SAMPLED]
    return likely(space, recipe)


def everything(space: SearchSpace, configurations: float, outside: int) -> float:
    """Return how many trials try all there is, repeats and anchors included; infinite with a continuous range.

    Args:
        space: resolved.
        configurations: distinct ones in the space.
        outside: anchors that are no points of the space.
    """
    grid = space.sampler.grid
    return configurations * (grid.repeats if grid else 1) + outside


def size_of(space: SearchSpace, recipe: Recipe, outside: int) -> float:
    """Return how many trials try all there is, constraints considered; see `everything`."""
    return everything(space, space.num_configurations(recipe), outside)


def look_up(course: Course, recipes: Iterable[Recipe], training: Training) -> list[Shared]:
    """Return what of everything shared that these recipes need is there, and note it where the course does not say yet.

    Only as many recipes are asked for as `ASKED`, and one of those that share the same.
    """
    known = {event.item for event in course.events if event.what == "shared"}
    asked: set[tuple[Want, ...]] = set()
    found: list[Shared] = []
    for recipe in recipes:
        needed = wants(recipe)
        if len(asked) >= ASKED or needed in asked:
            continue
        asked.add(needed)
        with contextlib.suppress(BadInput):  # what is wrong is told where it is checked
            states = training.found(recipe)
            found += states
            named = {(one.kind, one.teacher): one for one in states}
            for want in needed:
                state = named.get((want.kind, want.teacher))
                if want.item not in known and state is not None:
                    known.add(want.item)
                    course.note("shared", item=want.item, done=state.done, total=state.total)
    return found


def shared_states(events: Iterable[Event]) -> dict[str, tuple[int, int]]:
    """Return how much of each thing was found, and how much there is to make, by item."""
    return {event.item: (event.done, event.total) for event in events if event.what == "shared"}
