"""Samples of a data set, read by other processes while the device works."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

AHEAD = 4
"""Samples that each process keeps ready."""


def read_ahead(dataset: Any, wanted: Sequence[int], *, workers: int) -> Iterator[Any]:
    """Yield the samples at the indices `wanted`, in this order, whatever the number of processes; 0 reads here."""
    if workers == 0 or len(wanted) <= 1:
        yield from (dataset[index] for index in wanted)
        return
    yield from DataLoader(
        dataset,
        batch_size=None,
        sampler=wanted,
        num_workers=min(workers, len(wanted)),
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        worker_init_fn=_one_thread,
        multiprocessing_context="fork",  # as the loaders of a trial: the data set need not be sent
        generator=torch.Generator(),  # its seed for the processes is not to come from the global one
    )


def equal_sizes(samples: Iterable[Any], batch_size: int) -> Iterator[list[Any]]:
    """Yield packed samples in lists of up to `batch_size` whose images [3, H, W] have one size.

    So each keeps the padding that it would have alone, and no result depends on its neighbours.
    """
    waiting: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for sample in samples:
        size = (int(sample["inputs"].shape[1]), int(sample["inputs"].shape[2]))
        waiting[size].append(sample)
        if len(waiting[size]) == batch_size:
            yield waiting.pop(size)
    yield from waiting.values()


def _as_it_is(sample: Any) -> Any:
    return sample


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
