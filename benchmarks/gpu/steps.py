"""One training step of every kind beside its floor, the attack, and a step of every COCO recipe."""

from __future__ import annotations

import functools
import gc
import json
from typing import Any

import torch

from benchmarks.gpu.setting import Setting, Work
from benchmarks.step import batch_of, copied
from ikd.attack import DIFGSM
from ikd.config import Recipe, recipe_names
from ikd.data import DataFiles
from ikd.detectors import build_detector, freeze, has_masks
from ikd.distill import arrange
from ikd.training import build_model, model_config, optim_wrapper

HOSTS = ("fgd", "mgd", "dfmsd", "fgd+adversarial")
BF16 = {"schedule__amp": "bfloat16", "distill__teacher_precision": "bfloat16"}
PRECISIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": BF16,
    "bf16, channels last": {**BF16, "schedule__channels_last": True},
}
"""What each row sets in the recipe."""


def steps(setting: Setting) -> dict[str, Any]:
    """Return milliseconds, peak memory and waits of a step by batch and precision, as ratio to the floor.

    The floor is the student's own step plus the teacher's forward pass. A batch that does not fit is said to.
    """
    batches, precisions = ((2,) if setting.small else (4, 8, 16)), tuple(PRECISIONS)
    size = (64, 96) if setting.small else (800, 1344)
    rows: dict[str, Any] = {"recipe": _base(setting), "input_px": list(size)}
    for batch, precision in setting.in_time((one, other) for one in batches for other in precisions):
        row: dict[str, Any] = {}
        floor = 0.0
        for variant in setting.in_time(("student", "teacher", *HOSTS)):
            try:
                found = setting.measure(_step(setting, variant, precision, (batch, size)), repeats=3)
            except torch.cuda.OutOfMemoryError as error:
                row[variant] = {"out_of_memory": str(error).splitlines()[0]}
                continue
            finally:
                _settle()
            floor += found["ms"] if variant in ("student", "teacher") else 0
            row[variant] = found if variant in ("student", "teacher") else found | {"ratio": found["ms"] / floor}
        rows[f"batch {batch}, {precision}"] = row
    return rows


def attack(setting: Setting) -> dict[str, Any]:
    """Return the images a second that the attack perturbs."""
    recipe = setting.recipe(_base(setting))
    teacher = _teacher(recipe).to(setting.device)
    batch, size = (2, (64, 96)) if setting.small else (8, (800, 1344))
    made = batch_of(batch, size, len(DataFiles.of(recipe).classes))
    pixels = torch.stack(made["inputs"]).to(setting.device).float()
    samples = [sample.to(setting.device) for sample in made["data_samples"]]
    method = DIFGSM(steps=2 if setting.small else 5)
    found = setting.measure(lambda: method(teacher, pixels, samples), repeats=2)
    return found | {"images_a_second": 1e3 * batch / found["ms"], "attack_steps": method.steps}


def recipes(setting: Setting) -> dict[str, Any]:
    """Take one step of every stage of the COCO recipes, with random weights on random images."""
    shipped = [name for name in recipe_names() if name.startswith(("coco_", "ikd_", "dfmsd_", "retinanet_r50"))]
    rows: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for name in setting.in_time(setting.recipes or shipped):
        try:
            recipe = setting.recipe(name)
            first = seen.setdefault(json.dumps(_kinds(recipe.effective()), sort_keys=True), name)
            rows[name] = {"as": first} if first != name else _one_step(setting, recipe)
        except Exception as error:  # whatever it is, the other recipes are still worth a step
            rows[name] = {"error": f"{type(error).__name__}: {error}"}
        _settle()
    if broken := [name for name, row in rows.items() if "error" in row]:
        rows["error"] = f"no step by {len(broken)} of {len(rows)}: {', '.join(broken)}"
    return rows


def _kinds(node: Any) -> Any:
    """Return what a recipe trains without its strengths and lengths."""
    if isinstance(node, dict):
        return {key: _kinds(value) for key, value in node.items() if key not in ("schedule", "epochs", "seed")}
    if isinstance(node, list):
        return [_kinds(one) for one in node]
    return None if isinstance(node, float) else node


def _one_step(setting: Setting, recipe: Recipe) -> dict[str, Any]:
    totals = []
    for plan in recipe.stages:
        teacher = _teacher(plan.recipe) if plan.recipe.teacher is not None else None
        totals.append(float(_train_step(setting, plan.recipe, teacher, (2, (64, 96)))()))
        del teacher
    return {"total_losses": totals}


def _base(setting: Setting) -> str:
    return "drawn_r18" if setting.small else "retinanet_r50_from_x101"


def _step(setting: Setting, variant: str, precision: str, shape: tuple[int, tuple[int, int]]) -> Work:
    host, _, adversarial = variant.partition("+")
    distils = host not in ("student", "teacher")
    values: dict[str, Any] = {
        "distill__host": host if distils else "none",
        "adversarial__enabled": bool(adversarial) or not distils,  # a recipe with a teacher must use it
        **PRECISIONS[precision],
    }
    recipe = setting.recipe(_base(setting), **values)
    teacher = _teacher(recipe)
    if variant != "teacher":
        return _train_step(setting, recipe if distils else recipe.student_alone(), teacher if distils else None, shape)
    layout = torch.channels_last if recipe.schedule.channels_last else torch.contiguous_format
    images = torch.rand(shape[0], 3, *shape[1], device=setting.device).contiguous(memory_format=layout)
    teacher = teacher.to(setting.device, memory_format=layout)

    @torch.no_grad()
    def forward() -> object:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=bool(recipe.schedule.amp)):
            return teacher.extract_feat(images)

    return forward


def _train_step(setting: Setting, recipe: Recipe, teacher: Any, shape: tuple[int, tuple[int, int]]) -> Any:
    files = DataFiles.of(recipe)
    torch.manual_seed(0)
    model = arrange(build_model(recipe, files, teacher).to(setting.device), recipe)
    model.train()
    wrapper = optim_wrapper(recipe, model, setting.device)
    batch = batch_of(shape[0], shape[1], len(files.classes), masks=has_masks(model.student))
    batch |= {"adversarial": batch["inputs"]} if model.terms.adversarial is not None else {}
    return lambda: model.train_step(copied(batch), wrapper)["total"]


def _teacher(recipe: Recipe) -> Any:
    assert recipe.teacher is not None
    return _frozen(json.dumps(model_config(recipe.teacher, DataFiles.of(recipe).classes), sort_keys=True))


@functools.lru_cache(maxsize=2)  # rows beside each other mostly share theirs, and a large one takes seconds to draw
def _frozen(config: str) -> Any:
    torch.manual_seed(0)
    return freeze(build_detector(json.loads(config)))


def _settle() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
