"""What a teacher sees in an image, which decides the masking enhancement of DFMSD."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ikd.augment.union import covered_share
from ikd.errors import DataError
from ikd.files import write_whole


class TeacherBoxes:
    """Boxes that a teacher found in the training images, in a file made once.

    Args:
        file: as written by `write`.

    Raises:
        DataError: the file is missing or none of ours.
    """

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        try:
            with np.load(self.file, allow_pickle=False) as content:
                ids, counts, self._boxes = content["ids"], content["counts"], content["boxes"]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{self.file}: must hold the boxes of a teacher, as ikd writes them: {error}") from error
        ends = np.cumsum(counts)
        places = zip(ids.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
        self._places = {image: slice(first, last) for image, first, last in places}

    def share(self, image_id: int, size: tuple[int, int], min_score: float) -> float:
        """Return the share of the image that the boxes above a score cover together: q of DFMSD, Eq. 4.

        The paper sums their areas, and reasons by the area of their regions. A detector gives many objects several
        boxes, of other classes or looser ones, which a sum would count several times.

        Args:
            image_id: the id in the annotation file.
            size: (height, width) of the original image, pixels.
            min_score: lowest score of a box that counts.

        Returns:
            0..1; 0 for an image without boxes.

        Raises:
            DataError: the teacher was not run on this image.
        """
        if image_id not in self._places:
            raise DataError(f"{self.file}: has no boxes of image {image_id}; it belongs to another data set")
        boxes = self._boxes[self._places[image_id]]  # [n, 5]
        return covered_share(boxes[boxes[:, 4] >= min_score, :4], size)

    @staticmethod
    def write(file: Path, boxes: Mapping[int, NDArray[np.float32]]) -> None:
        """Write boxes by image id, each [n, 5]: corners in pixels of the original image, and the score."""
        rows = [np.asarray(found, dtype=np.float32).reshape(-1, 5) for found in boxes.values()]
        ids = np.array(list(boxes), dtype=np.int64)
        counts = np.array([len(found) for found in rows], dtype=np.int64)
        joined = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
        write_whole(file, lambda stream: np.savez(stream, ids=ids, counts=counts, boxes=joined))
