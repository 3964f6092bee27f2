"""The network for onnxruntime."""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Input
from ikd.detectors import build_detector, detector_config
from ikd.errors import BadInput, JobError
from ikd.export import export_student
from ikd.export import onnx as _onnx
from ikd.export.card import _onnx as _onnx_text
from ikd.export.onnx import OnnxFile, _normalisation, require_one_stage, write_onnx

HAS_EXTRA = all(importlib.util.find_spec(name) for name in _onnx.PACKAGES)
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="the extra onnx is not installed")


def detector(name: str = "ikd::retinanet_r18", **arguments: Any) -> Any:
    small = {"base_channels": 4, "neck_channels": 8} | arguments
    return build_detector(detector_config(name, arguments=small, classes=("a", "b"))).eval()


def test_missing_packages_are_named_before_any_work(
    best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_onnx, "PACKAGES", ("onnx_is_not_there", "json"))
    with pytest.raises(BadInput, match=r"needs onnx_is_not_there, .*pip install 'ikd\[onnx\]'"):
        export_student(best, tmp_path / "place", onnx=True)
    assert not (tmp_path / "place").exists()


def test_two_stage_detectors_are_refused() -> None:
    require_one_stage(detector("ikd::gfl_r18"))
    with pytest.raises(BadInput, match=r"must be a one-stage detector .*but is a FasterRCNN"):
        require_one_stage(detector("ikd::faster_rcnn_r18"))


def test_heads_that_give_no_tensor_a_level_are_refused() -> None:
    small = {
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4},
        "neck.in_channels": [4, 8, 16, 32],
        "neck.out_channels": 8,
        "bbox_head.in_channels": 8,
        "bbox_head.feat_channels": 8,
    }
    config = detector_config("mmdet::sabl/sabl-retinanet_r50_fpn_1x_coco.py", overrides=small, classes=("a",))
    with pytest.raises(BadInput, match="head must give a tensor a level, but is a SABLRetinaHead"):
        require_one_stage(build_detector(config))


def test_the_card_gets_the_detectors_own_normalisation() -> None:
    found = _normalisation(detector().data_preprocessor)
    assert found == {
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "channels": "RGB",
        "pad_value": 0.0,
    }
    config = detector_config("ikd::retinanet_r18", classes=("a",))
    config.data_preprocessor = {"type": "DetDataPreprocessor", "pad_size_divisor": 32}
    plain = _normalisation(build_detector(config).data_preprocessor)
    assert plain == {"mean": (0.0,) * 3, "std": (1.0,) * 3, "channels": "BGR", "pad_value": 0.0}


def test_the_card_says_what_a_fixed_square_is_filled_with() -> None:
    onnx = asdict(OnnxFile("student.onnx", "images", ("cls_0",), "RGB", (0.0,) * 3, (1.0,) * 3, 0.0, 32, 1e-6))
    pad = Input().pad.model_copy(update={"enabled": True, "size": (640, 384), "fill": 90}).model_dump()
    assert "resized, filled at right and bottom with grey 90 to 640 x 384 px (width x height), RGB" in _onnx_text(
        onnx, pad
    )
    assert "resized, RGB pixels" in _onnx_text(onnx, Input().pad.model_dump())


@needs_extra
@pytest.mark.slow
def test_onnxruntime_gives_the_heads_tensors_of_any_size(best: Path, tmp_path: Path) -> None:
    runtime: Any = importlib.import_module("onnxruntime")
    exported = export_student(best, tmp_path / "place", onnx=True)
    assert exported.onnx is not None
    card = json.loads((exported.directory / "card.json").read_text())
    assert card["onnx"]["outputs"] == [f"{kind}_{level}" for kind in ("cls_scores", "bbox_preds") for level in range(4)]
    assert card["onnx"]["largest_difference"] <= 1e-4
    assert "student.onnx" in card["files"]
    session = runtime.InferenceSession(str(exported.onnx), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == card["onnx"]["outputs"]
    from ikd.evaluation.plain_mmdet import load_detector, read_config

    plain: Any = load_detector(
        read_config(exported.config), exported.checkpoint, ("disc", "square", "triangle", "ring"), device="cpu"
    )
    images = torch.randn(3, 3, 96, 160)
    found = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = [tensor for kind in plain._forward(images) for tensor in kind]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-4, rtol=1e-4)


@needs_extra
@pytest.mark.slow
def test_a_network_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx, "TOLERANCE", 0.0)  # no two implementations agree to the last bit
    with pytest.raises(JobError, match=r"must agree to 0\.0, but differ by \d"):
        write_onnx(detector(levels=3), tmp_path, height=64, width=64)
