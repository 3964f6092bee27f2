"""What a teacher sees in the training images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from ikd.augment import test_pipeline_of
from ikd.config import Recipe
from ikd.data import DataFiles, image_digest, part_of
from ikd.data.reader.dataset import IndexedCocoDataset
from ikd.detectors import boxes_only
from ikd.evaluation.plain_mmdet import predictions
from ikd.evaluation.reading import equal_sizes, read_ahead
from ikd.trial import Notify

LOOKED_AT_AGAIN = 16
"""Images that a teacher looks at once more before boxes of unknown ids are believed."""
_CLOSE_PX = 0.5


def find_boxes(
    recipe: Recipe,
    files: DataFiles,
    teacher: Any,
    progress: Notify | None,
    wanted: Sequence[int] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Run a teacher over the training images, as at test time.

    Images of one size go through together and keep the padding that they have alone; the processes of
    `schedule.workers` read them.

    Args:
        recipe: says the size of the images.
        files: where they lie.
        teacher: frozen.
        progress: called with images done and images to do.
        wanted: places of images in the data set; None is all of them.

    Returns:
        By digest of the image, [n, 5]: corners in pixels of the original image, and the score.
    """
    dataset = _images(recipe, files, teacher)
    wanted = range(len(dataset)) if wanted is None else wanted
    found: dict[str, NDArray[np.float32]] = {}
    if progress is not None:
        progress(0, len(wanted))
    samples = read_ahead(dataset, wanted, workers=recipe.schedule.workers)
    batches = map(pseudo_collate, equal_sizes(samples, recipe.schedule.batch_size))
    with boxes_only(teacher):
        for results in predictions(teacher, batches, len(wanted), progress):
            for result in results:
                seen = result.pred_instances
                boxes = torch.cat([seen.bboxes, seen.scores[:, None]], dim=1).cpu().float().numpy()
                found[image_digest(result.img_path)] = boxes
    return found


def _images(recipe: Recipe, files: DataFiles, teacher: Any) -> Any:
    """Return mmdet's data set of the training images as at test time."""
    pipeline = test_pipeline_of(recipe, getattr(teacher, "bbox_head", None))
    with contextlib.redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("mmdet"):
        return IndexedCocoDataset(**part_of(files, "train"), test_mode=True, pipeline=pipeline)


def bound_boxes(
    recipe: Recipe, files: DataFiles, teacher: Any, before: Mapping[int, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]] | None:
    """Find out whether boxes that were kept by id belong to the images that have these ids now.

    Ids alone do not tell. The ids must be the same ones, and the teacher must see again in a few images, spread over
    the data set, what was kept of them: an export that numbers its images anew is found out by that.

    Args:
        recipe: says the size of the images.
        files: where they lie.
        teacher: frozen, whose boxes they are.
        before: by image id.

    Returns:
        The boxes by digest of the image; None where they are not, or perhaps not, those of these images.
    """
    dataset = _images(recipe, files, teacher)
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    if {entry["img_id"] for entry in entries} != set(before):
        return None
    step = max(1, len(entries) // LOOKED_AT_AGAIN)
    again = find_boxes(recipe, files, teacher, None, range(0, len(entries), step))
    bound = {image_digest(entry["img_path"]): before[entry["img_id"]] for entry in entries}
    return bound if all(_alike(boxes, bound[image]) for image, boxes in again.items()) else None


def _alike(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Whether boxes [n, 5] are the same but for what another processor or batch rounds differently."""
    if len(boxes) != len(others):
        return False
    return not len(boxes) or bool(np.abs(boxes[:, :4] - others[:, :4]).max() < _CLOSE_PX)
