"""From a teacher sequence to stages, and what of a recipe acts in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.config._recipe import Recipe

STAGE_FIELDS = ("distill.", "adversarial.", "augment.")
"""What a stage may set for itself: everything else belongs to the student or to the whole training."""


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
    """

    teacher: str | None
    first: int
    last: int
    recipe: Recipe
    boxes_from: str | None = None

    @property
    def epochs(self) -> int:
        """Length in epochs."""
        return self.last - self.first + 1


def sequence_text(value: object) -> str | None:
    """Write a teacher sequence as tables do, `r101 -> x101`, with shares `r101 (0.3) -> x101`; None for another value.

    Args:
        value: of `teachers.sequence`, as plain values.
    """
    if not isinstance(value, (list, tuple)) or not value:
        return None
    stages = [{"teacher": entry} if isinstance(entry, str) else entry for entry in value]
    if not all(isinstance(stage, Mapping) and "teacher" in stage for stage in stages):
        return None
    shares = [f" ({stage['share']:g})" if stage.get("share") is not None else "" for stage in stages]
    return " -> ".join(f"{stage['teacher']}{share}" for stage, share in zip(stages, shares, strict=True))


def stage_ends(recipe: Recipe) -> list[int]:
    """Return the last epoch of each stage; shares are rounded to whole epochs where they add up."""
    stages, total = recipe.teachers.stages, recipe.total_epochs
    if len(stages) < 2:
        return [total]
    shares = [stage.share or 1 / len(stages) for stage in stages]
    return [round(sum(shares[: index + 1]) / sum(shares) * total) for index in range(len(stages))]


def stage_plans(recipe: Recipe) -> tuple[StagePlan, ...]:
    """Return the stages of a recipe; see `Recipe.stages`."""
    stages, ends = recipe.teachers.stages, stage_ends(recipe)
    if not stages:
        return (StagePlan(None, 1, ends[0], recipe),)
    if len(stages) == 1 and not stages[0].set:
        name = stages[0].teacher
        return (StagePlan(name, 1, ends[0], recipe, name if recipe.distill.me.enabled else None),)
    plans: list[StagePlan] = []
    for index, (stage, last) in enumerate(zip(stages, ends, strict=True)):
        enhanced = recipe.distill.me.enabled and _enhances(recipe.distill.me.stages, index, len(stages))
        own = {"distill.me.enabled": enhanced, **stage.set, "teachers.sequence": [stage.teacher]}
        if index:  # the student carries over
            own |= {"student.inherit": False, "student.checkpoint": None}
        in_force = recipe.with_values(own)
        source = stages[max(0, index - 1)].teacher if in_force.distill.me.enabled else None
        plans.append(StagePlan(stage.teacher, ends[index - 1] + 1 if index else 1, last, in_force, source))
    return tuple(plans)


def _enhances(stages: str, index: int, count: int) -> bool:
    return stages == "both" or index == (0 if stages == "first" else count - 1)


def effective(recipe: Recipe) -> dict[str, Any]:
    """Return only what acts; see `Recipe.effective`."""
    raw = recipe.as_dict()
    for key in ("name", "description", "device"):
        raw.pop(key)
    raw["schedule"].pop("workers")
    raw["schedule"] |= {"epochs": recipe.total_epochs}
    raw["schedule"].pop("epochs_per_stage")
    terms = ("distill", "adversarial", "augment", "attack")
    for key in terms:
        raw.pop(key)
    plans = recipe.stages
    if len(plans) == 1:
        raw["schedule"]["policy"].pop("span")
    raw["teachers"] = [_stage(plan, recipe) for plan in plans] if recipe.teachers.sequence else {}
    if len(plans) > 1 and not recipe.teachers.restart_losses:
        raw["restart_losses"] = False
    if not recipe.teachers.sequence:
        raw |= _terms_in_force(recipe)
    return raw


def _stage(plan: StagePlan, recipe: Recipe) -> dict[str, Any]:
    def who(name: str | None) -> Any:
        return recipe.teachers.available[name].model_dump(mode="json", exclude={"ap"}) if name is not None else None

    content = {"teacher": who(plan.teacher), "epochs": plan.epochs, **_terms_in_force(plan.recipe)}
    return content | ({"boxes_from": who(plan.boxes_from)} if plan.boxes_from else {})


def _terms_in_force(recipe: Recipe) -> dict[str, Any]:
    raw = recipe.as_dict()
    found: dict[str, Any] = {}
    if augment := _augment(raw, enhanced=recipe.distill.me.enabled):
        found["augment"] = augment
    if recipe.adversarial.enabled:
        found["adversarial"] = raw["adversarial"]
        found["attack"] = {key: value for key, value in raw["attack"].items() if key != "batch_size"}
    if distill := _distill(raw["distill"], adversarial=recipe.adversarial.enabled):
        found["distill"] = distill
    return found


def _augment(raw: dict[str, Any], *, enhanced: bool) -> dict[str, Any]:
    augment: dict[str, Any] = raw["augment"]
    for key in ("noise", "crop"):
        if not (augment["enabled"] or enhanced) or not augment[key]["enabled"]:
            augment.pop(key)
    if "noise" not in augment and "crop" not in augment:
        return {"stop_fraction": augment["stop_fraction"]} if raw["adversarial"]["enabled"] else {}
    if enhanced:  # the rule of the stage is masking enhancement's own
        augment.pop("area_threshold")
        augment.pop("enabled")
    return augment


def _distill(distill: dict[str, Any], *, adversarial: bool) -> dict[str, Any]:
    host, sections = distill["host"], [key for key, value in distill.items() if isinstance(value, dict)]
    for key in sections:
        kept = key == "rescale_from" or (distill[key]["enabled"] if key in ("me", "sfa") else key == host)
        if not kept:
            distill.pop(key)
    if host == "dfmsd" and "me" not in distill:
        distill["dfmsd"].pop("beta")
    if "me" in distill:
        distill["me"].pop("stages")  # said by which stages have it
    if distill.get("sfa", {}).get("mode") == "standardise_inputs":
        distill["sfa"].pop("weight")
    acts = host != "none" or adversarial or "sfa" in distill or "me" in distill
    return distill if acts else {}
