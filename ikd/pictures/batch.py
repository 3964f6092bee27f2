"""Training images as the student saw them: clean, with noise or crop, perturbed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray

from ikd.attack import adversarial_copies, attack_of, attacked_at_once
from ikd.augment import UNALTERED
from ikd.config import Recipe, StagePlan
from ikd.data import DataFiles
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.panel import Marks, fitted, panel
from ikd.pictures.style import INK, TEACHER, TRUTH, plain
from ikd.training import PreparedStage, crafts_online, device_of, load_teacher, phases, stage_there, train_loader

ROWS = 4
"""Images that are shown."""
SIDE = 300
_GREY = 128
_LEVELS = 100
"""Distance from grey to which the largest change of a pixel is magnified."""


@dataclass(frozen=True)
class Sample:
    """One image of the batch, all [H, W, 3] RGB.

    Attributes:
        clean: flipped, cropped and resized like what was trained on, but without noise.
        trained: what the student's own loss saw.
        boxes: [n, 4], its targets, px of `trained`.
        said: what was done to it: `noise σ 0.08, flipped`.
        comparable: the perturbed copy has the geometry of the clean one.
        adversarial: the perturbed copy; None without one.
        enhanced: the copy of masking enhancement; None without one.
    """

    clean: NDArray[np.uint8]
    trained: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    said: str
    comparable: bool
    adversarial: NDArray[np.uint8] | None
    enhanced: NDArray[np.uint8] | None


def write_batch(path: Path, recipe: Recipe, files: DataFiles) -> list[str]:
    """Draw the first images of an epoch as they were trained on.

    The stage is the first that attacks, else the first that alters images, else the first.

    Args:
        path: a `.jpg`.
        recipe: of the trial.
        files: of its data.

    Returns:
        What is missing in the picture because it is no longer there, a line each.

    Raises:
        BadInput: an image or a teacher is not there.
    """
    plan = _stage(recipe)
    made = stage_there(recipe, plan, files)
    said = []
    if plan.recipe.adversarial.enabled and not crafts_online(plan.recipe) and made.perturbations is None:
        said.append("batch.jpg: is without perturbed images: the store of perturbations is no longer there")
        plan = _without(plan, {"adversarial.enabled": False})
    if plan.boxes_from is not None and made.boxes is None:
        said.append("batch.jpg: is without masking enhancement: the teacher's boxes are no longer there")
        plan = _without(plan, {"distill.me.enabled": False})
    samples = samples_of(recipe, plan, files, made)
    columns = _columns(plan, samples)
    rows = [[_cell(name, sample, plan) for name in columns] for sample in samples]
    title = f"the first {len(samples)} training images of epoch {plan.first}, as the student saw them"
    write_grid(path, rows, title=title, foot="green: the boxes it is taught; size, flip and crop as in the training")
    return said


def _stage(recipe: Recipe) -> StagePlan:
    attacking = [plan for plan in recipe.stages if plan.recipe.adversarial.enabled]
    altering = [plan for plan in recipe.stages if plan.recipe.augment.enabled or plan.recipe.distill.me.enabled]
    return next(iter([*attacking, *altering, *recipe.stages]))


def _without(plan: StagePlan, values: Mapping[str, Any]) -> StagePlan:
    return dataclasses.replace(plan, recipe=plan.recipe.with_values(values))


def samples_of(recipe: Recipe, plan: StagePlan, files: DataFiles, made: PreparedStage) -> list[Sample]:
    """Return the first images of a stage as it trains on them.

    Args:
        recipe: of the trial.
        plan: the stage.
        files: of its data.
        made: what the stage starts from.
    """
    dataset, order = _dataset(plan, files, made)
    alters = plan.recipe.augment.enabled or plan.recipe.distill.me.enabled
    noiseless = _without(plan, {"augment.noise.sigma": 0.0}) if alters else plan
    twin, _ = _dataset(noiseless, files, made)  # draws the same random numbers, so that only the noise differs
    wanted = order[:ROWS]
    pairs = [(dataset[i], twin[i]) for i in wanted]
    if crafts_online(plan.recipe) and any(UNALTERED in one for one, _ in pairs):
        _craft(recipe, plan, files, made, [one for one, _ in pairs])
    return [_sample(one, clean, plan) for one, clean in pairs]


def _dataset(plan: StagePlan, files: DataFiles, made: PreparedStage) -> tuple[Any, list[int]]:
    """Return the data set of a stage in its first epoch, and the order of that epoch."""
    config = train_loader(
        plan, files, perturbations=made.perturbations, boxes=made.boxes, with_masks=False, labels=made.labels
    )
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        loader: Any = Runner.build_dataloader(config, plan.recipe.seed)
    first = phases(plan)[0].first
    loader.batch_sampler.sampler.set_epoch(first)
    loader.dataset.start_epoch(first)
    count = len(loader.dataset)  # photographs without labels come after it
    order = [place for batch in loader.batch_sampler for place in batch if place < count]
    return loader.dataset, order


def _craft(recipe: Recipe, plan: StagePlan, files: DataFiles, made: PreparedStage, samples: list[Any]) -> None:
    """Craft the perturbed copies of a recipe that keeps none."""
    assert plan.teacher is not None and made.weights is not None  # noqa: PT018
    teacher = load_teacher(recipe.teachers.available[plan.teacher], made.weights, files.classes).to(device_of(recipe))
    kept = [one.pop(UNALTERED) for one in samples]
    unaltered = {key: [one[key] for one in kept] for key in kept[0]}
    copies = adversarial_copies(attack_of(plan.recipe), teacher, unaltered, batch_size=attacked_at_once(plan.recipe))
    for one, copy in zip(samples, copies, strict=True):
        one["adversarial"] = copy


def _sample(one: Mapping[str, Any], clean: Mapping[str, Any], plan: StagePlan) -> Sample:
    boxes = one["data_samples"].gt_instances.bboxes
    boxes = boxes.tensor if hasattr(boxes, "tensor") else boxes
    return Sample(
        _rgb(clean["inputs"]),
        _rgb(one["inputs"]),
        np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        _said(one["data_samples"].metainfo, plan),
        not (plan.recipe.augment.published and one["data_samples"].metainfo.get("altered") == "crop"),
        _rgb(one["adversarial"]) if "adversarial" in one else None,
        _rgb(one["enhanced"]) if "enhanced" in one else None,
    )


def _rgb(image: torch.Tensor) -> NDArray[np.uint8]:
    """Return an image [3, H, W] BGR as [H, W, 3] RGB."""
    pixels: NDArray[np.uint8] = np.ascontiguousarray(image.cpu().numpy().astype(np.uint8)[::-1].transpose(1, 2, 0))
    return pixels


def _columns(plan: StagePlan, samples: list[Sample]) -> list[str]:
    """Return the kinds of pictures that the recipe has."""
    columns = ["clean", "trained"]
    columns += ["enhanced"] if any(one.enhanced is not None for one in samples) else []
    return columns + (["perturbed", "delta"] if any(one.adversarial is not None for one in samples) else [])


def _cell(column: str, sample: Sample, plan: StagePlan) -> Cell:
    if column == "clean":
        return Cell(fitted(sample.clean, SIDE), "clean")
    if column == "trained":
        marks = [Marks(sample.boxes, [""] * len(sample.boxes), TRUTH)]
        return Cell(panel(sample.trained, marks, SIDE), f"trained on: {sample.said}", TRUTH)
    if column == "enhanced":
        return Cell(None if sample.enhanced is None else fitted(sample.enhanced, SIDE), "enhanced copy")
    if sample.adversarial is None:
        return Cell(None, "")
    if column == "perturbed":
        return Cell(fitted(sample.adversarial, SIDE), f"perturbed against {plain(plan.teacher or '')}", TEACHER)
    if not sample.comparable:
        return Cell(None, "cropped apart from it")
    delta = sample.adversarial.astype(np.int16) - sample.clean.astype(np.int16)
    largest = max(1, int(np.abs(delta).max()))
    times = max(1, _LEVELS // largest)
    shown = np.clip(_GREY + times * delta, 0, 255).astype(np.uint8)
    return Cell(fitted(shown, SIDE), f"its change x{times}, ±{largest} levels", INK)


def _said(facts: Mapping[str, Any], plan: StagePlan) -> str:
    """Say what was done to an image, by the facts that its sample has."""
    sigma = plan.recipe.augment.noise.sigma
    altered = {"noise": f"noise σ {sigma:.2g}", "crop": "cropped"}.get(facts.get("altered") or "", "")
    if altered and not facts.get("enhanced", True):
        altered = f"its copy: {altered}" if plan.recipe.distill.me.enabled else altered
    joint = "colours altered" if facts.get("joint") else ""
    return ", ".join(filter(None, (altered, joint, "flipped" if facts.get("flip") else ""))) or "as it is"
