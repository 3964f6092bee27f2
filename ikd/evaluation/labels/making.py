"""What a teacher sees in images that it looks at for labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

from ikd.detectors import boxes_only, weights_sha256
from ikd.evaluation.labels.store import LEAST_SCORE, MOST_BOXES, Boxes, LabelStore
from ikd.evaluation.plain_mmdet import predictions
from ikd.evaluation.reading import equal_sizes, read_ahead
from ikd.trial import Notify

_FORMAT = 1  # raise when boxes are made in another way
SOFTMAX_THRESHOLD, OTHER_THRESHOLD = 0.7, 0.4
LEAST_SIDE_PX = 1e-2


def usual_threshold(teacher: Any) -> float:
    """Return the score from which on a teacher's boxes are labels, by how it scores (MixPL's choices).

    Returns:
        0.7 for a detector of two stages with a softmax over classes, and 0.4 for all others.
    """
    head = getattr(getattr(teacher, "roi_head", None), "bbox_head", None)
    last = head[-1] if isinstance(head, torch.nn.ModuleList) else head
    loss = getattr(last, "loss_cls", None)
    softmax = last is not None and not getattr(loss, "use_sigmoid", False)
    return SOFTMAX_THRESHOLD if softmax else OTHER_THRESHOLD


def label_key(
    teacher: Any, config: str, pipeline: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> dict[str, Any]:
    """Return everything that a teacher's labels depend on, but for the images.

    Args:
        teacher: frozen, with its weights.
        config: of the teacher, as a text; says how it suppresses boxes.
        pipeline: how it is shown images.
        classes: names of its classes, in its order.
    """
    return {
        "format": _FORMAT,
        "weights": weights_sha256(teacher),
        "detector": config,
        "pipeline": repr(list(pipeline)),
        "classes": list(classes),
        "kept": [LEAST_SCORE, MOST_BOXES],
        "threshold": usual_threshold(teacher),
    }


@dataclass(frozen=True)
class _Images:
    """Images as at test time, without annotations."""

    paths: Sequence[str]
    pipeline: Any

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.pipeline({"img_path": self.paths[index], "img_id": index, "instances": []})


def look_for_labels(
    store: LabelStore,
    images: Mapping[str, str],
    teacher: Any,
    pipeline: Sequence[Mapping[str, Any]],
    *,
    batch_size: int,
    workers: int,
    progress: Notify | None = None,
) -> None:
    """Let a teacher look at the images that a store lacks, and keep what it sees; a shard is kept as it is done.

    Args:
        store: where to.
        images: paths by digest.
        teacher: frozen, on its device.
        pipeline: of mmdet's transforms, as at test time.
        batch_size: images of one size that go through together.
        workers: processes that read images.
        progress: told how many of all images are done.
    """
    shards = store.missing(list(images))
    done = len(images) - sum(map(len, shards))
    if progress is not None:
        progress(done, len(images))
    with DefaultScope.overwrite_default_scope("mmdet"):
        transforms = Compose([dict(one) for one in pipeline])
    for shard in shards:
        dataset, before = _Images([images[one] for one in shard], transforms), done
        samples = read_ahead(dataset, range(len(shard)), workers=workers)
        batches = map(pseudo_collate, equal_sizes(samples, batch_size))
        tell = _from(before, len(images), progress)
        found: dict[str, Boxes] = {}
        with boxes_only(teacher):
            for results in predictions(teacher, batches, len(shard), tell):
                found |= {shard[int(result.img_id)]: _boxes_of(result.pred_instances) for result in results}
        store.write({image: found[image] for image in shard})
        done += len(shard)


def _from(before: int, total: int, progress: Notify | None) -> Notify | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _boxes_of(seen: Any) -> Boxes:
    """Return what is kept of predictions, [n, 6], the highest scores first."""
    columns = [seen.bboxes.float(), seen.scores.float()[:, None], seen.labels.float()[:, None]]
    rows: Boxes = torch.cat(columns, dim=1).cpu().numpy()
    sides = (rows[:, 2:4] - rows[:, :2]).min(axis=1, initial=np.inf) if len(rows) else np.zeros(0)
    rows = rows[(rows[:, 4] >= LEAST_SCORE) & (sides >= LEAST_SIDE_PX)]
    return rows[np.argsort(-rows[:, 4], kind="stable")][:MOST_BOXES]
