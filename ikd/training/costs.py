"""What is measured of a student besides validation: its costs in use, and how it does on the test part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ikd.augment import test_pipeline_of
from ikd.config import Recipe
from ikd.data import DataFiles
from ikd.detectors import complexity, latency_ms, without_pretrained
from ikd.errors import BadInput, refuse
from ikd.evaluation import load_detector, run, val_loader
from ikd.training.teachers.loading import model_config
from ikd.trial import COST, TEST, Metrics, NotifyOf

COSTS = ("gflops", "mparameters", "latency_ms")


def check_costs(names: Sequence[str]) -> None:
    """Refuse a cost that is none.

    Raises:
        BadInput: names it.
    """
    for name in names:
        if name not in COSTS:
            raise BadInput(f"costs: must be among {', '.join(COSTS)}, but got {name!r}")


def measure_costs(names: Sequence[str], student: Any, dataset: Any, known: Metrics) -> Metrics:
    """Return `cost/<name>` for each name; what is known already is taken from there, so that a trial has one figure.

    Args:
        names: among `COSTS`: 1e9 multiply-adds (what mmdet prints as GFLOPs) and 1e6 weights, both exact; milliseconds
            of the network for a batch of one, the median of 30 after warm-up.
        student: on its device; left in the mode it was in.
        dataset: the validation data, which gives the size of the image.
        known: metrics of an earlier part of this trial.

    Raises:
        BadInput: the multiply-adds of this detector cannot be counted.
    """
    wanted = [name for name in names if f"{COST}{name}" not in known]
    mode = student.training
    student.eval()
    try:
        found = _measure(wanted, student, dataset) if wanted else {}
    finally:
        student.train(mode)
    return {f"{COST}{name}": found[name] if name in found else known[f"{COST}{name}"] for name in names}


def _measure(names: Sequence[str], student: Any, dataset: Any) -> Metrics:
    found = {}
    if "latency_ms" in names:
        found["latency_ms"] = latency_ms(student, dataset)
    if "gflops" in names or "mparameters" in names:
        counted = complexity(student, dataset)
        found["mparameters"] = counted.parameters / 1e6
        if "gflops" in names:
            if counted.macs is None:
                raise BadInput(f"costs: gflops of a {type(student).__name__} cannot be counted: {counted.reason}")
            found["gflops"] = counted.macs / 1e9
    return found


def on_test_part(recipe: Recipe, checkpoint: Path, progress: NotifyOf | None = None) -> Metrics:
    """Measure the student of a trial on the test part of its recipe, as validation does on its own part.

    Nothing of the process's random state or of a training that runs in it is changed.

    Args:
        recipe: with `data.test`.
        checkpoint: best.pth of a trial, or any checkpoint of its student.
        progress: told how many images are done.

    Returns:
        `test/bbox_mAP`, `test/bbox_AP50`, ...: range 0..1, NaN where there is no such object.

    Raises:
        BadInput: the recipe has no test part, it is not there or of other classes, or the weights do not fit.
    """
    files = DataFiles.of(recipe)
    if files.test is None or files.test_images is None:
        refuse(f"recipe {recipe.name}: data.test", "must name annotations and images of a test part", None)
    model = without_pretrained(model_config(recipe.student, files.classes))
    pipeline = test_pipeline_of(recipe, model.get("bbox_head", {}).get("type", ""))
    data = {"dataset": {"pipeline": pipeline}, "batch_size": 1, "num_workers": recipe.schedule.workers}
    settings = Config({"model": model, "test_dataloader": data})
    detector = load_detector(settings, checkpoint, files.classes, device=recipe.device)
    loader = val_loader(settings, files.test, files.test_images, files.classes)
    told = None if progress is None else partial(progress, "evaluating the student on the test part")
    found = run(detector, loader, files.test, kinds=recipe.validate, progress=told)
    return {f"{TEST}{name}": value for name, value in found.items()}
