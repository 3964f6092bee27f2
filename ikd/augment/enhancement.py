"""What a teacher sees in an image, which decides the masking enhancement of DFMSD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ikd.augment.union import covered_share
from ikd.errors import DataError
from ikd.files import write_whole

DIGEST_BYTES = 32
Name = TypeVar("Name")


class TeacherBoxes:
    """Boxes that a teacher found in the training images, in a file made once.

    An image is named by the digest of its content (`ikd.data.image_digest`): its id and name change with every export.

    Args:
        file: as written by `write`.

    Raises:
        DataError: the file is missing or none of ours.
    """

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        names, counts, self._boxes = _arrays(self.file, "images")
        self._places = _places([bytes(name).hex() for name in names], counts)

    def share(self, image: str, size: tuple[int, int], min_score: float) -> float:
        """Return the share of the image that the boxes above a score cover together: q of DFMSD, Eq. 4.

        The paper sums their areas, and reasons by the area of their regions. A detector gives many objects several
        boxes, of other classes or looser ones, which a sum would count several times.

        Args:
            image: its digest.
            size: (height, width) of the original image, pixels.
            min_score: lowest score of a box that counts.

        Returns:
            0..1; 0 for an image without boxes.

        Raises:
            DataError: the teacher was not run on this image.
        """
        if image not in self._places:
            rule = "an image has changed since they were made: the same command, started again, makes what is missing"
            raise DataError(f"{self.file}: has no boxes of the image of SHA-256 {image}; {rule}")
        boxes = self._boxes[self._places[image]]  # [n, 5]
        return covered_share(boxes[boxes[:, 4] >= min_score, :4], size)

    def __contains__(self, image: str) -> bool:
        return image in self._places

    @staticmethod
    def write(file: Path, boxes: Mapping[str, NDArray[np.float32]]) -> None:
        """Write boxes by digest of the image, each [n, 5]: corners in pixels of the original image, and the score."""
        rows = [np.asarray(found, dtype=np.float32).reshape(-1, 5) for found in boxes.values()]
        names = np.frombuffer(b"".join(map(bytes.fromhex, boxes)), np.uint8).reshape(-1, DIGEST_BYTES)
        counts = np.array([len(found) for found in rows], dtype=np.int64)
        joined = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
        write_whole(file, lambda stream: np.savez(stream, images=names, counts=counts, boxes=joined))


def boxes_by_id(file: Path) -> dict[int, NDArray[np.float32]]:
    """Return the boxes of a file from before images were named by content, by the ids of the export it was made from.

    Raises:
        DataError: it is no such file.
    """
    ids, counts, boxes = _arrays(file, "ids")
    return {image: boxes[place] for image, place in _places(ids.tolist(), counts).items()}


def _arrays(file: Path, names: str) -> tuple[Any, Any, Any]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return content[names], content["counts"], content["boxes"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{file}: must hold the boxes of a teacher, as ikd writes them: {error}") from error


def _places(names: Sequence[Name], counts: Any) -> dict[Name, slice]:
    ends = np.cumsum(counts)
    pairs = zip(names, (ends - counts).tolist(), ends.tolist(), strict=True)
    return {name: slice(first, last) for name, first, last in pairs}
