"""A teacher's boxes on disk: shards of some hundred images, in a folder named after everything they depend on.

An image is found by its content (`ikd.data.image_digest`), so that data sets which share images share what a teacher
sees in them, and a folder of photographs may grow. Shards are written whole or not at all: who is killed goes on where
it was.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.errors import DataError
from ikd.files import parsed, write_text, write_whole
from ikd.home import digest

Boxes = NDArray[np.float32]
DIGEST_BYTES = 32
LEAST_SCORE, MOST_BOXES = 0.05, 300
"""Of what is kept: the least score, and the number of boxes of an image."""
SHARD = 256
"""Images of a shard."""
_KEY = "key.json"
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class LabelStore:
    """What one teacher sees in images, however many data sets these are of.

    Args:
        root: folder of all stores.
        key: everything the boxes depend on, but for the images; JSON values only.

    Attributes:
        folder: of this store, made with the first shard.
        key: as given.
    """

    def __init__(self, root: Path, key: Mapping[str, Any]) -> None:
        self.key = dict(key)
        self.folder = Path(root) / digest(self.key)

    @classmethod
    def open(cls, folder: Path) -> LabelStore:
        """Return the store in a folder.

        Raises:
            DataError: there is none.
        """
        try:
            store = cls(folder.parent, parsed((Path(folder) / _KEY).read_text()))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} holds no teacher's labels; the same command makes them again") from error
        store.folder = Path(folder)
        return store

    def missing(self, images: Sequence[str]) -> list[list[str]]:
        """Return the images that are not there, as shards to be made.

        Which images are looked at together changes the last bits of their boxes. So shards are parts of the sorted
        list, whatever is there already: who goes on makes what an uninterrupted run would have made.
        """
        known = {image for shard in self._shards() for image in shard[0]}
        ordered = sorted(set(images))
        parts = (ordered[first : first + SHARD] for first in range(0, len(ordered), SHARD))
        left = ([image for image in part if image not in known] for part in parts)
        return [part for part in left if part]

    def write(self, found: Mapping[str, Boxes]) -> None:
        """Write a shard: boxes by digest of the image, each [n, 6]: corners in px of the original image, score, class.

        Raises:
            DiskFull: what was there before is intact.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / _KEY).is_file():
            write_text(self.folder / _KEY, json.dumps(self.key, sort_keys=True, indent=1))
        names = b"".join(map(bytes.fromhex, found))
        arrays = {
            "images": np.frombuffer(names, np.uint8).reshape(-1, DIGEST_BYTES),
            "counts": np.array([len(boxes) for boxes in found.values()], np.int64),
            "boxes": np.concatenate([*found.values(), np.zeros((0, 6), np.float32)]).astype(np.float32),
        }
        file = self.folder / f"{digest(sorted(found))}.npz"
        write_whole(file, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]

    def read(self, images: Iterable[str], least: float, classes: Sequence[str]) -> LabelBook:
        """Return the boxes of images from a score on, under the numbers that their classes have in a data set.

        Args:
            images: digests.
            least: score.
            classes: names of those of the data set, in its order; boxes of others are left out.

        Raises:
            DataError: an image was not looked at.
        """
        wanted, found = set(images), dict[str, Boxes]()
        numbers = np.array([classes.index(name) if name in classes else -1 for name in self.key["classes"]])
        for names, counts, boxes in self._shards():
            ends = np.cumsum(counts)
            for image, end, count in zip(names, ends.tolist(), counts.tolist(), strict=True):
                if image in wanted:
                    own = boxes[end - count : end].copy()
                    own[:, 5] = numbers[own[:, 5].astype(np.int64)]
                    found[image] = own[(own[:, 4] >= least) & (own[:, 5] >= 0)]
        if absent := sorted(wanted - found.keys()):
            rule = "an image has changed since they were made: the same command, started again, makes what is missing"
            raise DataError(f"{self.folder}: has no boxes of the image of SHA-256 {absent[0]}; {rule}")
        return LabelBook(found)

    def _shards(self) -> Iterator[tuple[list[str], NDArray[np.int64], Boxes]]:
        """Yield digests, counts and boxes of each shard; one that is damaged is removed, and so is made anew."""
        for file in sorted(self.folder.glob("*.npz")):
            try:
                with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                    names, counts, boxes = content["images"], content["counts"], content["boxes"]
            except _BROKEN:
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
                continue
            yield [bytes(name).hex() for name in names], counts, boxes


class LabelBook:
    """Boxes of images, by their digests.

    Args:
        boxes: of each image [n, 6]: corners in pixels of the original image, score, class.
    """

    def __init__(self, boxes: Mapping[str, Boxes]) -> None:
        counts = [len(one) for one in boxes.values()]
        ends = np.cumsum([0, *counts]).tolist()
        self._places = {image: slice(ends[place], ends[place + 1]) for place, image in enumerate(boxes)}
        self._boxes = np.concatenate([*boxes.values(), np.zeros((0, 6), np.float32)])  # one array: forks share it

    def __len__(self) -> int:
        return len(self._places)

    def of(self, image: str) -> Boxes:
        """Return the boxes of an image, [n, 6]."""
        return self._boxes[self._places[image]]
