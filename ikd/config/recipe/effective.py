"""What of a recipe acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ikd.config.recipe.hosts import HOSTS
from ikd.config.recipe.labels import acting_labels
from ikd.config.recipe.sections import RecipeSections

LATER: Mapping[str, Any] = {
    "adversarial.updates_statistics": True,
    "attack.store": "disk",
    "data.began_at": None,
    "data.keep_empty": False,
    "data.orientation": "apply",
    "data.unlabeled": None,
    "deterministic": False,
    "distill.confidence": [],
    "distill.cwd.normalise": "none",
    "distill.crosskd.connector": "auto",
    "distill.crosskd.roi": {"temperature": 3.0, "w_cls": 0.5, "w_mask": 1.0, "w_reg": 1.0},
    "distill.fgfi.warmup": 0,
    "distill.frs.warmup": 0,
    "distill.keep_strength": False,
    "distill.levels": "all",
    "distill.match": "stride",
    "distill.prototypes.couples": False,
    "distill.prototypes.response_weight": 0.0,
    "distill.stop_fraction": 1.0,
    "distill.taps": {"student": "auto", "teacher": "auto"},
    "distill.teacher_precision": "as_student",
    "schedule.channels_last": False,
    "schedule.compile": False,
    "schedule.optimizer.bias_decay": True,
    "schedule.optimizer.lr_mult": {},
    "schedule.optimizer.nesterov": False,
    "schedule.optimizer.norm_decay": True,
    "schedule.policy.floor": 0.0,
    "schedule.policy.start": 0.0,
    "schedule.policy.tail": 0.0,
    "schedule.sync_norm": False,
    "schedule.val_last": 0,
    "schedule.warmup.shape": "linear",
    "validate": ["bbox"],
}
"""Fields younger than trials that people have, by dotted name, and the value that trains as it was done without them.

They are left out at that value, so that a training has the fingerprint that it had.
"""


class PlannedStage(Protocol):
    """What is read of a stage; see `StagePlan`."""

    @property
    def teacher(self) -> str | None: ...  # noqa: D102

    @property
    def epochs(self) -> int: ...  # noqa: D102

    @property
    def recipe(self) -> RecipeSections: ...  # noqa: D102

    @property
    def boxes_from(self) -> str | None: ...  # noqa: D102

    @property
    def weight(self) -> float: ...  # noqa: D102

    @property
    def beside(self) -> Sequence[PlannedStage]: ...  # noqa: D102


def effective(recipe: RecipeSections, plans: Sequence[PlannedStage]) -> dict[str, Any]:
    """Return only what acts; see `Recipe.effective`.

    Args:
        recipe: all of it.
        plans: its stages in order, each with the recipe in force.
    """
    raw = _as_it_was(recipe)
    for key in ("name", "description", "device"):
        raw.pop(key)
    raw["schedule"].pop("workers")
    raw["schedule"] |= {"epochs": recipe.total_epochs}
    raw["schedule"].pop("epochs_per_stage")
    raw["input"] = _without_idle(raw["input"])
    if not recipe.input.mixes:
        raw["input"].pop("stop_fraction")
    if not recipe.input.joint.acts:
        raw["input"].pop("joint", None)
    if not recipe.schedule.ema.enabled:
        raw["schedule"].pop("ema")
    raw["data"]["root"] = raw["data"].pop("began_at", raw["data"]["root"])
    raw["data"].pop("test")
    if not any(plan.recipe.distill.labels.enabled for plan in plans):
        raw["data"].pop("unlabeled", None)
    terms = ("distill", "adversarial", "augment", "attack")
    for key in terms:
        raw.pop(key)
    if len(plans) == 1:
        raw["schedule"]["policy"].pop("span")
    raw["teachers"] = [_stage(plan, recipe) for plan in plans] if recipe.teachers.sequence else {}
    if len(plans) > 1 and not recipe.teachers.restart_losses:
        raw["restart_losses"] = False
    if not recipe.teachers.sequence:
        raw |= _terms_in_force(recipe)
    return raw


def _as_it_was(recipe: RecipeSections) -> dict[str, Any]:
    """Return all of a recipe but later fields that change nothing."""
    raw = recipe.as_dict()
    for name, value in LATER.items():
        *parents, key = name.split(".")
        node: Any = raw
        for parent in parents:
            node = node.get(parent, {})
        if node.get(key) == value:
            node.pop(key)
    return raw


def _stage(plan: PlannedStage, recipe: RecipeSections) -> dict[str, Any]:
    def who(name: str | None) -> Any:
        return recipe.teachers.available[name].acting() if name is not None else None

    content = {"teacher": who(plan.teacher), "epochs": plan.epochs, **_terms_in_force(plan.recipe)}
    content |= {"boxes_from": who(plan.boxes_from)} if plan.boxes_from else {}
    if not plan.beside:
        return content
    others = [{"teacher": who(one.teacher), "weight": one.weight, **_terms_in_force(one.recipe)} for one in plan.beside]
    return content | {"weight": plan.weight, "beside": others}


def _terms_in_force(recipe: RecipeSections) -> dict[str, Any]:
    raw = _as_it_was(recipe)
    found: dict[str, Any] = {}
    if augment := _augment(raw, enhanced=recipe.distill.me.enabled):
        found["augment"] = augment
    if recipe.adversarial.enabled:
        found["adversarial"] = raw["adversarial"]
        found["attack"] = _attack(raw["attack"], recipe.seed)
    if "labels" in _switched_on(raw["distill"]):
        unlabelled = recipe.data.unlabeled is not None
        raw["distill"]["labels"] = acting_labels(raw["distill"]["labels"], unlabelled=unlabelled)
    if distill := _distill(raw["distill"], adversarial=recipe.adversarial.enabled, on_maps=compares_maps(recipe)):
        found["distill"] = distill
    return found


def _attack(attack: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return what acts of an attack; its seed is left out where it is the recipe's, which it was before it had one."""
    idle = {"batch_size"} | ({"seed"} if attack["seed"] == seed else set())
    return {key: value for key, value in attack.items() if key not in idle}


