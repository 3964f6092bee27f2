"""Evaluating any plain mmdet detector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ikd.errors import BadInput, CheckpointError
from ikd.export import Exported, evaluate


@pytest.fixture
def data(best: Path) -> Path:
    return best.parents[1] / "data"


def test_gives_the_exports_metrics_and_tells_how_far_it_is(exported: Exported, data: Path) -> None:
    told: list[tuple[int, int]] = []
    found = evaluate(
        exported.config,
        exported.checkpoint,
        data / "train.json",
        data / "images",
        device="cpu",
        progress=lambda done, total: told.append((done, total)),
    )
    assert found == pytest.approx(dict(exported.metrics), abs=1e-6, nan_ok=True)
    assert told == [(image, 12) for image in range(1, 13)]  # one image at a time


def test_other_data_gives_other_metrics(exported: Exported, data: Path) -> None:
    found = evaluate(exported.config, exported.checkpoint, data / "val.json", data / "images")
    assert found["bbox_mAP"] < exported.metrics["bbox_mAP"], "it learnt the training images by heart"


def test_the_configs_threshold_acts(exported: Exported, copied: Path, data: Path) -> None:
    config = copied / "student.py"
    config.write_text(config.read_text().replace("score_thr=0.1", "score_thr=0.99"))
    found = evaluate(config, exported.checkpoint, data / "train.json", data / "images")
    assert found["bbox_mAP"] == 0.0


def test_wrong_files_are_refused(exported: Exported, data: Path, tmp_path: Path) -> None:
    config, weights = exported.config, exported.checkpoint
    annotations, images = data / "train.json", data / "images"
    (tmp_path / "broken.py").write_text("model = dict(")
    (tmp_path / "other.py").write_text("x = 1")
    with pytest.raises(BadInput, match=r"none\.py: must be a mmdet config file, but nothing"):
        evaluate(tmp_path / "none.py", weights, annotations, images)
    with pytest.raises(BadInput, match=r"broken\.py: must be a mmdet config file, but SyntaxError"):
        evaluate(tmp_path / "broken.py", weights, annotations, images)
    with pytest.raises(BadInput, match=r"other\.py: must have `model` and .*pipeline`, but has \['x'\]"):
        evaluate(tmp_path / "other.py", weights, annotations, images)
    with pytest.raises(BadInput, match=r"none\.json: must be a COCO json file"):
        evaluate(config, weights, tmp_path / "none.json", images)
    with pytest.raises(BadInput, match=r"none: must be a folder of images"):
        evaluate(config, weights, annotations, tmp_path / "none")
    with pytest.raises(BadInput, match=r"device: must be auto, cpu, or a GPU of this machine, but got 'tpu'"):
        evaluate(config, weights, annotations, images, device="tpu")


def test_other_classes_are_refused(exported: Exported, data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "train.json").read_text())
    content["categories"][0]["name"] = "ball"
    (tmp_path / "ball.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"only in the checkpoint: disc; only in the data set: ball"):
        evaluate(exported.config, exported.checkpoint, tmp_path / "ball.json", data / "images")
