"""Perturbations on disk: one lossless file an image, in a folder named after everything they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ikd.errors import DataError
from ikd.files import write_whole

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_OFFSET = 128  # int8 -128..127 as uint8 0..255
_SUMMARY, _KEY = "summary.json", "key.json"


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
        store = cls(folder.parent, json.loads((folder / _KEY).read_text()))
        store.folder = folder  # it may have been moved
        if not store.complete:
            raise DataError(
                f"the perturbations in {folder} are incomplete ({len(store)} files, no {_SUMMARY}); "
                "run the same `ikd attack` again"
            )
        return store

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.png"))

    @property
    def complete(self) -> bool:
        """Whether every image was attacked and the teacher evaluated on the result."""
        return (self.folder / _SUMMARY).is_file()

    def missing(self, image_ids: Iterable[int]) -> list[int]:
        """Return the ids without a whole file, in the order given; looks at the end of each file only."""
        return [image_id for image_id in image_ids if not _has_end(self._path(image_id))]

    def write(self, image_id: int, delta: NDArray[np.int8]) -> None:
        """Store the perturbation [H, W, 3] (BGR, grey levels) of an image, atomically."""
        assert delta.dtype == np.int8
        assert delta.ndim == 3
        assert delta.shape[2] == 3
        done, encoded = cv2.imencode(".png", (delta.astype(np.int16) + _OFFSET).astype(np.uint8))
        assert done
        if not (self.folder / _KEY).is_file():
            self._put(_KEY, self._key.encode())
        self._put(self._path(image_id).name, encoded.tobytes())

    def read(self, image_id: int) -> NDArray[np.int8]:
        """Return the perturbation [H, W, 3] of an image at network size: BGR, grey levels, resized, not padded.

        Raises:
            DataError: the file is missing, cut short or damaged.
        """
        path = self._path(image_id)
        if not path.is_file():
            raise DataError(f"no perturbation of image {image_id} in {self.folder}; run the same `ikd attack` again")
        content = path.read_bytes()
        if not _is_whole(content):
            raise DataError(f"{path} is cut short or damaged; run the same `ikd attack` again, which remakes it")
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return (image.astype(np.int16) - _OFFSET).astype(np.int8)

    def discard(self, image_id: int) -> None:
        """Remove an image's file, if there is one, so that it counts as missing."""
        self._path(image_id).unlink(missing_ok=True)

    def reopen(self) -> None:
        """Make the store incomplete again, before files of it are remade."""
        (self.folder / _SUMMARY).unlink(missing_ok=True)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which makes the store complete."""
        self._put(_SUMMARY, json.dumps(summary, indent=1).encode())

    def summary(self) -> dict[str, Any]:
        """Return count, seconds, and the teacher's metrics on the clean and the perturbed images.

        Raises:
            DataError: the store is incomplete.
        """
        if not self.complete:
            raise DataError(f"the perturbations in {self.folder} are incomplete; run the same `ikd attack` again")
        summary: dict[str, Any] = json.loads((self.folder / _SUMMARY).read_text())
        return summary

    def line(self, teacher: str) -> str:
        """Return for people how many images there are and how well they fool the teacher of this name.

        Raises:
            DataError: the store is incomplete.
        """
        summary = self.summary()
        clean, perturbed = (100 * summary[part]["bbox_mAP"] for part in ("clean", "perturbed"))
        return f"{summary['count']} images; teacher {teacher} mAP {clean:.1f} clean, {perturbed:.1f} perturbed"

    def _path(self, image_id: int) -> Path:
        return self.folder / f"{int(image_id)}.png"

    def _put(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / name, lambda file: file.write(content), durable=False)


def _has_end(path: Path) -> bool:
    """Whether a file ends as a PNG does; a file that was cut short does not."""
    try:
        with path.open("rb") as stream:
            stream.seek(-len(_PNG_END), os.SEEK_END)
            return stream.read() == _PNG_END
    except OSError:  # missing, or shorter than the end alone
        return False


def _is_whole(content: bytes) -> bool:
    """Whether every chunk of a PNG has its checksum; the decoder would fill what is lost with black and go on."""
    if not content.startswith(_PNG) or not content.endswith(_PNG_END):
        return False
    place = len(_PNG)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        body = content[place + 4 : place + 8 + length]
        if content[place + 8 + length : place + 12 + length] != struct.pack(">I", zlib.crc32(body)):
            return False
        place += 12 + length
    return place == len(content)