def _augment(raw: dict[str, Any], *, enhanced: bool) -> dict[str, Any]:
    augment: dict[str, Any] = raw["augment"]
    parts = _switched_on(augment) if augment["enabled"] or enhanced else set()
    if not parts:
        return {"stop_fraction": augment["stop_fraction"]} if raw["adversarial"]["enabled"] else {}
    augment = _without_idle(augment)
    if enhanced:  # the rule of the stage is masking enhancement's own, and so is its end
        for key in ("area_threshold", "enabled", *([] if raw["adversarial"]["enabled"] else ["stop_fraction"])):
            augment.pop(key)
    return augment


def compares_maps(recipe: RecipeSections) -> bool:
    """Tell whether a stage compares maps, so that its choice of levels acts; predictions are compared on all."""
    host = recipe.distill.host
    of_maps = host != "none" and HOSTS[host].reads_maps
    return recipe.adversarial.enabled or recipe.distill.sfa.enabled or recipe.distill.prototypes.enabled or of_maps


def sees_unlabelled(recipe: RecipeSections) -> bool:
    """Tell whether a stage shows photographs without labels."""
    return recipe.distill.labels.enabled and recipe.data.unlabeled is not None


def alters_pixels(recipe: RecipeSections) -> bool:
    """Tell whether pixels of training images may be altered, by joint augmentation or by noise."""
    by_rule = recipe.augment.enabled or (recipe.distill.me.enabled and recipe.distill.me.form == "replaced")
    noise = recipe.augment.noise
    return recipe.input.joint.acts or (by_rule and noise.enabled and noise.probability > 0)


def _distill(distill: dict[str, Any], *, adversarial: bool, on_maps: bool) -> dict[str, Any]:
    host = distill["host"]
    idle = {name for name in HOSTS if name != host}
    distill = {key: value for key, value in _without_idle(distill).items() if key not in idle}
    distill.pop("measure_gradients")
    for key in () if on_maps else ("levels", "match", "taps"):
        distill.pop(key, None)
    if not on_maps or distill["reduction"] != "published":  # means have no strength to keep
        distill.pop("keep_strength", None)
    if host == "dfmsd":
        beta = distill["dfmsd"].pop("beta")
        if "me" in distill:
            distill["dfmsd"]["beta"] = distill["dfmsd"]["alpha"] if beta is None else beta
    if "me" in distill:
        distill["me"].pop("stages")  # said by which stages have it
    if distill.get("sfa", {}).get("mode") == "standardise_inputs":
        distill["sfa"].pop("weight")
    distill["response"] = _without_idle(distill.get("response", {}))
    if "kd_detr" in distill["response"]:
        distill["response"]["kd_detr"] = _shared_queries(distill["response"]["kd_detr"])
    if not distill["response"]:
        distill.pop("response")
    if "prototypes" in distill:
        distill["prototypes"] = _prototypes(distill["prototypes"])
    others = ("sfa", "me", "prototypes", "labels", "response")
    acts = host != "none" or adversarial or any(name in distill for name in others)
    return distill if acts else {}


def _shared_queries(section: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the class loss in force does not read; a temperature may be that of heads with a softmax."""
    idle = ("class_loss", "gamma") if section["published"] else ("gamma",) if section["class_loss"] == "kl" else ()
    return {key: value for key, value in section.items() if key not in idle}


def _prototypes(section: dict[str, Any]) -> dict[str, Any]:
    """Return what acts of the prototypes: each way to choose them has fields of its own."""
    method, idle = section["method"], set()
    if not section["global_weight"]:
        idle.add("coefficients")
    if method != "greedy":
        ridge = section["coefficients"] == "ridge" and section["global_weight"]
        idle |= {"quantile"} | (set() if ridge else {"strength"})
    if method not in ("greedy", "dbscan"):
        idle.add("bandwidth")
    if method not in ("kmeans", "dbscan"):
        idle.add("space")
    if not section["feature_weight"]:
        idle.add("background_weight")
    if not section.get("response_weight"):  # left out where it is 0
        idle.add("response_temperature")
    if not (section["global_weight"] or section["feature_weight"]):
        idle.add("attenuate")
    return {key: value for key, value in section.items() if key not in idle}


def _without_idle(section: dict[str, Any]) -> dict[str, Any]:
    """Return a section without the sections inside that are switched off."""
    parts = _switched_on(section)
    return {key: value for key, value in section.items() if not isinstance(value, dict) or key in parts}


def _switched_on(section: dict[str, Any]) -> set[str]:
    """Return the names of the sections inside that are not switched off."""
    return {key for key, value in section.items() if isinstance(value, dict) and value.get("enabled", True)}
