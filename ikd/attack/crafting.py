"""Attacking a whole data set once, and measuring what that did to the teacher."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ikd.attack.difgsm import DIFGSM
from ikd.attack.gradient import prepared_samples
from ikd.attack.images import Batch, TrainingImages, batches, digests, open_dataset
from ikd.attack.preprocess import PixelNormaliser, valid_mask
from ikd.attack.room import bytes_in
from ikd.attack.store import PerturbationStore
from ikd.config import MAX_EPS, Attack
from ikd.data import categories, coco_metrics
from ikd.detectors import boxes_only, has_masks, weights_sha256
from ikd.errors import DataError, refuse
from ikd.evaluation import coco_detections
from ikd.trial import Notify

FORMAT = 4  # raise when the stored files or the meaning of a setting change
WRITERS = 2
"""Threads that pack and write."""
BEHIND = 32
"""Perturbations that may wait to be written; one of COCO takes 2.6 MB."""


def perturbation_key(
    teacher: nn.Module, source: TrainingImages, attack: DIFGSM, *, data_fingerprint: str
) -> dict[str, Any]:
    """Return everything a set of perturbations depends on, for `PerturbationStore`.

    Args:
        teacher: the frozen detector; its weights and normalisation count, not where they came from.
        source: the images and their size.
        attack: the attack.
        data_fingerprint: of the annotations and images (`ikd.data.fingerprint`). It says nothing about the order of
            classes, in which the teacher is asked for them, so that enters too.
    """
    turned = {} if source.orientation == "apply" else {"orientation": source.orientation}  # older stores have none
    return turned | {
        "format": FORMAT,
        "teacher": weights_sha256(teacher),
        "data": data_fingerprint,
        "classes": list(categories(source.annotations)),
        "input_size": list(source.input_size),
        "keep_ratio": source.keep_ratio,
        "attack": attack.parameters(),
    }


def generate(  # noqa: PLR0913 - each is the caller's to choose
    teacher: nn.Module,
    source: TrainingImages,
    store: PerturbationStore,
    attack: DIFGSM,
    *,
    batch_size: int = Attack().batch_size,
    workers: int = 0,
    device: str | torch.device = "cpu",
    measures: bool = True,
    progress: Notify | None = None,
) -> dict[str, Any]:
    """Fill a store with the perturbation of every image, then evaluate the teacher with and without it.

    Continues where an earlier run stopped; a complete store is left as it is. Images are seen as at test time:
    resized, padded to the teacher's divisor, not augmented.

    Args:
        teacher: a frozen detector; moved to `device`.
        source: the images and their size.
        store: where the perturbations go; made with `perturbation_key` of the same arguments.
        attack: the attack.
        batch_size: images at a time; changes nothing but time and memory.
        workers: processes that read and resize ahead; threads pack and write behind the device.
        device: where to run.
        measures: evaluate; false for a teacher of other classes than the images' annotations, where only what was
            written is read once more.
        progress: called with images done and images to do, at the start too; each is attacked once and evaluated once.

    Returns:
        The summary: `count`, `bytes` (of all files); `attacked`, `pixels`, `seconds` and `device` of this run's
        attacks; `clean` and `perturbed`, COCO metrics of the teacher on the images it attacked, 0..1, where it
        `measures`.

    Raises:
        BadInput: a strength below one grey level, which whole numbers cannot store, or a batch size below 1.
        DiskFull: what was written is usable, and the next run goes on after it.
    """
    if batch_size < 1:
        refuse("attack: batch_size", "must be at least 1", batch_size)
    limit_of(attack)
    teacher.to(device)
    dataset = open_dataset(source, with_masks=has_masks(teacher))
    images = digests(dataset)
    absent = set(store.missing(images))
    if not absent and store.complete:
        return store.summary()
    store.reopen()
    run = _Run(teacher, dataset, store, batch_size, workers, progress or (lambda done, total: None))
    places = {image: index for index, image in reversed([*enumerate(images)]) if image in absent}  # one of equal ones
    run.total = len(places) + len(images)
    run.progress(0, run.total)
    seconds = run.attack(attack, sorted(places.values()))
    found = dict(zip(("clean", "perturbed"), run.evaluate(detects=measures), strict=True))
    store.finish(
        {
            "count": len(images),
            "bytes": bytes_in(store.folder),
            "attacked": len(absent),
            "pixels": run.pixels,
            "seconds": seconds,
            "device": _name_of(run.device),
            **{side: coco_metrics(source.annotations, one) for side, one in found.items() if measures},
        }
    )
    return store.summary()


def measured_on(
    detector: nn.Module,
    source: TrainingImages,
    store: PerturbationStore,
    *,
    batch_size: int = Attack().batch_size,
    workers: int = 0,
    progress: Notify | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Evaluate any detector on images without and with the perturbations of a store, whoever they were made against.

    Args:
        detector: frozen, on its device.
        source: the images and their size.
        store: with a perturbation of each.
        batch_size: images at a time; changes nothing but time and memory.
        workers: as of `generate`.
        progress: called with images done and images to do.

    Returns:
        COCO metrics on the clean and on the perturbed images, 0..1.

    Raises:
        DataError: the store lacks an image.
    """
    dataset = open_dataset(source, with_masks=False)
    run = _Run(detector, dataset, store, batch_size, workers, progress or (lambda done, total: None))
    run.total = len(dataset)
    clean, perturbed = run.evaluate()
    return coco_metrics(source.annotations, clean), coco_metrics(source.annotations, perturbed)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def limit_of(attack: DIFGSM) -> int:
    """Return the largest whole grey level that an attack may leave.

    Raises:
        BadInput: a strength below one grey level.
    """
    if 0 < attack.eps < 1:
        refuse("attack: eps", "must be 0, or at least 1 grey level to be stored in whole numbers", attack.eps)
    # relative to the contrast, the published strength may exceed eps in a channel; what was crafted is kept
    return math.floor(MAX_EPS if attack.published else attack.eps)


