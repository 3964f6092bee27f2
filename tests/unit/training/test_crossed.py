"""Trials of CrossKD between towers of unequal widths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe, Teacher
from ikd.detectors import build_detector
from ikd.training import DataFiles, EpochReport, StopTrial, model_config, run_trial
from tests.unit.distill.dense import settled
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
WIDE = {"backbone.widen_factor": 0.125, "backbone.init_cfg": None, "neck.in_channels": [32, 64, 128]}


def rtmdet(width: int) -> dict[str, Any]:
    widths = dict.fromkeys(("neck.out_channels", "bbox_head.in_channels", "bbox_head.feat_channels"), width)
    return {"config": "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py", "overrides": {**WIDE, **widths}}


@pytest.fixture
def crossing(tiny_recipe: Build, tmp_path: Path) -> Build:
    """Build a recipe of two epochs of RTMDet behind a wider one."""

    def build(**changes: Any) -> Recipe:
        file = tmp_path / "teacher.pth"
        base, named = tiny_recipe(), rtmdet(24)
        save_untrained(base, named, file)
        content = torch.load(file, weights_only=True)
        detector = settled(build_detector(model_config(Teacher.model_validate(named), DataFiles.of(base).classes)))
        torch.save(content | {"state_dict": detector.state_dict()}, file)
        values = {
            "student__config": rtmdet(16)["config"],
            "student__arguments": {},
            "student__overrides": rtmdet(16)["overrides"],
            "student__inherit": False,
            "teachers__available": {"t": {**rtmdet(24), "checkpoint": str(file)}},
            "teachers__sequence": ["t"],
            "adversarial__enabled": False,
            "distill__host": "crosskd",
            "distill__crosskd": {"position": 1},
            "schedule__epochs": 2,
        }
        return tiny_recipe(**(values | changes))

    return build


def stop(report: EpochReport) -> None:
    raise StopTrial


def kept(file: Path) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(file, weights_only=True)["model"]
    return content


@pytest.mark.slow
def test_the_connector_is_trained_and_a_stopped_trial_goes_on_as_it_would_have(crossing: Build, tmp_path: Path) -> None:
    whole = run_trial(crossing(), directory=tmp_path / "whole")
    assert whole.metrics["loss/crosskd_cls"] > 0
    assert whole.metrics["loss/crosskd_reg"] > 0
    first = run_trial(crossing(), stop, directory=tmp_path / "parts")
    after_one = kept(first.last)
    torch.rand(7)
    rest = run_trial(crossing(), directory=tmp_path / "parts", checkpoint=first.last)
    ends = kept(whole.last), kept(rest.last)
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    connectors = [name for name in ends[0] if not name.startswith("student.")]
    assert connectors == [f"connectors.{tower}.{part}" for tower in (0, 1) for part in ("weight", "bias")]
    assert all(not torch.equal(after_one[name], ends[0][name]) for name in connectors if name.endswith("weight"))
    assert ends[0][connectors[0]].shape == (24, 16, 1, 1)
