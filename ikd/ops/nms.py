"""Greedy and soft non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ikd.ops.kernel import kernel, working

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# Boxes go through in blocks, best scores first, and what a block suppresses is never compared again. Each block meets
# the rest in chunks: 128 x 255 overlaps stay in the cache, and below the size from which torch uses several threads,
# whose meeting points cost far more than they save where trials share the cores.
BLOCK, CHUNK = 128, 255
# On an accelerator launches and waits are what costs: one block, and with it one wait, takes all that a detector ever
# has; its overlaps are 32 MiB of bits, made in chunks of 64 MiB.
BLOCK_GPU, CHUNK_GPU = 16384, 1024


@kernel
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep each box that no better kept box overlaps by more than the threshold.

    Args:
        boxes: xyxy, [N, 4].
        scores: [N].
        iou_threshold: a box goes when its IoU with a kept one is strictly above.
        offset: 0 or 1; a width is x2 - x1 + offset.

    Returns:
        Indices of the kept boxes, best score first, [K].
    """
    boxes = working(boxes)
    left = scores.sort(descending=True)[1]  # the very call of the compiled kernel, so that equal scores fall alike too
    threshold = float(np.float32(iou_threshold))  # the compiled kernel compares in float32
    size, chunk = (BLOCK, CHUNK) if boxes.device.type == "cpu" else (BLOCK_GPU, CHUNK_GPU)
    kept = []
    while left.numel():
        block, left = left[:size], left[size:]
        rows = [_packed(_iou(boxes[part], boxes[block], offset) > threshold) for part in torch.split(block, chunk)]
        survivors = torch.from_numpy(_greedy(torch.cat(rows).cpu().numpy()))
        block = block[survivors.to(block.device, non_blocking=True)]
        kept.append(block)
        if left.numel():
            overlapped = [
                (_iou(boxes[block], boxes[part], offset) > threshold).any(0) for part in torch.split(left, chunk)
            ]
            left = left[~torch.cat(overlapped)]
    return torch.cat(kept) if kept else left