def whole_levels(attack: DIFGSM, delta: Tensor) -> Tensor:
    """Round perturbations to whole grey levels, int8, of at most what the attack may leave."""
    limit = limit_of(attack)
    return delta.round().clamp(-limit, limit).to(torch.int8)


def crafted(attack: DIFGSM, teacher: Any, batch: Batch) -> Tensor:
    """Attack a batch, on its device; return whole grey levels, int8 [N, 3, H, W], without the padding."""
    height, width = batch.size
    return whole_levels(attack, attack(teacher, batch.pixels, batch.samples))[:, :, :height, :width]


class _Writer:
    """Writes perturbations in threads, behind the device; an error comes out at the next `write` or at the end."""

    def __init__(self, store: PerturbationStore) -> None:
        self._store, self._open = store, collections.deque[Future[None]]()

    def __enter__(self) -> _Writer:
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="ikd-perturbations")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._settle(0)

    def write(self, image: str, delta: NDArray[np.int8]) -> None:
        """Write one perturbation soon."""
        self._open.append(self._pool.submit(self._store.write, image, delta))
        self._settle(BEHIND)

    def _settle(self, left: int) -> None:
        while len(self._open) > left:
            self._open.popleft().result()


class _Run:
    """One pass over the images to attack, one over all to evaluate."""

    def __init__(
        self,
        teacher: Any,
        dataset: Any,
        store: PerturbationStore,
        batch_size: int,
        workers: int,
        progress: Notify,
    ) -> None:
        self.teacher, self.dataset, self.store = teacher, dataset, store
        self.batch_size, self.workers = batch_size, workers
        self.progress, self.done, self.total = progress, 0, 0
        self.pixels = 0
        self.device = next(teacher.parameters()).device
        self.normaliser = PixelNormaliser(teacher)

    def _batches(self, indices: Sequence[int]) -> Iterator[Batch]:
        yield from batches(
            self.dataset,
            indices,
            batch_size=self.batch_size,
            divisor=self.normaliser.divisor,
            workers=self.workers,
        )

    def _note(self, batch: Batch) -> None:
        self.done += len(batch.samples)
        self.progress(self.done, self.total)

    def attack(self, attack: DIFGSM, indices: Sequence[int]) -> float:
        """Write the perturbation of each image and return the seconds that took."""
        start = time.perf_counter()
        with _Writer(self.store) as writer:
            for batch in self._batches(indices):
                for image, delta in zip(batch.images, self._craft(attack, batch), strict=True):
                    writer.write(image, delta)
                self.pixels += len(batch.samples) * batch.size[0] * batch.size[1]
                self._note(batch)
        return time.perf_counter() - start

    def _craft(self, attack: DIFGSM, batch: Batch) -> NDArray[np.int8]:
        """Return the perturbations [N, H, W, 3] without the padding."""
        levels: NDArray[np.int8] = crafted(attack, self.teacher, batch.to(self.device)).cpu().movedim(1, -1).numpy()
        return levels

    def evaluate(self, *, detects: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the teacher's detections on the clean and on the perturbed images; none where it only reads these."""
        clean: list[dict[str, Any]] = []
        perturbed: list[dict[str, Any]] = []
        for batch in self._batches(range(len(self.dataset))):
            pixels = batch.pixels.to(self.device).float()
            delta = torch.zeros_like(pixels)
            height, width = batch.size
            for index, image in enumerate(batch.images):
                delta[index, :, :height, :width] = torch.from_numpy(self._read(image)).permute(2, 0, 1).to(delta)
            if detects:
                clean += self._detect(pixels, batch)
                perturbed += self._detect((pixels + delta).clamp(0, 255), batch)
            self._note(batch)
        return clean, perturbed

    def _read(self, image: str) -> NDArray[np.int8]:
        try:
            return self.store.read(image)
        except DataError:
            self.store.discard(image)  # damaged inside: the next run remakes it
            raise

    @torch.no_grad()
    def _detect(self, pixels: Tensor, batch: Batch) -> list[dict[str, Any]]:
        shape = (int(pixels.shape[2]), int(pixels.shape[3]))
        sizes = [batch.size] * len(batch.samples)
        samples = prepared_samples(batch.samples, shape, [shape] * len(batch.samples))
        inputs = self.normaliser.forward(pixels, valid_mask(pixels, sizes))
        with boxes_only(self.teacher):
            results = self.teacher.predict(inputs, samples, rescale=True)
        return [
            item
            for result in results
            for item in coco_detections(int(result.img_id), result.pred_instances, self.dataset.cat_ids)
        ]
