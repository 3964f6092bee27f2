"""How much space perturbations take, from the sizes of the images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ikd.data import Perturbed, perturbed
from ikd.data.network_size import BYTES_A_VALUE
from ikd.errors import DataError


def written(tmp_path: Path, *sizes: object) -> Path:
    path = tmp_path / "train.json"
    images = [{"id": number, "file_name": "x", **size} for number, size in enumerate(sizes) if isinstance(size, dict)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return path


def test_sizes_are_those_that_the_network_sees(tmp_path: Path) -> None:
    from mmcv.image import rescale_size

    sizes = [(640, 480), (480, 640), (333, 500), (1000, 10)]
    path = written(tmp_path, *({"width": width, "height": height} for width, height in sizes))
    seen = [rescale_size(size, (1333, 800)) for size in sizes]
    pixels = sum(width * height for width, height in seen)
    assert perturbed(path, (1333, 800), True) == Perturbed(4, pixels)
    assert perturbed(path, (100, 50), False) == Perturbed(4, 4 * 5000)
    assert perturbed(path, (100, 50), False).bytes == round(4 * 5000 * 3 * BYTES_A_VALUE)


def test_images_without_a_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images\[0\]\.height: must be a whole number of pixels above 0"):
        perturbed(written(tmp_path, {"width": 3}), (100, 50), True)
