"""Small detectors that read texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.zoo.configs import model_of, small
from ikd.detectors import build_detector, detector_config

GLIP = "glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py"
GROUNDING = "mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py"


def section(name: str) -> dict[str, Any]:
    """Return a detector as a recipe has it; its language model lies in the home of the test."""
    again = {"backbone.with_cp": False}  # torch warns of how mmcv computes activations twice
    return {"config": f"mmdet::{name}", "overrides": {**small(model_of(name)), **again}}


def config(name: str, classes: list[str] | None) -> Any:
    return detector_config(**section(name), classes=classes)


def built(name: str, classes: list[str]) -> Any:
    return build_detector(config(name, classes))


def folder_of(name: str) -> Path:
    return Path(section(name)["overrides"]["language_model.name"])
