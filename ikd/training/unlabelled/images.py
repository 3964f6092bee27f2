"""Photographs without labels as samples of a training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import FUNCTIONS
from numpy.typing import NDArray

from ikd.augment import SCORED
from ikd.data import Photographs
from ikd.distill.labels import IMAGES, SAMPLES
from ikd.errors import DataError
from ikd.evaluation.labels import LEAST_SIDE_PX
from ikd.training.unlabelled.batches import draws_of
from ikd.training.unlabelled.reading import labels_from

TRIES = 100
"""So often may a crop of one photograph leave none of its boxes."""


class UnlabelledImages:
    """Photographs with a teacher's boxes, through a stage's pipelines.

    Every photograph comes equally often: a pass over all of them ends before the next one begins, whatever the epochs
    are. What a draw gives depends on (seed, epoch, index) alone.

    Args:
        photographs: which there are.
        labels: folder of the teacher's labels.
        classes: of the student.
        pipelines: each as (first epoch, 0-based, transforms), in order.
        threshold: as of `distill.labels`.
        ignore: likewise.
        labelled: images of an epoch that have labels.
        ratio: photographs for each of those.
        seed: of the trial.
        soft: least score of boxes that come with their scores, beside the others; None for none.
    """

    def __init__(  # noqa: PLR0913 - what the loader's config says
        self,
        *,
        photographs: Photographs,
        labels: Path | str,
        classes: Sequence[str],
        pipelines: Sequence[tuple[int, Any]],
        threshold: float | str,
        ignore: float | None,
        labelled: int,
        ratio: float,
        seed: int,
        soft: float | None = None,
    ) -> None:
        self._photographs, self._seed, self._epoch = photographs, seed, 0
        self._draws = draws_of(labelled, ratio)
        self.taught = labels_from(labels, photographs.digests, classes, threshold=threshold, ignore=ignore)
        self._soft = soft if soft is None else labels_from(labels, photographs.digests, classes, threshold=soft)
        self._phases = [(first, Compose(transforms)) for first, transforms in pipelines]
        self._pipeline = self._phases[0][1]

    def start_epoch(self, epoch: int) -> None:
        """Set the epoch, 0-based."""
        self._epoch = epoch
        self._pipeline = [pipeline for first, pipeline in self._phases if first <= epoch][-1]

    def place(self, draw: int) -> int:
        """Return which photograph a draw of this epoch shows."""
        turn, place = divmod(self._epoch * self._draws + draw, len(self._photographs))
        return int(_order(self._seed, turn, len(self._photographs))[place])

    def sample(self, draw: int) -> dict[str, Any]:
        """Return what a draw of this epoch gives; the caller has seeded numpy and random.

        Returns:
            `unlabelled`, uint8 [3, H, W], and `unlabelled_samples`, mmdet's data sample.

        Raises:
            DataError: no crop of the photograph keeps a box.
        """
        place = self.place(draw)
        for _ in range(TRIES):
            packed = self._pipeline(self._entry(place))
            if packed is not None:
                return {IMAGES: packed["inputs"], SAMPLES: _without_slivers(packed["data_samples"])}
        raise DataError(f"{self._photographs.paths[place]}: no crop of it keeps a box, in {TRIES} tries")

    def _entry(self, place: int) -> dict[str, Any]:
        image = self._photographs.digests[place]
        instances = self.taught.instances(image)
        entry = {"img_path": self._photographs.paths[place], "img_id": f"unlabelled {place}", "instances": instances}
        return entry if self._soft is None else entry | {SCORED: self._soft.scored(image)}


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    """Return the order of the photographs in a pass over all of them."""
    return np.random.default_rng([seed, turn, 0x1AB]).permutation(count)


def _without_slivers(sample: Any) -> Any:
    """Return a sample without what a crop has left of a box, where that is next to nothing."""
    boxes = sample.gt_instances.bboxes
    corners = boxes.tensor if hasattr(boxes, "tensor") else boxes
    wide = (corners[:, 2:] - corners[:, :2]).amin(dim=1) >= LEAST_SIDE_PX
    if not bool(wide.all()):
        sample.gt_instances = sample.gt_instances[wide]
    return sample


@FUNCTIONS.register_module()
def collate_parts(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch of labelled samples and photographs without labels: lists by key, those of each kind in order."""
    labelled: dict[str, Any] = pseudo_collate([one for one in samples if IMAGES not in one])
    others = [one for one in samples if IMAGES in one]
    return {**labelled, **pseudo_collate(others)} if others else labelled
