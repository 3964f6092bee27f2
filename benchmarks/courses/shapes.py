"""The shapes of the sweeps that are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TEACHER = "teachers.available.r18x16"
ALPHA = {"distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2]}}
ATTACKED = {**ALPHA, "adversarial.weight": {"log_uniform": [1e-6, 1e-4]}}
PLAIN = {"adversarial.enabled": False, "augment.enabled": False}
RANDOM: Json = {"random": {}}


@dataclass(frozen=True)
class Shape:
    """A sweep to record.

    Attributes:
        space: of the search-space file, without the recipe.
        values: fields of the base recipe.
        recipe: the base.
        slots: trials at once.
        teacher_epochs: of the teacher that is trained.
        images: of the training part; a quarter as many are validated on.
        made_before: teacher and perturbations are there when the sweep starts.
        break_after: seconds after which it is stopped once, to go on later.
    """

    space: Json
    values: Json = field(default_factory=dict)
    recipe: str = "drawn_r18"
    slots: int = 1
    teacher_epochs: int = 3
    images: int = 160
    made_before: bool = False
    break_after: float | None = None


SHAPES: dict[str, Shape] = {
    "asha_two_at_once": Shape(
        {
            "parameters": ATTACKED,
            "scheduler": {"asha": {"grace_epochs": 2}},
            "sampler": RANDOM,
            "budget": {"trials": 10},
        },
        slots=2,
    ),
    "nothing_stopped_cached": Shape(
        {"parameters": ALPHA, "scheduler": {"none": {}}, "sampler": RANDOM, "budget": {"trials": 6}},
        {**PLAIN, "schedule.epochs": 5},
        made_before=True,
    ),
    "population": Shape(
        {
            "parameters": ALPHA,
            "scheduler": {"pbt": {"interval_epochs": 2}},
            "sampler": RANDOM,
            "anchors": [],
            "budget": {"trials": 6},
        },
        {**PLAIN, "schedule.epochs": 6},
        slots=2,
        made_before=True,
    ),
    "hyperband": Shape(
        {
            "parameters": ATTACKED,
            "scheduler": {"hyperband": {"grace_epochs": 1}},
            "sampler": RANDOM,
            "budget": {"trials": 9},
        },
        slots=2,
    ),
    "stages_of_teachers": Shape(
        {
            "parameters": {"distill.dfmsd.alpha": {"log_uniform": [1e-8, 2e-5]}},
            "scheduler": {"none": {}},
            "sampler": RANDOM,
            "budget": {"trials": 6},
        },
        {"schedule.epochs": 6},
        recipe="small_dfmsd",
        slots=2,
    ),
    "teacher_first": Shape(
        {"parameters": ALPHA, "scheduler": {"none": {}}, "sampler": RANDOM, "budget": {"trials": 6}},
        {**PLAIN, "schedule.epochs": 4},
        teacher_epochs=8,
    ),
    "attacks_first": Shape(
        {"parameters": ATTACKED, "scheduler": {"none": {}}, "sampler": RANDOM, "budget": {"trials": 6}},
        {"attack.steps": 8, "schedule.epochs": 4},
        teacher_epochs=1,
    ),
    "broken_off": Shape(
        {"parameters": ALPHA, "scheduler": {"none": {}}, "sampler": RANDOM, "budget": {"trials": 7}},
        {**PLAIN, "schedule.epochs": 5},
        slots=2,
        made_before=True,
        break_after=60.0,
    ),
    "unequal_widths": Shape(
        {
            "parameters": {"student.arguments.base_channels": {"choice": [8, 16, 32]}, **ALPHA},
            "scheduler": {"none": {}},
            "sampler": RANDOM,
            "anchors": ["paper"],
            "budget": {"trials": 9},
        },
        {**PLAIN, "student.inherit": False, "schedule.epochs": 8},
        slots=2,
        made_before=True,
    ),
    "tiny_epochs": Shape(
        {"parameters": ALPHA, "scheduler": {"none": {}}, "sampler": RANDOM, "budget": {"trials": 28}},
        {**PLAIN, "schedule.epochs": 3},
        slots=2,
        images=48,
        made_before=True,
    ),
    "asha_one_at_a_time": Shape(
        {
            "parameters": ALPHA,
            "scheduler": {"asha": {"grace_epochs": 1, "reduction_factor": 2}},
            "sampler": RANDOM,
            "budget": {"trials": 7},
        },
        {**PLAIN, "schedule.epochs": 6},
    ),
    "median_rule": Shape(
        {
            "parameters": ALPHA,
            "scheduler": {"median": {"grace_epochs": 2, "min_trials": 2}},
            "sampler": RANDOM,
            "budget": {"trials": 9},
        },
        {**PLAIN, "schedule.epochs": 6},
        slots=2,
    ),
}
"""By name. Choices and teachers of all are of the recipe `drawn_r18`, or of `small_dfmsd` on the drawn data."""
