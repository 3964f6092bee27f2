"""How a detector does on the validation part: pycocotools' figures, curves, and its verdict on every box."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray

from ikd.config import Recipe
from ikd.data import CocoIndex, DataFiles, coco_evaluation, indexed, metrics_of
from ikd.detectors import boxes_only
from ikd.evaluation import coco_detections, predictions
from ikd.training import val_loader
from ikd.trial import Notify

IOU = 0.5
"""Least overlap at which a box has found an object, in all pictures."""
USUAL_SCORE = 0.3
"""Least score of the boxes that are drawn, of a detector that finds nothing at all."""
SIZES = {"s": "APs", "m": "APm", "l": "APl"}
HIT, FALSE, IGNORED = 1, 0, -1
"""Verdicts on a box: it found an object of its class; it did not; it lies on a crowd, and counts for nothing."""


@dataclass(frozen=True)
class Truths:
    """The objects of one image.

    Attributes:
        boxes: [m, 4] float, corners in pixels of the original image.
        labels: [m] int.
        crowds: [m] bool: a crowd or ignored: it need not be found.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowds: NDArray[np.bool_]

    @classmethod
    def of(cls, index: CocoIndex, place: int) -> Truths:
        """Return those of the image at a place of an index."""
        own = slice(int(index.first[place]), int(index.first[place + 1]))
        boxes = np.array(index.boxes[own], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]  # x, y, width, height -> corners
        return cls(boxes, np.array(index.labels[own]), index.set_aside[own])


@dataclass(frozen=True)
class Boxes:
    """What a detector sees in one image, and what became of it.

    Attributes:
        boxes: [n, 4] float32, corners in pixels of the original image.
        labels: [n] int.
        scores: [n] float64, 0..1.
        verdicts: [n] int8: `HIT`, `FALSE` or `IGNORED`, at an IoU of `IOU`.
        found_by: [m] float64, by truth of the image: the score of the box that found it, -1 where none did.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    found_by: NDArray[np.float64]

    def sure(self, least: float) -> NDArray[np.bool_]:
        """[n] bool: boxes of at least this score."""
        found: NDArray[np.bool_] = self.scores >= least
        return found

    def missed(self, truths: Truths, least: float) -> NDArray[np.bool_]:
        """[m] bool: objects, no crowds, that no box of at least this score has found."""
        found: NDArray[np.bool_] = (self.found_by < least) & ~truths.crowds
        return found

    def false(self, least: float) -> NDArray[np.bool_]:
        """[n] bool: boxes of at least this score that found nothing and lie on no crowd."""
        found: NDArray[np.bool_] = self.sure(least) & (self.verdicts == FALSE)
        return found

    def errors(self, truths: Truths, least: float) -> int:
        """Count what is missed and what is false."""
        return int(self.missed(truths, least).sum() + self.false(least).sum())


@dataclass(frozen=True)
class Judged:
    """A detector on the validation part.

    Attributes:
        metrics: ikd's own of the boxes, `bbox_mAP` and so on, 0..1, NaN where there is no such object.
        precision: [IoU, recall, class] by pycocotools, all sizes, -1 where a class has no object; IoU is 0.5, 0.55, ...
            0.95, recall 0, 0.01, ... 1.
        images: by place of the image in the annotations.
        least: score from which boxes are drawn and counted: that of the best F1 over all images, to 0.01.
    """

    metrics: Mapping[str, float]
    precision: NDArray[np.float64]
    images: Sequence[Boxes]
    least: float

    def measures(self) -> dict[str, Any]:
        """Return the figures of measures.json; null where there is no such object."""
        start = "bbox_AP/"
        classes = {name.removeprefix(start): value for name, value in self.metrics.items() if name.startswith(start)}
        return {
            "ap": _known(self.metrics["bbox_mAP"]),
            "ap_by_class": {name: _known(value) for name, value in classes.items()},
            "ap_by_size": {short: _known(self.metrics[f"bbox_{name}"]) for short, name in SIZES.items()},
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def judged(detector: Any, recipe: Recipe, files: DataFiles, progress: Notify | None = None) -> Judged:
    """Run a detector over the validation part, see `detections_of`, and judge what it sees there."""
    return judge(files.val, detections_of(detector, recipe, files, progress))


def detections_of(
    detector: Any,
    recipe: Recipe,
    files: DataFiles,
    progress: Notify | None = None,
    alter: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Run a detector over the validation part as validation does, one image at a time.

    Args:
        detector: on its device, ready to predict.
        recipe: says how large images are, and which way up.
        files: where they lie.
        progress: called with images done and images to do.
        alter: a mmdet transform of the photographs as they are read; None leaves them as they are.

    Returns:
        What it sees, as COCO says it; see `ikd.data.coco_metrics`.

    Raises:
        BadInput: an image cannot be read.
    """
    index, detections = indexed(files.val), list[dict[str, Any]]()
    config = val_loader(recipe, files, detector)
    if alter is not None:
        load, *rest = config["dataset"]["pipeline"]
        config["dataset"]["pipeline"] = [load, dict(alter), *rest]
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(config)
    if progress is not None:
        progress(0, len(loader.dataset))
    with boxes_only(detector), DefaultScope.overwrite_default_scope("mmdet"):
        for samples in predictions(detector, loader, len(loader.dataset), progress):
            for sample in samples:
                detections += coco_detections(int(sample.img_id), sample.pred_instances, index.category_ids)
    return detections


