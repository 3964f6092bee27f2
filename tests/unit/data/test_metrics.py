from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as masks
from pycocotools.coco import COCO

from ikd.data import coco_metrics
from ikd.errors import DataError

NAMES = {"mAP", "AP50", "AP75", "APs", "APm", "APl", "AR", "ARs", "ARm", "ARl", "AP/c0"}


def truth(*boxes: tuple[int, list[float]], categories: int = 1) -> dict[str, Any]:
    """Builds a ground truth of two images from (image id, box)."""
    return {
        "images": [{"id": number, "file_name": f"{number}.png", "width": 200, "height": 200} for number in (1, 2)],
        "categories": [{"id": number + 1, "name": f"c{number}"} for number in range(categories)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for number, (image, box) in enumerate(boxes, start=1)
        ],
    }


def found(image: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": box, "score": score}


SMALL, MEDIUM, LARGE = [10.0, 10.0, 20.0, 20.0], [40.0, 40.0, 50.0, 50.0], [60.0, 60.0, 120.0, 120.0]


def test_perfect_detections_give_one_and_absent_sizes_nan() -> None:
    metrics = coco_metrics(truth((1, SMALL), (2, LARGE)), [found(1, SMALL, 0.9), found(2, LARGE, 0.8)])
    assert set(metrics) == {f"bbox_{name}" for name in NAMES}
    assert math.isnan(metrics.pop("bbox_APm"))
    assert math.isnan(metrics.pop("bbox_ARm"))
    assert metrics == pytest.approx(dict.fromkeys(metrics, 1.0), abs=1e-12)


def test_no_detections_give_zero() -> None:
    metrics = coco_metrics(truth((1, SMALL), (2, MEDIUM)), [])
    assert math.isnan(metrics.pop("bbox_APl"))
    assert math.isnan(metrics.pop("bbox_ARl"))
    assert set(metrics.values()) == {0.0}


def test_classes_and_sizes_by_hand() -> None:
    """Class 0 has its small box found and its large one missed, class 1 nothing to find, class 2 its one box found."""
    content = truth((1, SMALL), (1, LARGE), (2, MEDIUM), categories=3)
    content["annotations"][2]["category_id"] = 3
    metrics = coco_metrics(content, [found(1, SMALL, 0.9), found(2, MEDIUM, 0.5) | {"category_id": 3}])
    assert metrics["bbox_AP/c0"] == pytest.approx(51 / 101, abs=1e-12)  # recall 0.5 at precision 1
    assert math.isnan(metrics["bbox_AP/c1"])
    assert metrics["bbox_AP/c2"] == pytest.approx(1.0, abs=1e-12)
    assert metrics["bbox_mAP"] == pytest.approx((51 / 101 + 1) / 2, abs=1e-12)
    assert (metrics["bbox_ARs"], metrics["bbox_ARm"], metrics["bbox_ARl"]) == pytest.approx((1.0, 1.0, 0.0), abs=1e-12)


IGNORED = {"ignore": 1, "iscrowd": 0}


def test_an_ignored_box_need_not_be_found_and_finding_it_counts_nothing() -> None:
    """pycocotools reads `ignore` no more; what it does with that flag is done here, by hand."""
    content = truth((1, SMALL), (1, MEDIUM))
    content["annotations"][1] |= IGNORED
    hit = found(1, SMALL, 0.5)
    assert coco_metrics(content, [hit])["bbox_mAP"] == pytest.approx(1.0, abs=1e-12), "it need not be found"
    both = [found(1, MEDIUM, 0.9), hit]
    assert coco_metrics(content, both)["bbox_mAP"] == pytest.approx(1.0, abs=1e-12), "it may be found"
    twice = [found(1, MEDIUM, 0.9), found(1, MEDIUM, 0.8), hit]
    assert coco_metrics(content, twice)["bbox_mAP"] == pytest.approx(0.5, abs=1e-12), "once: it is no crowd"
    inside = found(1, [45.0, 45.0, 10.0, 10.0], 0.9)
    assert coco_metrics(content, [inside, hit])["bbox_mAP"] == pytest.approx(0.5, abs=1e-12), "by IoU: it is no crowd"


def test_an_ignored_box_is_what_pycocotools_makes_of_its_flag() -> None:
    """Its matching asks for `_ignore`, of sizes or of that flag; an object outside all sizes is ignored as well."""
    content = truth((1, SMALL), (2, MEDIUM))
    detections = [found(1, SMALL, 0.6), found(2, MEDIUM, 0.9), found(2, LARGE, 0.7)]
    ignored = copy.deepcopy(content)
    ignored["annotations"][1] |= IGNORED
    outside = copy.deepcopy(content)
    outside["annotations"][1]["area"] = 1e11
    assert coco_metrics(ignored, detections)["bbox_mAP"] == coco_metrics(outside, detections)["bbox_mAP"]


def test_ignored_boxes_of_a_file_are_ignored_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    content = truth((1, SMALL), (1, MEDIUM))
    square = [[40.0, 40.0, 90.0, 40.0, 90.0, 90.0, 40.0, 90.0]]
    content["annotations"][0] |= {"segmentation": [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]}
    content["annotations"][1] |= IGNORED | {"segmentation": square}
    (tmp_path / "val.json").write_text(json.dumps(content))
    code = COCO()
    code.dataset = content
    code.createIndex()
    hit = found(1, SMALL, 0.5) | {"segmentation": code.annToRLE(content["annotations"][0])}
    for kind in ("bbox", "segm"):
        assert coco_metrics(tmp_path / "val.json", [hit], kind)[f"{kind}_mAP"] == pytest.approx(1.0, abs=1e-12)


def test_no_boxes_give_nan() -> None:
    assert all(math.isnan(value) for value in coco_metrics(truth(), [found(1, SMALL, 0.5)]).values())


def test_half_of_the_boxes_found_gives_51_of_101_recall_points() -> None:
    # recall 0.5 at precision 1: of COCO's 101 recall points 0.00 .. 0.50 are reached
    metrics = coco_metrics(truth((1, SMALL), (2, SMALL)), [found(1, SMALL, 0.9)])
    assert metrics["bbox_mAP"] == pytest.approx(51 / 101, abs=1e-12)
    assert metrics["bbox_AR"] == pytest.approx(0.5, abs=1e-12)


def test_false_alarm_above_the_hit_halves_precision() -> None:
    metrics = coco_metrics(truth((1, SMALL)), [found(1, LARGE, 0.9), found(1, SMALL, 0.8)])
    assert metrics["bbox_AP50"] == pytest.approx(0.5, abs=1e-12)


def test_overlap_decides_at_which_thresholds_a_box_counts() -> None:
    # 20 x 15 of 20 x 20: IoU 0.75 passes 0.50, 0.55 .. 0.75 and fails 0.80 .. 0.95, so 6 of 10 thresholds
    metrics = coco_metrics(truth((1, SMALL)), [found(1, [10.0, 10.0, 20.0, 15.0], 0.9)])
    assert metrics["bbox_AP75"] == pytest.approx(1.0)
    assert metrics["bbox_mAP"] == pytest.approx(0.6, abs=1e-12)


def test_annotation_id_zero_is_no_miss() -> None:
    data = truth((1, SMALL))
    data["annotations"][0]["id"] = 0
    assert coco_metrics(data, [found(1, SMALL, 0.9)])["bbox_mAP"] == pytest.approx(1.0)


def test_file_content_and_coco_agree_and_inputs_stay_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, detections = truth((1, SMALL), (2, LARGE)), [found(1, SMALL, 0.9)]
    before = copy.deepcopy((data, detections))
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    results = [coco_metrics(source, detections) for source in (data, path, str(path))]
    assert (data, detections) == before
    assert capsys.readouterr().out == ""
    results.append(coco_metrics(COCO(str(path)), detections))
    assert [result["bbox_mAP"] for result in results] == pytest.approx([51 / 101] * 4)


def test_area_and_iscrowd_may_be_missing() -> None:
    data = truth((1, SMALL))
    del data["annotations"][0]["area"], data["annotations"][0]["iscrowd"]
    assert coco_metrics(data, [found(1, SMALL, 0.9)])["bbox_APs"] == pytest.approx(1.0)


def test_masks_are_sized_by_their_own_area_even_beside_a_box() -> None:
    data = truth((1, LARGE))
    data["annotations"][0]["segmentation"] = [[60, 60, 180, 60, 180, 180, 60, 180]]
    code = masks.frPyObjects(data["annotations"][0]["segmentation"], 200, 200)[0]
    metrics = coco_metrics(data, [{**found(1, SMALL, 0.9), "segmentation": code}], iou_type="segm")
    assert metrics["segm_mAP"] == pytest.approx(1.0)
    assert metrics["segm_APl"] == pytest.approx(1.0)


def test_detection_of_an_unknown_image_is_refused() -> None:
    with pytest.raises(DataError, match="image_id must be one of"):
        coco_metrics(truth((1, SMALL)), [found(77, SMALL, 0.9)])
