"""What response terms cost beside mmdet's own loss of the same head: `python -m benchmarks.response`.

Outputs of both heads are there already, of random weights, 80 classes, 20 boxes an image: timed are the head's own
`loss_by_feat` with its assignment, and each term with the reading of both heads, forward and backward each, all in
turn, median of `--repeats`. Seconds are of the process, so that other load on the machine changes the ratios little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ikd.detectors import build_detector, detector_config
from ikd.distill.recording import recorded
from ikd.distill.response import TERMS
from ikd.distill.views.heads import ROWS, assignment, locations, strides_of

HEADS = {
    "RetinaNet": "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py",
    "FCOS": "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "GFL": "mmdet::gfl/gfl_r50_fpn_1x_coco.py",
    "ATSS": "mmdet::atss/atss_r50_fpn_1x_coco.py",
    "RTMDet": "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "YOLOX": "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py",
}
BOXES = 20


def seconds(work: Callable[[], torch.Tensor]) -> float:
    """Return the processor's seconds of a loss and its gradient."""
    began = time.process_time()
    torch.autograd.backward(work())
    return time.process_time() - began


def samples(batch: int, width: int, height: int) -> list[DetDataSample]:
    """Draw boxes of 16 px to a third of the image."""
    found = []
    for _ in range(batch):
        sides = torch.rand(BOXES, 2) * torch.tensor([width / 3, height / 3]) + 16
        corners = torch.rand(BOXES, 2) * (torch.tensor([float(width), float(height)]) - sides).clamp(min=0)
        sample = DetDataSample(metainfo={"img_shape": (height, width), "batch_input_shape": (height, width)})
        sample.set_metainfo({"pad_shape": (height, width)})
        boxes = torch.cat([corners, corners + sides], dim=1)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.randint(80, (BOXES,)))
        found.append(sample)
    return found


def measured(config: str, asked: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of the head's own loss, under `own`, and of each term that it can have."""
    made: list[Any] = [
        build_detector(detector_config(config, classes=[str(one) for one in range(80)])) for _ in range(2)
    ]
    student, teacher = (one.bbox_head.train() for one in made)
    widths = student.in_channels if isinstance(student.in_channels, int) else student.in_channels[0]
    strides = [int(one) for one in strides_of(student)]
    maps = [torch.randn(asked.batch, widths, -(-asked.height // one), -(-asked.width // one)) for one in strides]
    drawn = samples(asked.batch, asked.width, asked.height)
    truth, metas = [one.gt_instances for one in drawn], [one.metainfo for one in drawn]
    with torch.no_grad():
        ours = [[one.clone() for one in kind] for kind in student(tuple(maps))]
        theirs = [[one.clone() for one in kind] for kind in teacher(tuple(one.flip(3) for one in maps))]
    results = _results(student, ours, truth, metas)

    def leaves() -> Any:
        return [[one.clone().requires_grad_() for one in kind] for kind in ours]

    def own() -> torch.Tensor:
        losses = student.loss_by_feat(*leaves(), truth, metas)
        return torch.stack([torch.stack(one).sum() if isinstance(one, list) else one for one in losses.values()]).sum()

    def of(name: str) -> Callable[[], torch.Tensor]:
        def work() -> torch.Tensor:
            with torch.no_grad():
                there = locations(teacher, theirs)
            here = locations(student, leaves())
            known = assignment(student, results, asked.batch, [one.bboxes for one in truth])
            return torch.stack(list(TERMS[name]()(here, there, known).values())).sum()

        return work

    names = ["bckd", "logits", "dense_teacher", *(["ld"] if "GFL" in type(student).__name__ else [])]
    works = {"own": own} | {name: of(name) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(asked.repeats + 1):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return {name: statistics.median(found[1:]) for name, found in taken.items()}


def _results(head: Any, outputs: Any, truth: Any, metas: Any) -> list[Any]:
    """Return what the head's own loss calls for its targets give."""
    found: list[Any] = []
    with recorded(head, ROWS[type(head).__name__].targets, found):
        head.loss_by_feat(*outputs, truth, metas)
    return found


def main() -> None:
    """Print a row a head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1088, help="of the images, px")
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS))
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{asked.width}x{asked.height}, batch {asked.batch}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| head | own loss, ms | term, x own |\n|---|---:|---|")
    for name in asked.heads:
        found = measured(HEADS[name], asked)
        own = found.pop("own")
        ratios = ", ".join(f"{term} {taken / own:.2f}" for term, taken in found.items())
        print(f"| {name} | {1000 * own:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
