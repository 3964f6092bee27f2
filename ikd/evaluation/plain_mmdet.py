"""Evaluating a detector as plain mmdet runs it: its own config, its own pipeline, pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ikd.data import categories
from ikd.data.reader import dataset as _indexed  # noqa: F401, registers the data set
from ikd.detectors import (
    NAMES,
    build_detector,
    harmless,
    has_masks,
    load_weights,
    read_checkpoint,
    read_source,
    reads_text,
    refuse_harm,
    without_pretrained,
)
from ikd.errors import BadInput, refuse
from ikd.evaluation.coco import CocoEvaluator, Kind
from ikd.trial import Notify


def evaluate(
    config: Path,
    checkpoint: Path | str,
    annotations: Path,
    images: Path,
    *,
    kinds: Sequence[Kind] = ("bbox",),
    device: str = "auto",
    progress: Notify | None = None,
) -> dict[str, float]:
    """Evaluate any plain mmdet detector on a data set in COCO format.

    Args:
        config: mmdet config file with `model` and `test_dataloader`, whose batch size, workers and pipeline are used.
        checkpoint: its weights; every key must fit, and the classes must be those of the annotations.
        annotations: COCO json file.
        images: folder that its file names are relative to.
        kinds: `bbox`, `segm` and `voc`, one or several; masks need a detector that predicts them.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` for the GPU where there is one.
        progress: told the images evaluated so far and their number, after each batch.

    Returns:
        bbox_mAP, bbox_AP50, ..., segm_mAP, ..., voc_AP50, voc_AP50_07: range 0..1, unrounded, NaN where there is no
        such object.

    Raises:
        BadInput: a file is missing or does not fit the others.
    """
    settings = read_config(config)
    if not annotations.is_file():
        raise BadInput(f"{annotations}: must be a COCO json file, but nothing like that is there")
    if not images.is_dir():
        raise BadInput(f"{images}: must be a folder of images, but nothing like that is there")
    classes = categories(annotations)
    detector = load_detector(settings, checkpoint, classes, device=device)
    loader = val_loader(settings, annotations, images, classes)
    return run(detector, loader, annotations, kinds=kinds, progress=progress)


def read_config(path: Path) -> Config:
    """Read a mmdet config file.

    Raises:
        BadInput: missing, broken, without a model or a test pipeline, or a program (see `ikd.trust`).
    """
    if not path.is_file():
        raise BadInput(f"{path}: must be a mmdet config file, but nothing like that is there")
    try:
        settings = read_source(path)
    except BadInput:
        raise
    except Exception as error:  # a config file is a program: it can fail in any way
        raise BadInput(f"{path}: must be a mmdet config file, but {type(error).__name__}: {error}") from error
    if "model" not in settings or _dataset(settings) is None:
        raise BadInput(f"{path}: must have `model` and `test_dataloader.dataset.pipeline`, but has {sorted(settings)}")
    return settings


def _dataset(settings: Config) -> Any:
    """Return the config of the test data; a wrapper (of a repeated or concatenated set) holds it inside."""
    dataset = settings.get("test_dataloader", {}).get("dataset", {})
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset if "pipeline" in dataset else None


def load_detector(
    settings: Config, checkpoint: Path | str, classes: tuple[str, ...], *, device: str
) -> torch.nn.Module:
    """Build the detector of a config and load its weights strictly, ready to predict.

    Raises:
        BadInput: unknown device; weights of another architecture or other classes.
    """
    place = _device(device)
    model = without_pretrained(settings.model)
    if reads_text(model):
        model[NAMES] = list(classes)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced right away
        detector = build_detector(model)
    load_weights(detector, read_checkpoint(checkpoint), classes=classes)
    return detector.to(place).eval()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"device: must be auto, cpu, or a GPU of this machine, but got {name!r} ({reason})") from error
    return place


def val_loader(settings: Config, annotations: Path, images: Path, classes: tuple[str, ...]) -> Any:
    """Return the loader of a config's test data, pointed at these files."""
    given = settings.test_dataloader
    refuse_harm(_dataset(settings).pipeline, "pipeline")
    dataset = {
        "type": "IndexedCocoDataset",
        "ann_file": str(annotations),
        "data_prefix": {"img": str(images)},
        "metainfo": {"classes": classes},
        "test_mode": True,
        "pipeline": _dataset(settings).pipeline,
    }
    scope = DefaultScope.overwrite_default_scope("mmdet")
    with scope, harmless(), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        return Runner.build_dataloader(
            {
                "dataset": dataset,
                "batch_size": given.get("batch_size", 1),
                "num_workers": given.get("num_workers", 0),
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "collate_fn": {"type": "pseudo_collate"},
            }
        )


def run(
    detector: Any, loader: Any, annotations: Path, *, kinds: Sequence[Kind], progress: Notify | None = None
) -> dict[str, float]:
    """Predict all of `loader` and return the metrics.

    Raises:
        BadInput: masks are asked for, of a detector that predicts none.
    """
    if "segm" in kinds and not has_masks(detector):
        refuse("validate", f"must not hold segm: a {type(detector).__name__} predicts no masks", list(kinds))
    total = len(loader.dataset)
    metric = CocoEvaluator(annotations, kinds)
    with DefaultScope.overwrite_default_scope("mmdet"):
        for samples in predictions(detector, loader, total, progress):
            metric.process(None, [sample.to_dict() for sample in samples])
    return metric.compute_metrics(metric.results)  # not mmengine's way, which waits for all processes of a trial


@torch.no_grad()
def predictions(detector: Any, batches: Iterable[Any], total: int, progress: Notify | None) -> Iterator[list[Any]]:
    """Yield what a detector finds in the images of each batch, as at test time, and tell how many of `total` are done.

    Yields:
        mmdet's data samples, with `pred_instances` in pixels of the original images.
    """
    done = 0
    for batch in batches:
        samples = detector.test_step(batch)
        yield samples
        done += len(samples)
        if progress is not None:
            progress(done, total)
