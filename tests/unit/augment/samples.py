"""Samples and perturbations for the tests of the package."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.structures.bbox import HorizontalBoxes
from numpy.typing import NDArray


class Constant:
    """Perturbs every image by the same number of grey levels; remembers which ones it was asked for."""

    def __init__(self, value: int = 5, size: tuple[int, int] = (160, 160)) -> None:
        self.value, self.size = value, size
        self.asked: list[str] = []

    def read(self, image: str) -> NDArray[np.int8]:
        self.asked.append(image)
        return np.full((*self.size, 3), self.value, np.int8)


class Still(Constant):
    """No perturbation: the adversarial image must be the clean one."""

    def __init__(self, size: tuple[int, int] = (160, 160)) -> None:
        super().__init__(0, size)


@lru_cache
def image_file(number: int) -> Path:
    """Return a file that stands for an image; what is kept of that is found by the file's content."""
    path = Path(tempfile.mkdtemp(prefix="ikd-image-")) / f"{number}.png"
    path.write_text(f"image {number}")
    return path


def sample(
    boxes: list[list[float]], size: tuple[int, int] = (100, 120), *, number: int = 7, **more: Any
) -> dict[str, Any]:
    """Builds what LoadAnnotations hands on; pixels encode their own row, column and a constant."""
    rows, columns = np.indices(size)
    image = np.stack([rows, columns, np.full(size, 128)], axis=2).astype(np.uint8)
    return {
        "img": image,
        "img_id": number,
        "img_path": str(image_file(number)),
        "img_shape": size,
        "ori_shape": size,
        "gt_bboxes": HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        "gt_bboxes_labels": np.arange(len(boxes)),
        "gt_ignore_flags": np.zeros(len(boxes), bool),
        **more,
    }


SMALL, LARGE = [10.0, 10.0, 30.0, 30.0], [20.0, 20.0, 80.0, 90.0]
