"""The area that boxes cover together, against counted pixels and by hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ikd.augment import TeacherBoxes, union_area

SEEN, EMPTY = "7" * 64, "8" * 64


def painted(boxes: NDArray[np.int64], size: int = 90) -> int:
    canvas = np.zeros((size, size), bool)
    for x1, y1, x2, y2 in boxes:
        canvas[y1:y2, x1:x2] = True
    return int(canvas.sum())


@pytest.mark.parametrize("count", [0, 1, 2, 7, 30, 100])
def test_it_is_the_number_of_painted_pixels(count: int) -> None:
    random = np.random.RandomState(count)
    for longest in (1, 8, 60):
        firsts = random.randint(0, 30, (count, 2))
        boxes = np.concatenate([firsts, firsts + random.randint(0, longest, (count, 2))], axis=1)
        assert union_area(boxes) == painted(boxes)


@pytest.mark.parametrize(
    ("boxes", "area"),
    [
        ([], 0.0),
        ([[0, 0, 2, 3]], 6.0),
        ([[0, 0, 2, 3]] * 5, 6.0),  # duplicates count once
        ([[0, 0, 2, 2], [1, 1, 3, 3]], 7.0),
        ([[0, 0, 1, 1], [1, 0, 2, 1]], 2.0),  # they touch
        ([[0, 0, 4, 4], [1, 1, 2, 2]], 16.0),  # one in the other
        ([[0.25, 0.5, 0.75, 0.5 + 1e-9]], 0.5e-9),
        ([[3, 0, 1, 5], [0, 2, 9, 2]], 0.0),  # turned round, or flat
    ],
)
def test_by_hand(boxes: list[list[float]], area: float) -> None:
    assert union_area(boxes) == pytest.approx(area, rel=1e-6, abs=1e-15)


def test_it_does_not_depend_on_order_place_and_axis() -> None:
    random = np.random.RandomState(1)
    boxes = random.rand(40, 4)
    boxes[:, 2:] = boxes[:, :2] + 0.3 * random.rand(40, 2)
    area = union_area(boxes)
    for other in (boxes[::-1], boxes + 7.0, boxes[:, [1, 0, 3, 2]]):
        assert union_area(other) == pytest.approx(area)
    assert union_area(boxes[:20]) <= area <= union_area(boxes[:20]) + union_area(boxes[20:])


def test_a_hundred_boxes_take_well_below_ten_milliseconds() -> None:
    boxes = np.random.RandomState(0).rand(100, 4).cumsum(axis=1)
    fastest = min(timed(boxes) for _ in range(5))
    assert fastest < 0.01


def timed(boxes: NDArray[np.float64]) -> float:
    began = time.perf_counter()
    union_area(boxes)
    return time.perf_counter() - began


def test_a_teachers_share_counts_what_boxes_repeat_once_and_ends_at_the_image(tmp_path: Path) -> None:
    found = np.array(
        [[0, 0, 50, 40, 0.9], [0, 0, 50, 40, 0.4], [25, 0, 75, 40, 0.3], [-20, 60, 200, 90, 0.2]], np.float32
    )
    TeacherBoxes.write(tmp_path / "boxes.npz", {SEEN: found, EMPTY: np.zeros((0, 5), np.float32)})
    boxes = TeacherBoxes(tmp_path / "boxes.npz")
    size = (80, 100)  # 8000 px^2
    assert boxes.share(SEEN, size, 0.35) == pytest.approx(2000 / 8000)
    assert boxes.share(SEEN, size, 0.3) == pytest.approx(3000 / 8000)
    assert boxes.share(SEEN, size, 0.0) == pytest.approx((3000 + 2000) / 8000)
    assert boxes.share(EMPTY, size, 0.0) == 0
