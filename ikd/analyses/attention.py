"""Where teacher and student look: the attention of their features, compared and drawn over photographs."""

from __future__ import annotations

import contextlib
import heapq
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray

from ikd.analyses.finding import Finding, folder_for, shown, told, write_numbers
from ikd.analyses.pair import Pair
from ikd.data import indexed, on_disk
from ikd.detectors import SharedLevels, Taps, shared_levels
from ikd.errors import refuse
from ikd.pictures.detections import read_photograph
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.judged import Truths
from ikd.pictures.panel import Marks, fitted, panel
from ikd.pictures.style import LONGEST_FILE, STUDENT, TEACHER, TRUTH, drawing, plain
from ikd.training import val_loader
from ikd.trial import Notify, NotifyOf

COUNT = 3
"""Photographs that are shown."""
LEAST_CELLS = 4
"""Levels of fewer cells a side show no place, and are left out of what is drawn."""
SIDE = 380
_BLEND = 0.55
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Looked:
    """Where both look in one photograph.

    Attributes:
        similarity: [levels] cosine of the two attention maps of each level, 0..1.
        maps: attention of teacher and student over the photograph, [h, w] each of sum 1, h and w those of the finest
            level.
        on_objects: share of each one's attention that lies on annotated objects, teacher, student; then the share of
            the photograph that these take. NaN without an object.
    """

    similarity: Floats
    maps: tuple[Floats, Floats]
    on_objects: tuple[float, float, float]


def attention_map(features: torch.Tensor) -> Floats:
    """Return the attention A = sum over channels of X^2 of features [C, H, W], of norm 1: [H, W].

    The map of attention transfer (Zagoruyko and Komodakis, ICLR 2017) that NAD compares, and the task of IKD's Table 5
    with it; neither paper's figure of features says how it was drawn.
    """
    attention = features.double().square().sum(0)
    return np.asarray((attention / attention.norm().clamp_min(torch.finfo(attention.dtype).tiny)).cpu())


def analyze_heatmaps(pair: Pair, to: Path, *, count: int = COUNT, progress: NotifyOf | None = None) -> Finding:
    """Compare where teacher and student look in the validation part, and draw heat maps of it.

    The maps are those of `attention_map` at the convolutions of the neck, where distillation taps both, on the levels
    of equal stride; over a photograph the mean of those levels is drawn that have 4 cells a side or more. Shown are the
    photographs in which the two differ most.

    Args:
        pair: student and teacher.
        to: folder for heatmaps.png and heatmaps.json; made where it is not there.
        count: photographs that are drawn, 1 or more.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `similarity`, mean cosine by stride (`"8"`: 0.93), and `similarity_all`, 0..1; `on_objects`: mean
        share of the attention of `teacher` and `student` on annotated objects, and of the `area` of these, 0..1;
        `images`: names of the photographs that are drawn.

    Raises:
        BadInput: no photograph is to be drawn, the two share no level, or what `look` refuses.
    """
    if count < 1:
        refuse("--count", "must be 1 or more", count)
    folder = folder_for(to)
    teacher, student = pair.teacher(), pair.student()
    levels = shared_levels(student, teacher)
    tell = told(progress, "where teacher and student look")
    means, worst = _gathered(_looked(pair, teacher, student, levels), count, len(indexed(pair.files.val)), tell)
    names = [str(indexed(pair.files.val).image(place)["file_name"]) for place, _ in worst]
    picture, file = folder / "heatmaps.png", folder / "heatmaps.json"
    with drawing():
        _draw(picture, pair, worst, names)
    similarity = dict(zip(map(str, levels.strides), means.similarity.tolist(), strict=True))
    of_all = float(means.similarity.mean())
    shares = dict(zip(("teacher", "student", "area"), means.on_objects, strict=True))
    numbers = {"similarity": similarity, "similarity_all": of_all, "on_objects": shares, "images": names}
    content = write_numbers(file, "heatmaps", pair.about, numbers)
    rows = [
        *([f"similarity at stride {stride}", shown(one, 3)] for stride, one in similarity.items()),
        ["similarity, mean of the levels", shown(of_all, 3)],
        *([f"attention of the {who} on objects, %", shown(100 * shares[who])] for who in ("teacher", "student")),
        ["area of the objects, %", shown(100 * shares["area"])],
    ]
    title = f"attention: {plain(pair.name, 60)}"
    return Finding(title, ("mean over the validation part", "value"), rows, [], content, (picture, file))


@dataclass(frozen=True)
class Means:
    """Means of `Looked` over photographs; those of `on_objects` over the ones that hold objects."""

    similarity: Floats
    on_objects: tuple[float, float, float]


def _gathered(
    looks: Iterator[Looked], count: int, total: int, tell: Notify | None
) -> tuple[Means, list[tuple[int, Looked]]]:
    """Return the means, and place and maps of the photographs in which the two differ most, these first."""
    similarities, shares = list[Floats](), list[tuple[float, float, float]]()
    worst: list[tuple[float, int, Looked]] = []
    for place, looked in enumerate(looks):
        similarities.append(looked.similarity)
        shares += [] if np.isnan(looked.on_objects[0]) else [looked.on_objects]
        entry = (-float(looked.similarity.mean()), -place, looked)
        if len(worst) < count:
            heapq.heappush(worst, entry)
        else:
            heapq.heappushpop(worst, entry)
        if tell is not None:
            tell(place + 1, total)
    on_objects = np.mean(shares, axis=0).tolist() if shares else [float("nan")] * 3
    means = Means(np.mean(similarities, axis=0), tuple(on_objects))
    return means, [(-place, looked) for _, place, looked in sorted(worst, reverse=True)]


