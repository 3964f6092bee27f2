from __future__ import annotations

import math

import mmcv.ops
import pytest
import torch
from torch import Tensor

from ikd.ops import nms as _nms
from tests.assets.ops_cases import random_boxes

HALF = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])  # IoU 1/2


def scored(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return random_boxes(generator, count, 100), torch.rand(count, generator=generator)


def greedy_by_definition(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def iou(a: Tensor, b: Tensor) -> float:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.tolist(), b.tolist()
    inter = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    return inter / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter)


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, [1, 0]), (0.49, [1])])
def test_nms_suppresses_strictly_above_the_threshold(threshold: float, kept: list[int]) -> None:
    dets, index = mmcv.ops.nms(HALF, torch.tensor([0.3, 0.9]), threshold)
    assert index.tolist() == kept
    torch.testing.assert_close(dets[0], torch.tensor([0.0, 0.0, 1.0, 1.0, 0.9]))


def test_nms_offset_counts_widths_from_one() -> None:
    # with 1 added to every width and height the areas are 6 and 4, so IoU becomes 2/3
    assert len(mmcv.ops.nms(HALF, torch.tensor([0.3, 0.9]), 0.6, offset=0)[1]) == 2
    assert len(mmcv.ops.nms(HALF, torch.tensor([0.3, 0.9]), 0.6, offset=1)[1]) == 1


def test_nms_keeps_one_of_equal_boxes_with_equal_scores() -> None:
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3 + [[5.0, 5.0, 6.0, 6.0]] * 3)
    first, second = sorted(mmcv.ops.nms(boxes, torch.full((6,), 0.5), 0.5)[1].tolist())
    assert first in (0, 1, 2)
    assert second in (3, 4, 5)


@pytest.mark.parametrize("count", [1, 50, 700])
def test_nms_is_the_greedy_definition(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, scores = scored(count)
    expected = greedy_by_definition(boxes, scores, 0.4)
    assert mmcv.ops.nms(boxes, scores, 0.4)[1].tolist() == expected
    monkeypatch.setattr(_nms, "BLOCK", 7)
    monkeypatch.setattr(_nms, "CHUNK", 11)
    assert mmcv.ops.nms(boxes, scores, 0.4)[1].tolist() == expected


def test_nms_of_survivors_keeps_all() -> None:
    boxes, scores = scored(300)
    index = mmcv.ops.nms(boxes, scores, 0.4)[1]
    assert mmcv.ops.nms(boxes[index], scores[index], 0.4)[1].tolist() == list(range(len(index)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_takes_any_precision(dtype: torch.dtype) -> None:
    dets, index = mmcv.ops.nms(HALF.to(dtype), torch.tensor([0.3, 0.9], dtype=dtype), 0.4)
    assert index.tolist() == [1]
    assert dets.dtype == dtype


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_scores_by_its_formula(method: str) -> None:
    dets, index = mmcv.ops.soft_nms(HALF, torch.tensor([0.9, 0.8]), 0.3, 0.7, 1e-3, method)
    factor = {"naive": 0.0, "linear": 0.5, "gaussian": math.exp(-0.25 / 0.7)}[method]
    assert index.tolist() == ([0] if method == "naive" else [0, 1])
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8 * factor][: len(index)])


def test_soft_nms_options_act() -> None:
    boxes, scores = scored(60)
    base = mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, "linear")
    assert len(mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.3, "linear")[1]) < len(base[1])
    assert not torch.equal(mmcv.ops.soft_nms(boxes, scores, 0.6, 0.5, 0.05, "linear")[0], base[0])
    assert not torch.equal(mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, "linear", offset=1)[0], base[0])
    narrow, wide = (mmcv.ops.soft_nms(boxes, scores, 0.3, sigma, 0.0, "gaussian")[0] for sigma in (0.1, 2.0))
    assert narrow[:, 4].sum() < wide[:, 4].sum()


def test_soft_nms_returns_scores_in_falling_order() -> None:
    boxes, scores = scored(80)
    dets, index = mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, "linear")
    assert (dets[:-1, 4] >= dets[1:, 4]).all()
    assert len(set(index.tolist())) == len(index)
    torch.testing.assert_close(dets[:, :4], boxes[index])


def test_batched_nms_separates_classes() -> None:
    boxes, scores = HALF.repeat(2, 1), torch.tensor([0.9, 0.8, 0.7, 0.6])
    config = {"type": "nms", "iou_threshold": 0.4}
    assert mmcv.ops.batched_nms(boxes, scores, torch.tensor([0, 0, 1, 1]), config)[1].tolist() == [0, 2]
    assert mmcv.ops.batched_nms(boxes, scores, torch.tensor([0, 0, 1, 1]), config, True)[1].tolist() == [0]


@pytest.mark.parametrize("kind", ["nms", "soft_nms"])
def test_nothing_in_nothing_out(kind: str) -> None:
    dets, index = getattr(mmcv.ops, kind)(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert index.shape == (0,)
    assert index.dtype == torch.int64
