"""ICD's decoder: what it is asked, what it learns, and what it tells of the teacher's maps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ikd.distill import Targets
from ikd.distill.conditional import InstanceDecoder, draw_queries
from ikd.distill.conditional.queries import described
from ikd.errors import BadInput

BOXES = [torch.tensor([[8.0, 8, 40, 32], [20, 10, 30, 20]]), torch.zeros(0, 4), torch.tensor([[0.0, 0, 63, 47]])]
LABELS = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.long), torch.tensor([1])]
TARGETS = Targets(BOXES, LABELS, (48, 64))
NOTHING = Targets([torch.zeros(0, 4)] * 3, [torch.zeros(0, dtype=torch.long)] * 3, (48, 64))
SETTINGS = {"fakes": 2.0, "most": 10, "jitter": 0.3}


def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 8, *size, generator=generator) for size in ((6, 8), (3, 4))]


def decoder(**changes: float) -> InstanceDecoder:
    torch.manual_seed(0)
    settings = {"dims": 16, "heads": 2, **SETTINGS, **changes}
    return InstanceDecoder([8, 8], 3, **settings)  # type: ignore[arg-type]


class TestQueries:
    def test_objects_come_first_and_made_up_ones_fill_up(self) -> None:
        """2, 0 and 1 objects: 6, 1 and 3 queries."""
        queries = draw_queries(TARGETS, 3, **SETTINGS)  # type: ignore[arg-type]
        assert queries.real.sum(dim=1).tolist() == [2, 0, 1]
        assert queries.asked.sum(dim=1).tolist() == [6, 1, 3]
        assert queries.labels[0, :2].tolist() == [2, 0]
        size = torch.tensor([64.0, 48, 64, 48])
        torch.testing.assert_close(queries.corners[0, :2] * size, BOXES[0])
        torch.testing.assert_close(queries.corners[2, :1] * size, BOXES[2])
        assert queries.labels.max() < 3
        made_up = queries.corners[~queries.real]
        assert ((made_up >= 0) & (made_up <= 1)).all()
        assert (made_up[:, 2:] > made_up[:, :2]).all()

    @pytest.mark.parametrize(("most", "expected"), [(3, [3, 1, 3]), (1, [2, 1, 1])])
    def test_no_more_than_most_but_every_object(self, most: int, expected: list[int]) -> None:
        queries = draw_queries(TARGETS, 3, fakes=5.0, most=most, jitter=0.3)
        assert queries.asked.sum(dim=1).tolist() == expected
        assert queries.real.sum(dim=1).tolist() == [2, 0, 1]

    def test_places_are_off_the_centre_by_a_share_of_the_sides(self) -> None:
        for jitter in (0.0, 0.3):
            off = []
            for _ in range(50):
                queries = draw_queries(TARGETS, 3, fakes=2.0, most=10, jitter=jitter)
                sides = queries.corners[..., 2:] - queries.corners[..., :2]
                centre = (queries.corners[..., :2] + queries.corners[..., 2:]) / 2
                off.append(((queries.places - centre) / sides)[queries.asked])
            largest = torch.cat(off).abs().max().item()
            assert largest == pytest.approx(jitter, abs=0.02)
            assert largest <= jitter + 1e-4

    def test_a_description_says_class_place_and_scale(self) -> None:
        """Sides of 32 and 24 px are of the smallest of five scales; 63 too, and 200 of the third."""
        queries = draw_queries(TARGETS, 3, fakes=0.0, most=10, jitter=0.0)
        found = described(queries, 3, (48, 64))
        assert found.shape[2] == 3 + 256 + 10
        assert found[0, 0, :3].tolist() == [0, 0, 1]
        place = 24 / 64
        assert found[0, 0, 3].item() == pytest.approx(math.sin(2 * math.pi * place), abs=1e-5)
        assert found[0, 0, 3 + 64].item() == pytest.approx(math.cos(2 * math.pi * place), abs=1e-5)
        assert found[0, 0, -10:].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
        wide = described(queries, 3, (48, 400))
        assert wide[0, 0, -10:].tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0, 0]


class TestDecoder:
    def test_attention_is_shared_out_over_all_levels(self) -> None:
        """1 for each head of an image with objects, 0 for the one without."""
        _, told = decoder()(maps(), TARGETS)
        assert [tuple(one.shares.shape) for one in told] == [(3, 2, 6, 8), (3, 2, 3, 4)]
        assert [tuple(one.values.shape) for one in told] == [(3, 16, 6, 8), (3, 16, 3, 4)]
        whole = torch.stack([one.shares.sum(dim=(2, 3)) for one in told]).sum(dim=0)
        torch.testing.assert_close(whole, torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
        assert not any(one.shares.requires_grad or one.values.requires_grad for one in told)

    def test_it_equals_torchs_own_attention(self) -> None:
        """Values, and shares of one object, are those of `nn.MultiheadAttention` with the same weights."""
        ours, features = decoder(fakes=0.0, jitter=0.0), maps()
        _, told = ours(features, TARGETS)
        own = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in features], dim=1)
        with torch.no_grad():
            positions = torch.cat([ours._positions(level) for level in features])
            keys, values = ours.key(cells) + ours.position(positions), ours.value(cells)
            queries = draw_queries(TARGETS, 3, fakes=0.0, most=10, jitter=0.0)
            asked = ours.query(ours.describe(described(queries, 3, (48, 64))))
            own.in_proj_weight.copy_(torch.eye(16).repeat(3, 1))
            own.in_proj_bias.zero_()
            _, weights = own(asked, keys, values, average_attn_weights=False)
        expected = weights[2, :, 0]  # the one object of the third image
        found = torch.cat([one.shares[2].flatten(1) for one in told], dim=1)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.cat([one.values.flatten(2) for one in told], dim=2), values.transpose(1, 2))

    def test_losses_by_hand(self) -> None:
        """Logits of 0 and distances of 1/2 of the image, around a centre that is not moved."""
        ours = decoder(fakes=0.0, jitter=0.0)
        last: Any = ours.predict[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        losses, _ = ours(maps(), TARGETS)
        assert losses["icd_real"].item() == pytest.approx(math.log(2))
        rows = torch.cat([BOXES[0], BOXES[2]]) / torch.tensor([64.0, 48, 64, 48])
        sides = rows[:, 2:] - rows[:, :2]
        expected = (2 * ((0.5 - sides / 2).abs() / sides).sum(dim=1)).mean()
        assert losses["icd_box"].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_gradients_stay_in_it(self) -> None:
        ours, features = decoder(), [level.requires_grad_() for level in maps()]
        losses, _ = ours(features, TARGETS)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert all(one.grad is not None and one.grad.isfinite().all() for one in ours.parameters())
        assert all(level.grad is None for level in features)

    def test_without_objects_it_stays_finite(self) -> None:
        losses, told = decoder()(maps(), NOTHING)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert losses["icd_box"].item() == 0
        assert losses["icd_real"].item() > 0
        assert not any(one.shares.any() for one in told)

    def test_half_precision_agrees(self) -> None:
        exact, _ = decoder(fakes=0.0, jitter=0.0)(maps(), TARGETS)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, _ = decoder(fakes=0.0, jitter=0.0)([level.bfloat16() for level in maps()], TARGETS)
        for name, value in mixed.items():
            assert value.dtype == torch.float32
            assert value.item() == pytest.approx(exact[name].item(), rel=0.02)

    def test_it_learns(self) -> None:
        """Maps that show the objects: what is real is told from what is made up."""
        features = [torch.zeros_like(level) for level in maps()]
        features[0][0, :, 1:4, 1:5] = 1
        features[0][2] = 1
        ours = decoder(fakes=5.0)
        optimizer = torch.optim.AdamW(ours.parameters(), 3e-3)
        values = []
        for _ in range(150):
            losses, _ = ours(features, TARGETS)
            total = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            values.append(total.item())
        assert sum(values[-20:]) < 0.5 * sum(values[:20])

    def test_levels_of_unequal_channels_are_refused(self) -> None:
        with pytest.raises(BadInput, match=r"distill\.host icd: must have a teacher whose levels have equal channels"):
            InstanceDecoder([8, 16], 3, dims=16, heads=2, fakes=5.0, most=10, jitter=0.3)