@kernel
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes around those that greedy suppression keeps.

    Args:
        dets: xyxy and score, [N, 5].
        iou_threshold: a box joins the best kept one whose IoU with it is this or above.

    Returns:
        For each kept box, best score first, its index and those of the boxes that it suppressed, best score first.
    """
    boxes, left = working(dets)[:, :4], dets[:, 4].sort(descending=True)[1]
    threshold, groups = float(np.float32(iou_threshold)), []
    while left.numel():
        rest = left[1:]
        joins = _iou(boxes[left[:1]], boxes[rest], 0)[0] >= threshold
        groups.append([*left[:1].tolist(), *rest[joins].tolist()])
        left = rest[~joins]
    return groups


def _iou(first: Tensor, second: Tensor, offset: int) -> Tensor:
    """Return the IoU of all pairs of two sets of xyxy boxes [A, 4], [B, 4] -> [A, B]; NaN where both have no area."""
    left, top, right, bottom = first.T.contiguous().unsqueeze(2).unbind(0)  # [A, 1] each
    lefts, tops, rights, bottoms = second.T.contiguous().unsqueeze(1).unbind(0)  # [1, B] each
    width = (torch.minimum(right, rights) - torch.maximum(left, lefts)).add_(offset).clamp_(min=0)
    height = (torch.minimum(bottom, bottoms) - torch.maximum(top, tops)).add_(offset).clamp_(min=0)
    inter = width.mul_(height)
    area = (right - left + offset) * (bottom - top + offset)
    areas = (rights - lefts + offset) * (bottoms - tops + offset)
    return inter / (area + areas).sub_(inter)


def _packed(flags: Tensor) -> Tensor:
    """Pack bools, [A, B], into bytes, lowest bit first, [A, ceil(B / 8)]: an eighth to bring to the CPU."""
    bits = F.pad(flags, (0, -flags.shape[1] % 8)).view(torch.uint8).view(len(flags), -1, 8)
    packed = bits[..., 0].clone()
    for place in range(1, 8):
        packed |= bits[..., place] << place
    return packed


def _greedy(overlaps: Bytes) -> npt.NDArray[np.intp]:
    """Return which boxes of one block stay, given who overlaps whom, in order of score; packed bits of [B, B]."""
    gone = np.zeros(overlaps.shape[1], dtype=np.uint8)
    stay = []
    for i in range(len(overlaps)):
        if not gone[i >> 3] >> (i & 7) & 1:
            stay.append(i)
            gone |= overlaps[i]
    return np.array(stay, dtype=np.intp)


NAIVE, LINEAR, GAUSSIAN = 0, 1, 2
SCORE, AREA = 4, 5  # rows of the working table; 0..3 are xyxy


@kernel
def softnms(  # noqa: PLR0913 - mmcv's signature
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of boxes that better ones overlap (Bodla et al., Soft-NMS, eq. 3), drop those that fall too low.

    Args:
        boxes: xyxy, [N, 4].
        scores: [N].
        dets: written, [N, 5] on the CPU: the first K rows become xyxy and new score, best first.
        iou_threshold: naive and linear act from this IoU on, inclusive.
        sigma: width of the gaussian.
        min_score: boxes below go, except the very first.
        method: 0 naive (score becomes 0), 1 linear (times 1 - IoU), 2 gaussian (times exp(-IoU^2 / sigma)).
        offset: 0 or 1; a width is x2 - x1 + offset.

    Returns:
        Indices of the kept boxes in that order, [K] on the CPU.
    """
    given = torch.cat([working(boxes), working(scores).unsqueeze(1)], dim=1).T.cpu().numpy()  # [5, N]
    area = (given[2] - given[0] + offset) * (given[3] - given[1] + offset)
    table = np.concatenate([given, area[np.newaxis]])  # [6, N], boxes in columns
    index = np.arange(len(area))
    threshold, lowest = np.float32(iou_threshold), np.float32(min_score)
    done, end = 0, len(index)
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # two boxes without area have no IoU; NaN then means no overlap
        while done < end:
            best = done + _first_best(table[SCORE, done:end])
            table[:, [done, best]], index[[done, best]] = table[:, [best, done]], index[[best, done]]
            rest = table[:, done + 1 : end]
            rest[SCORE] *= _decay(_overlap(table[:, done], rest, offset), threshold, sigma, method)
            low = rest[SCORE] < lowest
            if low.any():
                order = _without_low(low)
                kept = done + 1 + len(order)
                table[:, done + 1 : kept], index[done + 1 : kept] = rest[:, order], index[done + 1 : end][order]
                end = kept
            done += 1
    dets[:end] = torch.from_numpy(table[:AREA, :end].T).to(dets)
    return torch.from_numpy(index[:end])


def _first_best(scores: Floats) -> int:
    """Return where a scan that moves on to every larger score ends: a NaN at the start stays, others are skipped."""
    best = int(scores.argmax())  # stops at the first NaN
    return int(np.nanargmax(scores)) if best and np.isnan(scores[best]) else best


def _overlap(box: Floats, others: Floats, offset: int) -> Floats:
    """Return the IoU of one column of the working table with others, [6], [6, M] -> [M]."""
    width = np.minimum(box[2], others[2]) - np.maximum(box[0], others[0]) + offset
    height = np.minimum(box[3], others[3]) - np.maximum(box[1], others[1]) + offset
    inter = np.maximum(width, 0) * np.maximum(height, 0)
    return inter / (box[AREA] + others[AREA] - inter)


def _decay(overlap: Floats, iou_threshold: np.float32, sigma: float, method: int) -> Floats:
    """Return the factor of each score."""
    if method == GAUSSIAN:
        return np.exp(-(overlap * overlap) / overlap.dtype.type(sigma))
    lowered = 1 - overlap if method == LINEAR else np.zeros_like(overlap)
    return np.where(overlap >= iou_threshold, lowered, 1).astype(overlap.dtype, copy=False)


def _without_low(low: Mask) -> npt.NDArray[np.intp]:
    """Return the order of the survivors when each hole is filled from the far end, as the compiled kernel does.

    It decides which of two equal scores is taken first later on.
    """
    order = np.arange(len(low))
    num_good = len(low) - int(low.sum())
    holes, movers = low[:num_good], ~low[num_good:]
    order[:num_good][holes] = order[num_good:][movers][::-1]
    return order[:num_good]
