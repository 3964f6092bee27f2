"""Perturbations on disk: one lossless file an image, in a folder named after everything they depend on.

A file is named after the content of its image (`ikd.data.image_digest`), whatever the image's id and name are, and is
what `ikd.attack.packing` makes of it. Of an image that a data set shows twice, the attack saw the boxes of the
first entry. `used` beside the files is touched by whoever uses the store; see `ikd.attack.room`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.attack.packing import HEADER_BYTES, is_whole, pack, unpack
from ikd.errors import DataError
from ikd.files import parsed, write_whole

_SUFFIX = ".ikdp"
SUMMARY, _KEY = "summary.json", "key.json"
AGAIN = "an image has changed since they were made: the same command, started again, makes what is missing"


class PerturbationStore:
    """The perturbations of one data set against one teacher.

    Files are written whole or not at all, so a store can be filled by a run that is killed and started again. It
    counts as complete once its summary is written.

    Args:
        root: folder of all stores.
        key: everything the perturbations depend on; JSON values only.

    Attributes:
        folder: `root/<sha256 of the key>`, made with the first file.
    """

    def __init__(self, root: Path, key: Mapping[str, Any]) -> None:
        self._key = json.dumps(key, sort_keys=True, indent=1)
        self.folder = Path(root) / hashlib.sha256(self._key.encode()).hexdigest()

    @classmethod
    def open(cls, folder: Path) -> PerturbationStore:
        """Return the finished store in a folder, for reading.

        Raises:
            DataError: there is none, or it is incomplete.
        """
        folder = Path(folder)
        if not (folder / _KEY).is_file():
            raise DataError(f"{folder} holds no perturbations; make them with `ikd attack`")
        store = cls(folder.parent, parsed((folder / _KEY).read_text()))
        store.folder = folder  # it may have been moved
        if not store.complete:
            raise DataError(
                f"the perturbations in {folder} are incomplete ({len(store)} files, no {SUMMARY}); "
                "run the same `ikd attack` again"
            )
        return store

    @property
    def key(self) -> dict[str, Any]:
        """Everything the perturbations depend on."""
        key: dict[str, Any] = parsed(self._key)
        return key

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob(f"*{_SUFFIX}"))

    @property
    def complete(self) -> bool:
        """Whether every image was attacked and the teacher evaluated on the result."""
        return (self.folder / SUMMARY).is_file()

    def missing(self, images: Iterable[str]) -> list[str]:
        """Return the images without a whole file, in the order given; looks at the beginning of each file only."""
        return [image for image in images if not _is_whole(self.path_of(image))]

    def write(self, image: str, delta: NDArray[np.int8]) -> None:
        """Store the perturbation [H, W, 3] (BGR, grey levels) of an image, whole or not at all.

        After `reopen` threads may write side by side.

        Raises:
            DiskFull: what was there before is intact, and usable once there is space.
        """
        assert delta.dtype == np.int8
        assert delta.ndim == 3
        assert delta.shape[2] == 3
        self._begin()
        self._put(self.path_of(image).name, pack(delta))

    def read(self, image: str) -> NDArray[np.int8]:
        """Return the perturbation [H, W, 3] of an image at network size: BGR, grey levels, resized, not padded.

        Args:
            image: its digest.

        Raises:
            DataError: the file is missing, cut short or damaged.
        """
        path = self.path_of(image)
        if not path.is_file():
            raise DataError(f"no perturbation in {self.folder} of an image of SHA-256 {image}; {AGAIN}")
        delta = unpack(path.read_bytes())
        if delta is None:
            raise DataError(f"{path} is cut short or damaged; run the same `ikd attack` again, which remakes it")
        return delta

    def discard(self, image: str) -> None:
        """Remove an image's file, if there is one, so that it counts as missing."""
        self.path_of(image).unlink(missing_ok=True)

    def reopen(self) -> None:
        """Make the store incomplete again, before files of it are made, and say in it what it depends on."""
        (self.folder / SUMMARY).unlink(missing_ok=True)
        self._begin()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which makes the store complete."""
        self._put(SUMMARY, json.dumps(summary, indent=1).encode())

    def summary(self) -> dict[str, Any]:
        """Return count, seconds, and the teacher's metrics on the clean and the perturbed images.

        Raises:
            DataError: the store is incomplete.
        """
        if not self.complete:
            raise DataError(f"the perturbations in {self.folder} are incomplete; run the same `ikd attack` again")
        summary: dict[str, Any] = parsed((self.folder / SUMMARY).read_text())
        return summary

    def line(self, teacher: str) -> str:
        """Return for people how many images there are and how well they fool the teacher of this name, if measured.

        Raises:
            DataError: the store is incomplete.
        """
        summary = self.summary()
        if "clean" not in summary:
            return f"{summary['count']} images; teacher {teacher} knows other classes, so that its mAP says nothing"
        clean, perturbed = (100 * summary[part]["bbox_mAP"] for part in ("clean", "perturbed"))
        return f"{summary['count']} images; teacher {teacher} mAP {clean:.1f} clean, {perturbed:.1f} perturbed"

    def path_of(self, image: str) -> Path:
        """Return where the perturbation of an image lies, whether it is there or not."""
        return self.folder / f"{image}{_SUFFIX}"

    def _begin(self) -> None:
        if not (self.folder / _KEY).is_file():
            self._put(_KEY, self._key.encode())

    def _put(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / name, lambda file: file.write(content), durable=False)


def _is_whole(path: Path) -> bool:
    """Whether a file is as long as it says; one that was cut short is not."""
    try:
        with path.open("rb") as stream:
            return is_whole(stream.read(HEADER_BYTES), os.fstat(stream.fileno()).st_size)
    except OSError:
        return False
