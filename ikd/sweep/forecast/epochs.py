"""What an epoch takes, learnt from those that have been seen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ikd.config import Recipe, StagePlan, Teacher
from ikd.data import choices_in, looks_of, training_annotations
from ikd.home import digest

Features = Mapping[str, str]
NOW = "now"
"""The feature `when` of what this sweep shows; of others it is where that was seen."""
NOWHERE = "0"
"""The feature `looked` of an epoch in which no prototypes are chosen."""
RIDGE = 0.3
"""How many epochs of evidence the assumption weighs of what a feature's value changes."""
TAUGHT = math.log(1.25)
ASSUMED = {
    ("attacked", "disk"): math.log(1.45),
    ("attacked", "online"): math.log(3.0),
    ("fresh", "yes"): math.log(1.3),
}
"""Logarithms of what an epoch costs more with any teacher, and with these values, before any was seen: of small
detectors on a CPU. `fresh` is the first epoch of a process. Everything else is assumed to change nothing."""
LOOK = 0.25
"""What the student's look at an image, when prototypes are chosen, takes of a training step on one."""


@dataclass(frozen=True)
class Seen:
    """Epochs of one kind that were seen.

    Attributes:
        features: what they were, see `features_of`; `when` tells apart what was seen under other circumstances.
        seconds: of one of them, mean.
        count: how many there were.
    """

    features: Features
    seconds: float
    count: float = 1.0


def features_of(plan: StagePlan, epoch: int) -> dict[str, str]:
    """Return what an epoch of a stage costs by, each under a name.

    Args:
        plan: the stage.
        epoch: of the training, from 1; the last ones of a stage may be without altered and adversarial images.
    """
    recipe = plan.recipe
    acts = epoch <= plan.first - 1 + round(recipe.augment.stop_fraction * plan.epochs)
    teachers = [recipe.teachers.available[name] for name in plan.teachers] if epoch <= plan.taught_until else []
    attacked = recipe.adversarial.enabled and acts and bool(teachers)
    return {
        **_shared_features(recipe),
        "student": _detector(recipe.student.model_dump(mode="json")),
        "teacher": " ".join(_detector(one.model_dump(mode="json")) for one in teachers) or "none",
        "attacked": recipe.attack.store if attacked else "no",
        "altered": "yes" if (recipe.augment.enabled and acts) or plan.boxes_from is not None else "no",
        "host": " ".join(dict.fromkeys(one.recipe.distill.host for one in plan.each)) if teachers else "none",
        "looked": _looked(plan, epoch),
    }


def _looked(plan: StagePlan, epoch: int) -> str:
    """Return at how many images, against those of an epoch, the student looks in one to choose prototypes anew."""
    if not plan.recipe.distill.prototypes.enabled or plan.teacher is None or epoch > plan.taught_until:
        return NOWHERE
    looks = looks_of(plan.recipe)
    share = looks.images / max(1, looks.taught) if looks is not None else 1.0
    lessons = sum(one.recipe.distill.prototypes.enabled for one in plan.each)
    return f"{lessons * choices_in(plan, epoch) * share:.2g}"


def features_of_teacher(recipe: Recipe, teacher: Teacher) -> dict[str, str]:
    """Return what an epoch costs of the training of a teacher that has no checkpoint."""
    alone = {"teacher": "none", "attacked": "no", "altered": "no", "host": "none", "looked": NOWHERE}
    return {**_shared_features(recipe), "student": _detector(teacher.model_dump(mode="json")), **alone}


def _shared_features(recipe: Recipe) -> dict[str, str]:
    annotations = training_annotations(recipe)
    size = annotations.stat().st_size if annotations.is_file() else 0
    return {
        "data": digest([recipe.data.model_dump(mode="json", exclude={"test"}), size])[:8],
        "input": digest(recipe.input.model_dump(mode="json"))[:8],
        "batch": f"{recipe.schedule.batch_size} {recipe.schedule.amp} {recipe.device}",
    }


def _detector(content: Mapping[str, object]) -> str:
    return digest([content["config"], content["arguments"]])[:8]


def kinds(seen: Iterable[Seen]) -> list[Seen]:
    """Return one for each kind of epoch, with the mean of its seconds."""
    groups: dict[tuple[tuple[str, str], ...], list[Seen]] = defaultdict(list)
    for one in seen:
        groups[tuple(sorted(one.features.items()))].append(one)
    return [
        Seen(dict(key), sum(one.seconds * one.count for one in group) / count, count)
        for key, group in groups.items()
        if (count := sum(one.count for one in group)) > 0
    ]


class EpochCost:
    """Seconds of any epoch, from some that were seen: each feature multiplies.

    The logarithm of the seconds is a sum of effects of the features' values, fitted by ridge regression, so that a
    value that was never seen changes nothing, and one that was seen little changes little.

    Args:
        seen: what is known; none is none.
        pace: how much slower than at other times the machine is now, as a factor, by what else was seen.
    """

    def __init__(self, seen: Sequence[Seen], pace: float = 1.0) -> None:
        self._pace = math.log(pace)
        groups = kinds(one for one in seen if one.seconds > 0)
        self.known = bool(groups)
        levels = sorted({(name, value) for one in groups for name, value in one.features.items()})
        self._place = {level: index for index, level in enumerate(levels)}
        rows = np.array([self._row(one.features) for one in groups]).reshape(len(groups), len(levels))
        weights = np.array([min(one.count, 20.0) for one in groups])
        logs = np.array([math.log(one.seconds) - self._assumed(one.features) for one in groups])
        self._mean = float(np.average(logs, weights=weights)) if groups else 0.0
        left = rows.T @ (rows * weights[:, None]) + RIDGE * np.eye(len(levels))
        self._effects = np.linalg.solve(left, rows.T @ (weights * (logs - self._mean))) if groups else np.zeros(0)

    def _row(self, features: Features) -> NDArray[np.float64]:
        row = np.zeros(len(self._place), dtype=np.float64)
        for level in features.items():
            if level in self._place:
                row[self._place[level]] = 1.0
        return row

    def __call__(self, features: Features) -> float:
        """Return the seconds of one epoch; only where something is known."""
        assert self.known, "nothing was seen"
        return math.exp(self._mean + self._assumed(features) + float(self._row(features) @ self._effects))

    def _assumed(self, features: Features) -> float:
        taught = TAUGHT if features.get("teacher", "none") != "none" else 0.0
        now = self._pace if features.get("when") == NOW else 0.0
        looked = math.log1p(LOOK * float(features.get("looked", NOWHERE)))
        return taught + now + looked + sum(ASSUMED.get(level, 0.0) for level in features.items())
