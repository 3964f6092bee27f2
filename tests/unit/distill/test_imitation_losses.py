"""The losses on chosen cells and instances, against the authors' values and against plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from ikd.distill import Anchors, build_loss
from ikd.distill.functional import Targets, foreground_mask
from ikd.distill.losses.imitation.defeat import level_of
from ikd.distill.losses.imitation.fgfi import ATSS_ANCHOR, near_objects
from ikd.distill.losses.imitation.frs import richness_of
from ikd.distill.losses.imitation.masked import mean_over_cells
from ikd.distill.losses.imitation.rkd import angle_loss, distance_loss, embeddings
from tests.unit.distill.maps import EMPTY, TARGETS, boxes, make_identity, maps


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


class TestDeFeat:
    def test_boxes_belong_to_the_level_of_their_side(self) -> None:
        """Sides of 20, 112, 224, 448 and 4000 px, and what only some levels being distilled does."""
        sides = torch.tensor([20.0, 111, 112, 224, 448, 4000])
        rows = torch.stack([0 * sides, 0 * sides, sides, sides], dim=1)
        assert level_of(rows, (0, 1, 2, 3)).tolist() == [0, 0, 1, 2, 3, 3]
        assert level_of(rows, (0, 1)).tolist() == [0, 0, 1, 1, 1, 1]
        assert level_of(rows, (1, 2)).tolist() == [1, 1, 1, 2, 2, 2]

    def test_a_level_without_boxes_is_all_background(self) -> None:
        weights = {"w_object": 1.0, "w_background": 1.0}
        found = {}
        for targets in (TARGETS, EMPTY):
            torch.manual_seed(0)
            loss = build_loss("defeat", 4, 4, level=1, levels=(0, 1), **weights)
            found[id(targets)] = loss(*maps(), targets).item()
        assert len(set(found.values())) == 1, "the boxes are on the finer level"
        torch.manual_seed(0)
        alone = build_loss("defeat", 4, 4, level=0, levels=(0,), **weights)(*maps(), EMPTY).item()
        assert alone == pytest.approx(2 * found[id(EMPTY)]), "the mean of two levels"


class TestRKD:
    def test_distances_and_angles_equal_the_authors_code(self) -> None:
        student, teacher = (side[:, :, :, 0].reshape(8, 6)[:5] for side in maps())
        assert distance_loss(student, teacher).item() == pytest.approx(0.01879037304, rel=1e-9)
        assert angle_loss(student, teacher).item() == pytest.approx(0.05307116838, rel=1e-9)

    def test_embeddings_are_means_over_the_cells_of_a_box(self) -> None:
        """At a stride of 8 px: columns 1..5 and rows 1..4, 2..4 and 1..3, the whole map; one box lies outside."""
        rows = [[*(TARGETS.boxes[0].tolist()), [900.0, 900, 950, 950]], TARGETS.boxes[1].tolist()]
        features, _ = maps()
        expected = [features[0, :, 1:5, 1:6], features[0, :, 1:4, 2:5], features[1]]
        found = embeddings(features, boxes(*rows))
        assert torch.allclose(found, torch.stack([part.mean(dim=(1, 2)) for part in expected]))

    @pytest.mark.parametrize(
        "rows",
        [[[], []], [[[8.0, 8, 40, 32]], []], [[[8.0, 8, 40, 32]], [[0.0, 0, 20, 20]]]],
        ids=["none", "one", "two"],
    )
    def test_fewer_than_three_objects_have_no_relation(self, rows: list[list[list[float]]]) -> None:
        student, teacher = maps()
        loss = build_loss("rkd", 4, 4)(student.requires_grad_(), teacher, boxes(*rows))
        loss.backward()
        assert loss.item() == 0
        assert student.grad is not None
        assert not student.grad.any()

    def test_objects_at_one_place_are_no_division_by_zero(self) -> None:
        student, teacher = (side[:1].clone() for side in maps())
        twice = boxes([[8.0, 8, 40, 32]] * 3)
        loss = build_loss("rkd", 4, 4)(student.requires_grad_(), teacher, twice)
        loss.backward()
        assert loss.item() == 0
        assert student.grad is not None
        assert student.grad.isfinite().all()

    def test_more_objects_than_are_compared_are_drawn_from(self) -> None:
        many = boxes([[8.0 * column, 0, 8.0 * column + 8, 40] for column in range(7)], [])
        values = set()
        for seed in range(4):
            torch.manual_seed(seed)
            values.add(build_loss("rkd", 4, 4, most=3)(*maps(), many).item())
        assert len(values) > 1


class TestFRS:
    def test_class_scores_equal_the_published_value(self) -> None:
        student, teacher = maps()
        entropy = functional.binary_cross_entropy_with_logits(student, teacher.sigmoid(), reduction="none")
        assert mean_over_cells(entropy, richness_of(teacher)).item() == pytest.approx(3.582268537, rel=1e-9)

    def test_cells_count_as_much_as_they_are_told(self) -> None:
        """All the weight on one cell leaves its error alone, summed over channels."""
        student, teacher = maps()
        importance = torch.zeros(2, 6, 8)
        importance[1, 2, 3] = 0.7
        loss = build_loss("frs", 4, 4, w_feature=1.0)
        make_identity(loss)
        expected = (student - teacher)[1, :, 2, 3].square().sum()
        assert loss(student, teacher, replace(EMPTY, importance=importance)).item() == pytest.approx(expected.item())
        assert loss(student, teacher, replace(EMPTY, importance=0 * importance)).item() == 0


class TestPFI:
    def test_only_where_heads_disagree(self) -> None:
        """By hand: all the disagreement, of 0.6, on one of the 96 cells."""
        student, teacher = maps()
        importance = torch.zeros(2, 6, 8)
        importance[1, 2, 3] = 0.6
        error = (student - teacher)[1, :, 2, 3].square().mean().item()
        for squared, expected in ((False, 0.6 * error / 96), (True, (0.6 * error) ** 2 / 96)):
            loss = build_loss("rmpfi", 4, 4, w_imitation=1.0, squared=squared)
            assert loss(student, teacher, replace(EMPTY, importance=importance)).item() == pytest.approx(expected)