def _looked(pair: Pair, teacher: Any, student: Any, levels: SharedLevels) -> Iterator[Looked]:
    """Yield where both look, photograph by photograph, in the order of the annotations."""
    index = indexed(pair.files.val)
    both = zip(_features(pair, teacher), _features(pair, student), strict=True)
    for place, ((theirs, size), (ours, own_size)) in enumerate(both):
        pairs = [
            (_valid(theirs[i], size, stride), _valid(ours[j], own_size, stride))
            for i, j, stride in zip(levels.teacher, levels.student, levels.strides, strict=True)
        ]
        maps = [tuple(map(attention_map, one)) for one in pairs]
        similarity = np.array([float((one * other).sum()) for one, other in maps])
        whole = (_combined([one for one, _ in maps]), _combined([other for _, other in maps]))
        yield Looked(similarity, whole, _on_objects(whole, Truths.of(index, place), index.image(place)))


def _features(pair: Pair, detector: Any) -> Iterator[tuple[list[torch.Tensor], tuple[int, int]]]:
    """Yield the tapped maps [C, H, W] of each validation photograph, and its (height, width) in the network, px."""
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(val_loader(pair.recipe, pair.files, detector))
    taps = Taps(detector)
    for batch in loader:
        data = detector.data_preprocessor(batch, False)
        with torch.no_grad(), taps.capture() as maps:
            detector.extract_feat(data["inputs"])
        yield [one[0] for one in maps], data["data_samples"][0].img_shape[:2]


def _valid(features: torch.Tensor, size: tuple[int, int], stride: int) -> torch.Tensor:
    """Leave the padding of [C, H, W] out: cells that begin inside the photograph stay."""
    height, width = (-(-side // stride) for side in size)
    return features[:, :height, :width]


def _combined(maps: Sequence[Floats]) -> Floats:
    """Return the mean of the maps of those levels that show a place, at the size of the finest, of sum 1."""
    height, width = maps[0].shape
    fine = [one for one in maps if min(one.shape) >= LEAST_CELLS] or maps[:1]
    levels = [np.asarray(cv2.resize(one, (width, height))) for one in fine]
    mean = np.mean([one / max(one.sum(), 1e-30) for one in levels], axis=0)
    return np.asarray(mean / max(mean.sum(), 1e-30), dtype=np.float64)


def _on_objects(maps: tuple[Floats, Floats], truths: Truths, image: Any) -> tuple[float, float, float]:
    """Return the share of each map [h, w] in the objects' boxes, and the share of the cells that these take."""
    if not len(truths.boxes):
        return (float("nan"),) * 3
    height, width = maps[0].shape
    inside = np.zeros((height, width), dtype=bool)
    scale = np.array([width / image["width"], height / image["height"]] * 2)
    for left, top, right, bottom in truths.boxes * scale:
        inside[int(top) : max(int(np.ceil(bottom)), 0), int(left) : max(int(np.ceil(right)), 0)] = True
    return float(maps[0][inside].sum()), float(maps[1][inside].sum()), float(inside.mean())


def _draw(path: Path, pair: Pair, drawn: Sequence[tuple[int, Looked]], names: Sequence[str]) -> None:
    index, rows = indexed(pair.files.val), []
    for (place, looked), name in zip(drawn, names, strict=True):
        pixels = read_photograph(pair.recipe, pair.files.val_images / on_disk(name))
        truths = Truths.of(index, place)
        marks = Marks(truths.boxes, [plain(index.classes[label]) for label in truths.labels], TRUTH)
        teacher, student = (_over(pixels, one) for one in looked.maps)
        cosine = float(looked.similarity.mean())
        cells = [
            Cell(panel(pixels, [marks], SIDE), plain(name, LONGEST_FILE // 2), TRUTH),
            Cell(teacher, f"teacher {plain(pair.teacher_name)}", TEACHER),
            Cell(student, f"student: cosine {cosine:.2f}", STUDENT),
        ]
        rows.append(cells)
    title = "where they look: the photographs in which they differ most"
    write_grid(path, rows, title=title, foot="attention: sum of squared features over channels, mean over levels")


def _over(pixels: NDArray[np.uint8], attention: Floats) -> NDArray[np.uint8]:
    """Lay a map over a photograph, from dark (least) to bright (most) of its own range."""
    image = fitted(pixels, SIDE)
    span = max(float(attention.max() - attention.min()), 1e-30)
    scaled = (255 * (attention - attention.min()) / span).astype(np.uint8)
    coloured = cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1]
    size = (image.shape[1], image.shape[0])
    large = cv2.resize(np.ascontiguousarray(coloured), size, interpolation=cv2.INTER_LINEAR)
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray(_BLEND * large + (1 - _BLEND) * grey, dtype=np.uint8)