def judge(annotations: Path, detections: Sequence[Mapping[str, Any]]) -> Judged:
    """Judge detections; see `ikd.data.coco_metrics` for what they are."""
    index = indexed(annotations)
    evaluation = coco_evaluation(annotations, detections)
    images = _by_image(index, evaluation)
    return Judged(
        metrics_of(evaluation),
        evaluation.eval["precision"][:, :, :, 0, -1],
        images,
        best_score(images, int((~index.set_aside).sum())),
    )


def _by_image(index: CocoIndex, evaluation: Any) -> list[Boxes]:
    """Return what pycocotools says of each box at `IOU`, the first of its overlaps, over objects of all sizes."""
    places = {identity: place for place, identity in enumerate(index.ids.tolist())}
    labels = {identity: label for label, identity in enumerate(index.category_ids)}
    found_by = np.full(len(index.labels), -1.0)
    rows: list[list[tuple[Any, ...]]] = [[] for _ in range(len(index))]
    everything = evaluation.params.areaRng[0]
    for one in evaluation.evalImgs:
        if one is None or one["aRng"] != everything:
            continue
        scores = dict(zip(one["dtIds"], one["dtScores"], strict=True))
        for truth, match in zip(one["gtIds"], one["gtMatches"][0], strict=True):
            found_by[truth - 1] = scores[int(match)] if match else -1.0
        for identity, match, ignored in zip(one["dtIds"], one["dtMatches"][0], one["dtIgnore"][0], strict=True):
            entry = evaluation.cocoDt.anns[identity]
            verdict = IGNORED if ignored else HIT if match else FALSE
            rows[places[one["image_id"]]].append((entry["bbox"], labels[entry["category_id"]], entry["score"], verdict))
    return [_boxes(own, found_by[index.first[i] : index.first[i + 1]]) for i, own in enumerate(rows)]


def _boxes(rows: Sequence[tuple[Any, ...]], found_by: NDArray[np.float64]) -> Boxes:
    rows = sorted(rows, key=lambda row: (-row[2], row[1], row[0]))
    boxes = np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Boxes(
        boxes,
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.array([row[3] for row in rows], dtype=np.int8),
        found_by.copy(),
    )


def best_score(images: Sequence[Boxes], objects: int) -> float:
    """Return the least score, to 0.01, at which hits, false boxes and missed objects give the best F1.

    Args:
        images: of the whole part.
        objects: that there are to find.
    """
    scores = np.concatenate([one.scores for one in images] or [np.zeros(0)])
    verdicts = np.concatenate([one.verdicts for one in images] or [np.zeros(0, dtype=np.int8)])
    steps = np.arange(1, 100) / 100
    hits, false = (
        (scores[verdicts == kind][None, :] >= steps[:, None]).sum(axis=1) if len(scores) else np.zeros(len(steps))
        for kind in (HIT, FALSE)
    )
    f1 = 2 * hits / np.maximum(hits + false + objects, 1)
    return float(steps[int(f1.argmax())]) if f1.max() > 0 else USUAL_SCORE
