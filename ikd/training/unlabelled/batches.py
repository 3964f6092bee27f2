"""How many photographs without labels come with each batch, and which draws these are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info


def draws_of(images: int, ratio: float) -> int:
    """Return how many photographs without labels come with so many labelled images."""
    return int(images * ratio + 0.5)


@DATA_SAMPLERS.register_module()
class MixedBatchSampler(AspectRatioBatchSampler):
    """Batches of the whole trial with photographs without labels in addition; a process takes its part of both.

    After n labelled images of an epoch round(n ratio) photographs have come. The index of a draw is the length of the
    data set plus its number in the epoch. With several processes they come in multiples of their number, so that the
    mean over processes weighs all of them alike.

    Args:
        ratio: photographs for each labelled image, above 0.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False, *, ratio: float) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.ratio = ratio

    def __iter__(self) -> Iterator[list[int]]:
        rank, processes = get_dist_info()
        length, seen, drawn = len(self.sampler), 0, 0
        for batch in super().__iter__():
            seen += len(batch)
            due = draws_of(seen, self.ratio / processes) * processes
            draws = [length + number for number in range(drawn, due)]
            drawn = due
            yield (batch[rank::processes] or batch[:1]) + draws[rank::processes]
