"""Rules between the fields of a schedule."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ikd.config.document import Fault
from ikd.config.recipe.sections import RecipeSections

FALLS = {"start": ("cosine",), "floor": ("cosine", "one_cycle"), "tail": ("cosine", "one_cycle")}
"""Fields of a policy that act for some of its types only."""


def schedule_faults(recipe: RecipeSections) -> Iterator[Fault]:
    """Yield the faults between fields of `schedule`."""
    yield from _optimizer_faults(recipe)
    yield from _policy_faults(recipe)


def _optimizer_faults(recipe: RecipeSections) -> Iterator[Fault]:
    optimizer = recipe.schedule.optimizer
    if optimizer.nesterov and (optimizer.type != "sgd" or not optimizer.momentum):
        rule = f"must be false without momentum (type {optimizer.type}, momentum {optimizer.momentum:g}); it is of sgd"
        yield ("schedule", "optimizer", "nesterov"), True, rule
    for part, factor in optimizer.lr_mult.items():
        if not re.fullmatch(r"\w+(\.\w+)*", part):
            rule = "must be the dotted name of a part of the student, as backbone or bbox_head.fc_cls"
            yield ("schedule", "optimizer", "lr_mult", part), factor, rule


def _policy_faults(recipe: RecipeSections) -> Iterator[Fault]:
    policy, warmup = recipe.schedule.policy, recipe.schedule.warmup
    place = ("schedule", "policy")
    if policy.type == "one_cycle" and warmup.iterations:
        rule = "must be 0 with policy one_cycle, which warms up by itself"
        yield ("schedule", "warmup", "iterations"), warmup.iterations, rule
    if list(policy.milestones) != sorted(policy.milestones):
        yield (*place, "milestones"), list(policy.milestones), "must rise"
    for name, types in FALLS.items():
        if (value := getattr(policy, name)) and policy.type not in types:
            yield (*place, name), value, f"must be 0 with policy {policy.type}; it is of {' and '.join(types)}"
    if policy.start + policy.tail >= 1:
        rule = f"must leave a share to fall in after schedule.policy.start {policy.start:g}"
        yield (*place, "tail"), policy.tail, rule
