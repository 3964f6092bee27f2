"""The losses on chosen cells and instances, against the authors' values and against plain loops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ikd.distill import Anchors, build_loss
from ikd.distill.functional import Targets, foreground_mask
from ikd.distill.losses.imitation.fgfi import ATSS_ANCHOR, near_objects
from ikd.distill.losses.imitation.masked import mean_over_cells
from tests.unit.distill.maps import EMPTY, TARGETS, boxes, maps


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


RATIOS = Anchors(torch.tensor([[-16.0, -8, 16, 8], [-8, -16, 8, 16], [-12, -12, 12, 12]]), 8.0)


def overlap(one: list[float], other: list[float]) -> float:
    sides = [max(0.0, min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])) for axis in (0, 1)]
    common = sides[0] * sides[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def looped(targets: Targets, size: tuple[int, int], anchors: Anchors, psi: float) -> torch.Tensor:
    """Choose cells as the equation stands: object by object, cell by cell, anchor by anchor."""
    mask = torch.zeros(len(targets.boxes), *size, dtype=torch.bool)
    for image, rows in enumerate(targets.boxes):
        for box in rows.tolist():
            found = {
                (row, column): max(
                    overlap([value + shift for value, shift in zip(base, (x, y, x, y), strict=True)], box)
                    for base in anchors.base.tolist()
                )
                for row, y in enumerate(range(0, 8 * size[0], 8))
                for column, x in enumerate(range(0, 8 * size[1], 8))
            }
            best = max(found.values())
            for cell, value in found.items():
                mask[(image, *cell)] |= best > 0 and value > psi * best
    return mask


class TestFGFI:
    @pytest.mark.parametrize("psi", [0.0, 0.2, 0.5, 0.9, 1.0])
    @pytest.mark.parametrize("anchors", [ATSS_ANCHOR, RATIOS], ids=["one square", "three shapes"])
    def test_cells_are_those_of_the_equation(self, anchors: Anchors, psi: float) -> None:
        found = near_objects(TARGETS, (6, 8), anchors, psi)
        assert torch.equal(found, looped(TARGETS, (6, 8), anchors, psi))
        assert bool(found.any()) == (psi < 1)

    def test_on_the_cells_of_the_boxes_it_equals_the_published_value(self) -> None:
        student, teacher = maps()
        chosen = (foreground_mask(TARGETS, (6, 8)) > 0).to(student.dtype)
        assert mean_over_cells((student - teacher).square(), chosen).item() / 2 == pytest.approx(6.990758773, rel=1e-9)

    def test_a_box_that_no_anchor_overlaps_chooses_nothing(self) -> None:
        """Its best overlap is 0, and so would be the threshold."""
        far = boxes([[200.0, 200, 220, 220]], [])
        assert not near_objects(far, (6, 8), RATIOS, 0.5).any()
        assert build_loss("fgfi", 4, 4)(*maps(), far).item() == 0

    def test_the_mean_counts_channels_too(self) -> None:
        values = []
        for reduction in ("published", "mean"):
            torch.manual_seed(0)
            values.append(build_loss("fgfi", 4, 4, reduction=reduction)(*maps(), TARGETS).item())
        assert values[0] == pytest.approx(4 * values[1])
        assert build_loss("fgfi", 4, 4)(*maps(), EMPTY).item() == 0
