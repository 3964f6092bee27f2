"""Time of every loss, forward and backward, beside a plain mean squared error on the same maps.

    python -m benchmarks.losses [--quick] [--threads 2] [--repeats 15]

The maps are P3..P7 of a padded 1088x800 input, 256 channels, batch 2, 20 boxes an image. FGD stands beside one that
loops over the boxes, the generative losses beside their own generators with nothing but a sum behind them, and FBKD
beside the matrix products that it cannot do without: its floor. That of a loss with an adapter is the adapter. ICD has
a row for the decoder that learns beside it, and GID one for choosing its instances among nine places a cell; both take
the boxes in their own. All take turns within each repetition, so that other load on the machine hits them alike; a
ratio is the median over repetitions.
`--quick` takes maps of a quarter of the side and fewer repetitions: it shows that the benchmark runs, not more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.config import LOSSES
from ikd.distill import Anchors, Targets, build_loss, of_pyramid, takes
from ikd.distill.conditional import InstanceDecoder
from ikd.distill.functional import attention
from ikd.distill.losses.imitation.gid import POOLED
from ikd.distill.response.instances import disputed

STRIDES = (8, 16, 32, 64, 128)
CLASSES, ANCHORS = 80, 9
Work = Callable[[], Tensor]


@dataclass(frozen=True)
class Pyramid:
    """Student and teacher maps by level, and boxes."""

    student: list[Tensor]
    teacher: list[Tensor]
    targets: Targets

    @classmethod
    def random(cls, height: int, width: int, channels: int, device: torch.device) -> Pyramid:
        """Draw maps and boxes of a padded input of height x width pixels."""
        generator = torch.Generator().manual_seed(0)
        sizes = [(2, channels, -(-height // stride), -(-width // stride)) for stride in STRIDES]
        student, teacher = ([torch.randn(size, generator=generator).to(device) for size in sizes] for _ in range(2))
        corner = torch.rand((2, 20, 2), generator=generator) * torch.tensor([0.75 * width, 0.75 * height])
        side = 8 + torch.rand((2, 20, 2), generator=generator) * height * 0.25
        boxes = torch.cat([corner, corner + side], dim=2).to(device)
        labels = torch.zeros((2, 20), dtype=torch.long)
        return cls(
            [level.requires_grad_() for level in student], teacher, Targets(list(boxes), list(labels), (height, width))
        )

    def sum_of(self, levels: list[Callable[[Tensor, Tensor, Targets], Tensor]]) -> Work:
        """Return the work that sums a loss over the levels."""
        return lambda: torch.stack(
            [loss(s, t, self.targets) for loss, s, t in zip(levels, self.student, self.teacher, strict=True)]
        ).sum()


class LoopedFGD(nn.Module):
    """FGD written down as its equations stand: a loop over images and boxes, one map after the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        fgd: Any = build_loss("fgd", channels, channels).loss
        self.fgd = fgd

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        spatial, channel = attention(teacher, self.fgd.temperature)
        own_spatial, own_channel = attention(student, self.fgd.temperature)
        foreground, background = self._masks(student, targets)
        root = spatial[:, None].sqrt() * channel[:, :, None, None].sqrt()
        masked = [
            ((student - teacher) * root * mask.sqrt()[:, None]).square().sum() for mask in (foreground, background)
        ]
        imitation = (own_spatial - spatial).abs().sum() + (own_channel - channel).abs().sum()
        relation = self._block(student, self.fgd.student_context) - self._block(teacher, self.fgd.teacher_context)
        weights = (self.fgd.alpha, self.fgd.beta, self.fgd.gamma, self.fgd.lambda_)
        terms = (*masked, imitation, relation.square().sum())
        return torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum() / len(student)

    @staticmethod
    def _masks(features: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        height, width = features.shape[2:]
        foreground = features.new_zeros((len(features), height, width))
        background = torch.ones_like(foreground)
        for image, boxes in enumerate(targets.boxes):
            for box in boxes:
                x1, x2 = (box[0::2] * width / targets.input_size[1]).tolist()
                y1, y2 = (box[1::2] * height / targets.input_size[0]).tolist()
                left, top, right, bottom = int(x1), int(y1), -int(-x2 // 1), -int(-y2 // 1)
                window = foreground[image, top : bottom + 1, left : right + 1]
                window.clamp_(min=1 / ((right - left + 1) * (bottom - top + 1)))
            background[image][foreground[image] > 0] = 0
            background[image] /= background[image].sum().clamp(min=1)
        return foreground, background

    @staticmethod
    def _block(features: Tensor, context: Any) -> Tensor:
        where = context.position(features).flatten(2).softmax(dim=2)
        pooled = torch.matmul(features.flatten(2), where.transpose(1, 2))[:, :, 0]
        change: Tensor = context(pooled)
        return features + change[:, :, None, None]


def generators(loss: nn.Module) -> list[nn.Sequential]:
    """Return the convolutions of a generative loss; none for the others."""
    return [module for module in loss.modules() if isinstance(module, nn.Sequential)]


def convolutions(levels: list[nn.Module]) -> list[Callable[[Tensor, Tensor, Targets], Tensor]]:
    """Return for each level the sum of what its generators give."""

    def of_level(loss: nn.Module) -> Callable[[Tensor, Tensor, Targets], Tensor]:
        return lambda student, _, __: torch.stack([generator(student).sum() for generator in generators(loss)]).sum()

    return [of_level(loss) for loss in levels]


def products(levels: list[Any]) -> list[Callable[[Tensor, Tensor, Targets], Tensor]]:
    """Return for each level of FBKD its matrix products alone, each block as the one matrix that it comes to."""

    def of_level(fbkd: Any) -> Callable[[Tensor, Tensor, Targets], Tensor]:
        adapter, relation = (one.weight.flatten(1) for one in (fbkd.feature_adapter, fbkd.relation_adapter))
        pooled = [
            torch.cat([block.key.weight, block.value.weight])
            for block in (fbkd.student_relation, fbkd.teacher_relation)
        ]
        up, down = (one.weight.flatten(1) for one in (fbkd.teacher_relation.out, fbkd.teacher_relation.query))

        def work(student: Tensor, teacher: Tensor, _: Targets) -> Tensor:
            ours, theirs = student.flatten(2), teacher.flatten(2)
            found = [adapter @ ours, relation @ ours, up @ (down @ theirs)]
            keys = [F.conv2d(one, weight) for one, weight in zip((student, teacher), pooled, strict=True)]
            return torch.stack([one.sum() for one in (*found, *keys)]).sum()

        return work

    return [of_level(level.loss) for level in levels]


def placed(level: int) -> dict[str, Any]:
    """Return what a loss may ask of where it stands: RetinaNet's nine anchors a cell, and every level distilled."""
    stride = float(STRIDES[level])
    sides = 4 * stride * 2 ** (torch.arange(3.0) / 3)
    shapes = torch.cat([torch.stack([sides / root, sides * root], dim=1) for root in (0.5**0.5, 1.0, 2**0.5)])
    anchors = Anchors(torch.cat([-shapes, shapes], dim=1) / 2, stride)
    return {"level": level, "levels": tuple(range(len(STRIDES))), "anchors": anchors}


def rows(pyramid: Pyramid, channels: int, device: torch.device) -> dict[str, tuple[Work, list[nn.Parameter]]]:
    """Return what is timed by name, with the parameters whose gradients it leaves."""
    torch.manual_seed(0)
    found: dict[str, tuple[Work, list[nn.Parameter]]] = {}

    def add(name: str, levels: list[Any]) -> None:
        modules = nn.ModuleList(level for level in levels if isinstance(level, nn.Module)).to(device)
        found[name] = (pyramid.sum_of(levels), list(modules.parameters()))

    add("mse", [lambda student, teacher, _: F.mse_loss(student, teacher)] * len(STRIDES))
    add("fgd, loop over boxes", [LoopedFGD(channels) for _ in STRIDES])
    for name in sorted(name for name, section in LOSSES.items() if section.reads_maps):
        by_level = [
            {key: value for key, value in placed(level).items() if takes(name, key)} for level in range(len(STRIDES))
        ]
        if of_pyramid(name):
            whole = build_loss(name, [channels] * len(STRIDES), [channels] * len(STRIDES)).to(device)
            found[name] = (partial(whole, pyramid.student, pyramid.teacher, pyramid.targets), list(whole.parameters()))
            found[f"{name}, floor"] = (adapting(whole.loss, pooled(pyramid, channels)), found[name][1])
            continue
        levels: list[Any] = [build_loss(name, channels, channels, **settings) for settings in by_level]
        add(name, levels)
        if hasattr(levels[0].loss, "imitator") or hasattr(levels[0].loss, "value"):
            parts = [adapting(level.loss, one) for level, one in zip(levels, pyramid.student, strict=True)]
            found[f"{name}, floor"] = (partial(summed, parts), found[name][1])
        if generators(levels[0]):
            found[f"{name}, floor"] = (pyramid.sum_of(convolutions(levels)), found[name][1])
        if name == "fbkd":
            found[f"{name}, floor"] = (pyramid.sum_of(products(levels)), found[name][1])
    return found | {"icd, its decoder": decoding(pyramid, channels, device), "gid, its instances": choosing(pyramid)}


def adapting(loss: Any, features: Tensor) -> Work:
    """Return the sum of what a loss's adapter makes of a map."""
    adapter = getattr(loss, "imitator", None) or loss.value
    return lambda: adapter(features).sum()


def summed(parts: list[Work]) -> Tensor:
    """Sum what several works give."""
    return torch.stack([work() for work in parts]).sum()


def pooled(pyramid: Pyramid, channels: int) -> Tensor:
    """Return as many features as GID pools for the boxes."""
    count = sum(len(boxes) for boxes in pyramid.targets.boxes)
    return pyramid.teacher[0].new_zeros(count, channels, POOLED, POOLED).requires_grad_()


def decoding(pyramid: Pyramid, channels: int, device: torch.device) -> tuple[Work, list[nn.Parameter]]:
    """Return the step of ICD's decoder, of 80 classes."""
    section = LOSSES["icd"]()
    settings = {name: getattr(section, name) for name in ("dims", "heads", "fakes", "most", "jitter")}
    decoder = InstanceDecoder([channels] * len(STRIDES), CLASSES, **settings).to(device)

    def work() -> Tensor:
        learnt, _ = decoder(pyramid.teacher, pyramid.targets)
        return torch.stack(list(learnt.values())).sum()

    return work, list(decoder.parameters())


def choosing(pyramid: Pyramid) -> tuple[Work, list[nn.Parameter]]:
    """Return the choice of GID's instances, which has no gradient: a sum of no weight stands in for one."""
    cells = sum(level[0, 0].numel() for level in pyramid.student)
    like, (height, width) = pyramid.student[-1], pyramid.targets.input_size
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand((2, ANCHORS * cells), generator=generator).to(like)
    corner = torch.rand((2, ANCHORS * cells, 2), generator=generator).to(like) * like.new_tensor([width, height])
    boxes = torch.cat([corner, corner + 8 + 64 * torch.rand((2, ANCHORS * cells, 2), generator=generator).to(like)], 2)
    section: Any = LOSSES["gid"]()

    def work() -> Tensor:
        chosen = disputed(scores, boxes, section.count, section.overlap)
        return like.sum() * 0 + torch.cat(chosen).sum()

    return work, []


def seconds(work: Work, leaves: list[Any], device: torch.device) -> float:
    """Time one forward and backward pass into fresh gradients."""
    for leaf in leaves:
        leaf.grad = None
    _wait(device)
    start = time.perf_counter()
    work().backward()  # type: ignore[no-untyped-call]
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def report(times: dict[str, list[float]]) -> Iterator[str]:
    """Yield the table: milliseconds, ratio to the MSE, and to the floor beside it."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    yield f"{'loss':<22}{'ms':>9}{'x MSE':>8}{'x floor':>16}"
    for name, middle in medians.items():
        floor = medians.get(f"{name}, floor")
        beside = "" if floor is None else f"{_ratio(times[name], times[f'{name}, floor']):16.2f}"
        yield f"{name:<22}{1e3 * middle:9.1f}{_ratio(times[name], times['mse']):8.1f}{beside}"


def _ratio(times: list[float], base: list[float]) -> float:
    """Return the median ratio of turns of the same repetition: a drift of the machine cancels."""
    return statistics.median(one / other for one, other in zip(times, base, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small maps and few repetitions")
    parser.add_argument("--repeats", type=int, default=None, help="default: 15, with --quick 3")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--only", nargs="*", help="names of losses; default: all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width, channels = (200, 272, 64) if options.quick else (800, 1088, 256)
    repeats = options.repeats or (3 if options.quick else 15)
    pyramid = Pyramid.random(height, width, channels, options.device)
    timed = rows(pyramid, channels, options.device)
    if options.only:
        kept = ("mse", *options.only)
        timed = {name: row for name, row in timed.items() if name.partition(",")[0] in kept}
    times: dict[str, list[float]] = {name: [] for name in timed}
    for repeat in range(repeats + 2):
        for name, (work, parameters) in timed.items():
            taken = seconds(work, [*pyramid.student, *parameters], options.device)
            if repeat >= 2:  # warm-up
                times[name].append(taken)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{width}x{height}, {channels} channels, batch 2, {options.threads} thread(s), torch {torch.__version__}")
    print(f"median of {repeats}; load of the machine {load}")
    print("\n".join(report(times)))


if __name__ == "__main__":
    main()
