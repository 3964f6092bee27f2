"""What a teacher sees in the training images."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from ikd.augment import test_pipeline
from ikd.config import Recipe
from ikd.data import DataFiles, part_of
from ikd.data.reader.dataset import IndexedCocoDataset
from ikd.detectors import boxes_only, head_row
from ikd.evaluation.plain_mmdet import predictions
from ikd.evaluation.reading import equal_sizes, read_ahead
from ikd.trial import Notify


def find_boxes(
    recipe: Recipe, files: DataFiles, teacher: Any, progress: Notify | None
) -> dict[int, NDArray[np.float32]]:
    """Run a teacher over every training image, as at test time.

    Images of one size go through together and keep the padding that they have alone; the processes of
    `schedule.workers` read them.

    Returns:
        By image id, [n, 5]: corners in pixels of the original image, and the score.
    """
    bordered = head_row(getattr(teacher, "bbox_head", None)).reads_border
    pipeline = test_pipeline(
        scale=recipe.input.scale,
        keep_ratio=recipe.input.keep_ratio,
        bordered=bordered,
        orientation=recipe.data.orientation,
    )
    with contextlib.redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("mmdet"):
        dataset = IndexedCocoDataset(**part_of(files, "train"), test_mode=True, pipeline=pipeline)
    found: dict[int, NDArray[np.float32]] = {}
    if progress is not None:
        progress(0, len(dataset))
    samples = read_ahead(dataset, range(len(dataset)), workers=recipe.schedule.workers)
    batches = map(pseudo_collate, equal_sizes(samples, recipe.schedule.batch_size))
    with boxes_only(teacher):
        for results in predictions(teacher, batches, len(dataset), progress):
            for result in results:
                seen = result.pred_instances
                found[int(result.img_id)] = torch.cat([seen.bboxes, seen.scores[:, None]], dim=1).cpu().float().numpy()
    return found
