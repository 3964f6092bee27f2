"""The losses on chosen cells and instances, against the authors' values and against plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from ikd.distill import Anchors, build_loss
from ikd.distill.functional import Attended, Targets, foreground_mask
from ikd.distill.losses.imitation.defeat import level_of
from ikd.distill.losses.imitation.fgfi import ATSS_ANCHOR, near_objects
from ikd.distill.losses.imitation.frs import richness_of
from ikd.distill.losses.imitation.gid import fitting_level, instance_features
from ikd.distill.losses.imitation.masked import mean_over_cells
from ikd.distill.losses.imitation.rkd import angle_loss, distance_loss, embeddings
from ikd.errors import BadInput
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


def pooled_by_loops(level: torch.Tensor, box: list[float]) -> torch.Tensor:
    """Pool a map [C, H, W] of stride 8 to 10x10 cells, each the mean of 2x2 points between four cells of the map."""
    _, height, width = level.shape
    found = torch.zeros(level.shape[0], 10, 10)
    for row, column in itertools.product(range(20), range(20)):
        y = (box[1] + (box[3] - box[1]) * (row + 0.5) / 20) / 8 - 0.5
        x = (box[0] + (box[2] - box[0]) * (column + 0.5) / 20) / 8 - 0.5
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        for near_y, near_x in itertools.product((int(y), int(y) + 1), (int(x), int(x) + 1)):
            part = max(0.0, 1 - abs(y - near_y)) * max(0.0, 1 - abs(x - near_x))
            if part:
                found[:, row // 2, column // 2] += level[:, near_y, near_x] * part / 4
    return found


class TestGID:
    def test_equals_the_equations_written_out(self) -> None:
        rows = [(image, box) for image, own in enumerate(TARGETS.boxes) for box in own.tolist()]
        ours, theirs = (torch.stack([pooled_by_loops(side[image], box) for image, box in rows]) for side in maps())
        apart = [
            torch.tensor(
                [[math.dist(one.flatten().tolist(), other.flatten().tolist()) for other in side] for one in side]
            )
            for side in (ours, theirs)
        ]
        relative = [distances / distances[distances > 0].mean() for distances in apart]
        difference = (relative[0] - relative[1]).abs()
        relation = torch.where(difference < 1, difference.square() / 2, difference - 0.5).mean()
        features = sum(
            math.dist(one.flatten().tolist(), other.flatten().tolist()) for one, other in zip(ours, theirs, strict=True)
        )
        loss = build_loss("gid", 4, 4, w_feature=1.0, w_relation=1.0)
        make_identity(loss)
        assert loss(*maps(), TARGETS).item() == pytest.approx(features / 3 + relation.item(), rel=1e-9)
        alone = boxes(*[[rows] for rows in (TARGETS.boxes[0][0].tolist(), TARGETS.boxes[1][0].tolist())])
        two = sum(math.dist(ours[one].flatten().tolist(), theirs[one].flatten().tolist()) for one in (0, 2)) / 2
        assert loss(*maps(), alone).item() == pytest.approx(two), "of two instances the one distance is its own mean"

    def test_the_mean_is_a_root_mean_square(self) -> None:
        values = []
        for reduction in ("published", "mean"):
            loss = build_loss("gid", 4, 4, w_feature=1.0, w_relation=0.0, reduction=reduction)
            make_identity(loss)
            values.append(loss(*maps(), TARGETS).item())
        assert values[0] == pytest.approx(values[1] * math.sqrt(4 * 10 * 10))

    def test_instances_go_to_the_level_that_fits_them(self) -> None:
        """Sides of 20, 112, 224, 448 and 4000 px: stride 16 is that of 224 px."""
        sides = torch.tensor([20.0, 111, 112, 224, 448, 4000])
        rows = torch.stack([0 * sides, 0 * sides, sides, sides], dim=1)
        assert fitting_level(rows, [4.0, 8, 16, 32]).tolist() == [0, 0, 1, 2, 3, 3]
        assert fitting_level(rows, [8.0, 16, 32, 64, 128]).tolist() == [0, 0, 0, 1, 2, 4]
        assert fitting_level(rows, [8.0, 32]).tolist()[-1] == 1

    def test_each_level_serves_its_own_instances(self) -> None:
        """Levels of stride 8 and 16: the large box is pooled from the coarser, whatever the finer holds."""
        targets = Targets([torch.tensor([[0.0, 0, 20, 20], [0.0, 0, 230, 230]])], [torch.zeros(2).long()], (256, 256))
        fine, coarse = torch.randn(1, 4, 32, 32), torch.randn(1, 4, 16, 16)
        small, large = instance_features([fine, coarse], targets)
        other = instance_features([0 * fine, coarse], targets)
        assert not other[0].any()
        assert torch.equal(other[1], large)
        assert torch.equal(instance_features([fine, 0 * coarse], targets)[0], small)

    def test_it_pools_as_mmcv_does(self) -> None:
        from ikd.ops import install

        install()
        from mmcv.ops import roi_align

        student, _ = maps()
        rows = torch.cat([torch.tensor([[0.0], [0.0], [1.0]]), torch.cat(list(TARGETS.boxes))], dim=1)
        expected = roi_align(student, rows, 10, 1 / 8, 2, "avg", True)
        torch.testing.assert_close(instance_features([student], TARGETS), expected)


class TestICD:
    def test_equals_the_equation_written_out(self) -> None:
        """Two heads of two numbers, each normalised; attention drawn, no attention at all in the second image."""
        student, teacher = maps()
        shares = torch.rand(2, 2, 6, 8)
        shares[1] = 0
        loss = build_loss("icd", 4, 4, dims=4, heads=2, weight=3.0)
        make_identity(loss)
        expected = 0.0
        for head, row, column in itertools.product(range(2), range(6), range(8)):
            sides = [side[0, 2 * head : 2 * head + 2, row, column] for side in (student, teacher)]
            ours, theirs = ((one - one.mean()) / (one.var(correction=0) + 1e-5).sqrt() for one in sides)
            expected += (shares[0, head, row, column] * (ours - theirs).square().mean()).item()
        told = replace(EMPTY, attended=Attended(teacher, shares))
        assert loss(student, teacher, told).item() == pytest.approx(3 * expected / (2 * 2), rel=1e-9)

    def test_where_no_decoder_looks_it_is_the_boxes(self) -> None:
        loss = build_loss("icd", 4, 4, dims=4, heads=2, weight=1.0)
        make_identity(loss)
        inside = (foreground_mask(TARGETS, (6, 8)) > 0).double()
        shares = (inside / inside.sum(dim=(1, 2), keepdim=True))[:, None].expand(-1, 2, -1, -1)
        told = replace(TARGETS, attended=Attended(maps()[1], shares))
        assert loss(*maps(), TARGETS).item() == pytest.approx(loss(*maps(), told).item())

    @pytest.mark.parametrize(("dims", "heads"), [(8, 3), (8, 8), (4, 16)])
    def test_heads_that_do_not_divide_the_width_are_refused(self, dims: int, heads: int) -> None:
        with pytest.raises(
            BadInput, match=rf"^loss icd: heads: must be a divisor of dims \({dims}\), .*, but got {heads}$"
        ):
            build_loss("icd", 4, 4, dims=dims, heads=heads)


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
