"""Metrics of boxes and masks are those that mmdet's own metric gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths

from ikd.detectors import build_detector, detector_config
from ikd.errors import BadInput
from ikd.evaluation import CocoEvaluator, run

SIDE = 100
PARTS = {"mAP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m"}


def outline(rows: slice, columns: slice) -> Any:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[rows, columns] = 1
    return mask


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Three L-shaped objects of two classes on two images: their masks are half their boxes."""
    made = []
    for number, (image, category, low, side) in enumerate([(1, 3, 10, 20), (1, 7, 40, 50), (2, 3, 20, 40)], start=1):
        mask = outline(slice(low, low + side), slice(low, low + side))
        mask[low : low + side // 2, low : low + side // 2] = 0
        code = run_lengths.encode(np.asfortranarray(mask))
        code["counts"] = code["counts"].decode()
        box = [float(low), float(low), float(side), float(side)]
        content = {"id": number, "image_id": image, "category_id": category, "bbox": box, "segmentation": code}
        made.append(content | {"area": int(mask.sum()), "iscrowd": 0})
    images = [{"id": one, "file_name": f"{one}.png", "width": SIDE, "height": SIDE} for one in (1, 2)]
    file = tmp_path / "val.json"
    categories = [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}]
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": made}))
    return file


def found(image: int, *boxes: tuple[int, int, int, float]) -> dict[str, Any]:
    """What a detector says: squares (label, low, side, score) and full masks in them."""
    masks = [outline(slice(low, low + side), slice(low, low + side)) for _, low, side, _ in boxes]
    instances = {
        "bboxes": torch.tensor([[low, low, low + side, low + side] for _, low, side, _ in boxes], dtype=torch.float),
        "scores": torch.tensor([score for *_, score in boxes]),
        "labels": torch.tensor([label for label, *_ in boxes]),
        "masks": torch.from_numpy(np.stack(masks)).bool(),
    }
    return {"img_id": image, "ori_shape": (SIDE, SIDE), "pred_instances": instances}


def samples() -> list[dict[str, Any]]:
    return [found(1, (0, 10, 20, 0.9), (1, 42, 50, 0.8), (0, 60, 10, 0.3)), found(2, (0, 21, 40, 0.7))]


def test_boxes_and_masks_are_measured_as_mmdet_does(truth: Path) -> None:
    from mmdet.evaluation import CocoMetric

    ours = CocoEvaluator(truth, ("bbox", "segm"))
    ours.process(None, samples())
    metrics = ours.evaluate(2)
    theirs = CocoMetric(ann_file=str(truth), metric=["bbox", "segm"])
    theirs.dataset_meta = {"classes": ("a", "b")}
    theirs.process({}, samples())
    expected = theirs.evaluate(2)
    for kind in ("bbox", "segm"):
        for name, other in PARTS.items():
            assert metrics[f"{kind}_{name}"] == pytest.approx(expected[f"coco/{kind}_{other}"], abs=6e-4)  # rounded
        each = [metrics[f"{kind}_AP/{name}"] for name in ("a", "b")]
        assert np.mean(each) == pytest.approx(metrics[f"{kind}_mAP"], abs=1e-12)
    assert metrics["bbox_mAP"] > metrics["segm_mAP"] > 0  # full squares cover more than the objects


def test_masks_are_measured_on_request_only(truth: Path) -> None:
    evaluator = CocoEvaluator(truth, ("bbox",))
    evaluator.process(None, samples())
    assert not [name for name in evaluator.evaluate(2) if name.startswith("segm")]


def test_masks_of_a_detector_without_them_are_refused(truth: Path) -> None:
    arguments = {"base_channels": 8, "neck_channels": 16}
    detector = build_detector(detector_config("ikd::retinanet_r18", arguments=arguments, classes=["a", "b"]))
    with pytest.raises(BadInput, match=r"validate: must not hold segm: a RetinaNet predicts no masks"):
        run(detector, None, truth, kinds=("bbox", "segm"))


def test_nothing_is_said_of_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mmengine warns of metrics whose prefix is None, in whichever process asks first."""
    said: list[str] = []
    monkeypatch.setattr("mmengine.evaluator.metric.print_log", lambda text, *_, **__: said.append(text))
    CocoEvaluator(tmp_path / "val.json", ("bbox",))
    assert said == []
