"""What a student does on the test part, by which nothing was chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mmengine.config import Config

from ikd.augment import test_pipeline_of
from ikd.config import Recipe
from ikd.data import DataFiles
from ikd.detectors import without_pretrained
from ikd.errors import refuse
from ikd.evaluation import load_detector, run, val_loader
from ikd.training.model import model_config
from ikd.trial import TEST, Metrics, NotifyOf


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
