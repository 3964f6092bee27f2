"""VOC's average precision: by hand, and as mmdet's own metric gives it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.data import indexed
from ikd.evaluation import CocoEvaluator, voc_metrics

Box = tuple[float, float, float, float]
SIDE = 100


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))


def written(folder: Path, truths: Iterable[tuple[int, int, Box, int]], classes: int = 1, images: int = 2) -> Path:
    """A COCO file of (image, category, box, ignore)."""
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE} for n in range(1, images + 1)],
        "categories": [{"id": 10 * n, "name": f"c{n}"} for n in range(1, classes + 1)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0, "ignore": ignore}
            for n, (image, category, box, ignore) in enumerate(truths, start=1)
        ],
    }
    path = folder / "val.json"
    path.write_text(json.dumps(content))
    return path


def found(image: int, box: Box, score: float, category: int = 10) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def ap(path: Path, *detections: dict[str, Any]) -> tuple[float, float]:
    """Both averages: below the curve, and over eleven points."""
    metrics = voc_metrics(indexed(path), detections)
    assert set(metrics) == {"voc_AP50", "voc_AP50_07"}
    return metrics["voc_AP50"], metrics["voc_AP50_07"]


A, B, C, D, NOWHERE = (0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10), (60, 0, 10, 10), (80, 80, 10, 10)


class TestByHand:
    """Four objects; hit, false, hit, false, hit: precision 1, 1/2, 2/3, 1/2, 3/5 at recall 1/4, 1/4, 1/2, 1/2, 3/4."""

    truths = ((1, 10, A, 0), (1, 10, B, 0), (2, 10, A, 0), (2, 10, B, 0))
    detections = (
        found(1, A, 0.9),
        found(2, NOWHERE, 0.8),
        found(2, A, 0.7),
        found(1, NOWHERE, 0.6),
        found(1, B, 0.5),
    )
    area = (1 + 2 / 3 + 3 / 5) / 4
    eleven = (3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11

    def test_area_and_eleven_points(self, tmp_path: Path) -> None:
        assert ap(written(tmp_path, self.truths), *self.detections) == pytest.approx((self.area, self.eleven), abs=1e-6)

    def test_the_order_of_detections_is_their_score(self, tmp_path: Path) -> None:
        path = written(tmp_path, self.truths)
        for order in itertools.islice(itertools.permutations(self.detections), 0, None, 17):
            assert ap(path, *order) == pytest.approx((self.area, self.eleven), abs=1e-6)

    def test_a_difficult_object_need_not_be_found(self, tmp_path: Path) -> None:
        path = written(tmp_path, (*self.truths, (1, 10, C, 1)))
        assert ap(path, *self.detections) == pytest.approx((self.area, self.eleven), abs=1e-6)

    def test_detections_of_a_difficult_object_count_nothing_however_many(self, tmp_path: Path) -> None:
        path = written(tmp_path, (*self.truths, (1, 10, C, 1)))
        again = (found(1, C, 0.99), found(1, (41, 0, 10, 10), 0.98))
        assert ap(path, *again, *self.detections) == pytest.approx((self.area, self.eleven), abs=1e-6)

    def test_a_second_detection_of_an_object_is_false(self, tmp_path: Path) -> None:
        path = written(tmp_path, self.truths)
        again = found(1, (1, 0, 10, 10), 0.8)  # in place of what is nowhere
        kept = (self.detections[0], again, *self.detections[2:])
        assert ap(path, *kept) == pytest.approx((self.area, self.eleven), abs=1e-6)

    def test_classes_without_objects_are_no_part_of_the_mean(self, tmp_path: Path) -> None:
        path = written(tmp_path, (*self.truths, (1, 20, D, 0), (1, 30, C, 1)), classes=4)
        others = (found(1, D, 0.9, 20), found(1, C, 0.9, 30), found(1, C, 0.9, 40))
        wanted = ((self.area + 1) / 2, (self.eleven + 1) / 2)
        assert ap(path, *self.detections, *others) == pytest.approx(wanted, abs=1e-6)


def test_an_object_that_is_hit_is_not_given_up_for_another(tmp_path: Path) -> None:
    """Where COCO takes the next best truth, VOC asks for the best alone."""
    near = (4, 0, 10, 10)
    path = written(tmp_path, ((1, 10, A, 0), (1, 10, near, 0)))
    again = found(1, (1, 0, 10, 10), 0.8)  # overlaps A by 9/11, the other by 7/13
    assert ap(path, found(1, A, 0.9), again) == pytest.approx((0.5, 6 / 11), abs=1e-6)
    evaluator = CocoEvaluator(path, ("bbox",))
    evaluator.results = [[found(1, A, 0.9), again]]
    assert evaluator.compute_metrics(evaluator.results)["bbox_AP50"] == pytest.approx(1.0)


@pytest.mark.parametrize(("width", "hit"), [(20, True), (21, False)])
def test_half_an_overlap_is_enough(tmp_path: Path, width: int, hit: bool) -> None:
    assert ap(written(tmp_path, [(1, 10, (0, 0, 10, 10), 0)]), found(1, (0, 0, width, 10), 0.5))[0] == float(hit)


def test_nothing_found_is_zero_and_nothing_to_find_is_nan(tmp_path: Path) -> None:
    assert ap(written(tmp_path, [(1, 10, A, 0)])) == (0.0, 0.0)
    assert all(math.isnan(one) for one in ap(written(tmp_path, [(1, 10, A, 1)]), found(1, A, 0.5)))


class Serial:
    """In place of the processes that mmdet starts."""

    def __init__(self, count: int) -> None:
        self.count = count

    def starmap(self, function: Callable[..., Any], rows: Iterable[Any]) -> list[Any]:
        return [function(*row) for row in rows]

    def close(self) -> None:
        pass


def drawn(random: np.random.Generator, count: int) -> list[Box]:
    corners = random.integers(0, 60, (count, 2))
    sides = random.integers(5, 40, (count, 2))
    return [(float(x), float(y), float(w), float(h)) for (x, y), (w, h) in zip(corners, sides, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_random_detections_give_what_mmdets_metric_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """mmdet takes VOC's corners, pixels: one less to the right and below than the edges here."""
    from mmdet.evaluation import VOCMetric

    monkeypatch.setattr("mmdet.evaluation.functional.mean_ap.Pool", Serial)
    random = np.random.default_rng(seed)
    classes, images = 3, 6
    truths, samples, detections = [], [], []
    for image in range(1, images + 1):
        boxes, labels = drawn(random, 8), random.integers(0, classes, 8)
        ignored = random.random(8) < 0.3
        truths += [(image, 10 * (int(c) + 1), b, int(i)) for b, c, i in zip(boxes, labels, ignored, strict=True)]
        shift = random.integers(-4, 5, (12, 4)).astype(float)
        seen = np.array((boxes * 2)[:12]) + shift
        seen[:, 2:] = np.maximum(seen[:, 2:], 2)
        theirs = (np.concatenate([labels, labels])[:12] + (random.random(12) < 0.2)) % classes
        scores = random.permutation(12) / 12 + image / 1000
        detections += [
            found(image, tuple(b), float(s), 10 * (int(c) + 1)) for b, c, s in zip(seen, theirs, scores, strict=True)
        ]

        def pixels(rows: Any) -> torch.Tensor:
            given = np.asarray(rows, dtype=float).reshape(-1, 4)
            return torch.tensor(np.hstack([given[:, :2], given[:, :2] + given[:, 2:] - 1]))

        parts = {
            name: {"bboxes": pixels(np.array(boxes)[kept]), "labels": torch.tensor(labels[kept])}
            for name, kept in (("gt_instances", ~ignored), ("ignored_instances", ignored))
        }
        own = {"bboxes": pixels(seen), "scores": torch.tensor(scores), "labels": torch.tensor(theirs)}
        samples.append(parts | {"pred_instances": own})
    ours = voc_metrics(indexed(written(tmp_path, truths, classes, images)), detections)
    for name, mode in {"voc_AP50": "area", "voc_AP50_07": "11points"}.items():
        metric = VOCMetric(iou_thrs=0.5, metric="mAP", eval_mode=mode)
        metric.dataset_meta = {"classes": ("a", "b", "c"), "dataset_type": "VOC2012" if mode == "area" else "VOC2007"}
        metric.process({}, samples)
        assert ours[name] == pytest.approx(metric.compute_metrics(metric.results)["mAP"], abs=1e-6)
        assert 0.05 < ours[name] < 0.95


def test_one_evaluation_gives_coco_and_voc(tmp_path: Path) -> None:
    path = written(tmp_path, TestByHand.truths)
    kinds: tuple[Any, ...] = ("bbox", "voc")
    evaluator = CocoEvaluator(path, kinds)
    instances = {"bboxes": torch.tensor([[0.0, 0, 10, 10]]), "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}
    for image in (1, 2):
        evaluator.process(None, [{"img_id": image, "pred_instances": instances}])
    metrics = evaluator.evaluate(2)
    assert metrics["voc_AP50"] == pytest.approx(0.5, abs=1e-6)  # two of four objects, nothing false
    assert metrics["voc_AP50_07"] == pytest.approx(6 / 11, abs=1e-6)
    assert metrics["bbox_mAP"] == pytest.approx(51 / 101, abs=1e-6)
    assert not [name for name in CocoEvaluator(path, ("bbox",)).compute_metrics([[]]) if name.startswith("voc")]
