"""Sweeps over functions of three recipe numbers that stand for coordinates, proposal by proposal, without any training.

The fields have no constraint of their own and always act under the recipe `drawn_r18`, so every value is another
configuration.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ikd.config import Recipe, SearchSpace, load_recipe
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import drawn_values
from ikd.sweep.study.distributions import quiet_optuna
from ikd.trial import State

AXES = ("augment.noise.sigma", "distill.fgd.temperature", "augment.crop.min_ratio")
CUBE: dict[str, Any] = {name: {"uniform": [0.01, 1.0]} for name in AXES}
SQUARE = {name: CUBE[name] for name in AXES[:2]}
Outcome = tuple[State, float, dict[str, float]]
Objective = Callable[[dict[str, Any]], Outcome]


def synthetic_recipe() -> Recipe:
    return load_recipe("drawn_r18", {"augment.enabled": True, "distill.host": "fgd"})


def synthetic_space(recipe: Recipe, sampler: dict[str, Any], **changes: Any) -> SearchSpace:
    content = {"recipe": "drawn_r18", "parameters": CUBE, "scheduler": {"none": {}}, "anchors": [], **changes}
    return SearchSpace.model_validate_json(json.dumps({**content, "sampler": sampler})).resolved(recipe)


def record_of(number: int, values: dict[str, Any], outcome: Outcome, print_: str = "") -> TrialRecord:
    state, value, costs = outcome
    metrics = {"bbox_mAP": value, **{f"cost/{name}": cost for name, cost in costs.items()}}
    known = state in ("finished", "stopped")
    return TrialRecord(
        number, "", (), values, True, print_ or str(number), Path(), state=state, metric=value if known else None,
        best_epoch=4 if known else None, reports=(Report(2 if state == "stopped" else 4, metrics, 1.0, number),),
    )  # fmt: skip


def swept(
    space: SearchSpace, recipe: Recipe, objective: Objective, trials: int, records: Sequence[TrialRecord] = ()
) -> list[TrialRecord]:
    """Go on from `records` up to a number of trials, one at a time, as a sweep would."""
    done = list(records)
    while len(done) < trials and (proposal := propose(space, recipe, done)) is not None:
        values = dict(proposal.values)
        done.append(record_of(len(done), values, objective(values), proposal.recipe.fingerprint()))
    return done


def played(space: SearchSpace, recipe: Recipe, objective: Objective, trials: int) -> list[TrialRecord]:
    """Take the sampler's first choice every time: `swept` for a space without duplicates or constraints, but faster."""
    done: list[TrialRecord] = []
    with quiet_optuna():
        for number in range(trials):
            values = next(drawn_values(History(space, recipe, tuple(done), number)))
            done.append(record_of(number, values, objective(values)))
    return done


def distance(values: dict[str, Any], centre: float) -> float:
    """Euclidean distance to a point with equal coordinates."""
    return math.sqrt(sum((value - centre) ** 2 for value in values.values()))


def bowl(values: dict[str, Any]) -> Outcome:
    """The best point has equal coordinates of 0.3."""
    return "finished", 0.5 - 0.3 * distance(values, 0.3) ** 2, {}
