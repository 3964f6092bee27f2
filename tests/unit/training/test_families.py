"""Whole trials of pairs that the plain recipe does not cover: masks, other families, other heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.training import prepare, run_trial
from tests.marks import some
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
SMALL = {"base_channels": 8, "neck_channels": 16}


@pytest.fixture(scope="module")
def pair(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a recipe of one epoch with an untrained teacher of any kind."""

    def build(student: dict[str, Any], teacher: dict[str, Any], **changes: Any) -> Recipe:
        base = tiny_recipe()
        file = tmp_path_factory.mktemp("teacher") / "teacher.pth"
        save_untrained(base, teacher, file)
        named = {**teacher, "checkpoint": str(file)}
        values = {
            "student__config": student["config"],
            "student__arguments": student["arguments"],
            "teachers__available": {"t": named},
            "teachers__sequence": ["t"],
            "adversarial__enabled": False,
            "distill__host": "dfmsd",
            "schedule__epochs": 1,
        }
        return tiny_recipe(**(values | changes))

    return build


def shipped(name: str, **arguments: Any) -> dict[str, Any]:
    return {"config": f"ikd::{name}", "arguments": {**SMALL, **arguments}}


def losses(recipe: Recipe, directory: Path) -> dict[str, float]:
    result = run_trial(recipe, directory=directory)
    return {name: value for name, value in result.metrics.items() if name.startswith("loss/")}


@pytest.mark.slow
def test_masks_are_learned_through_every_augmentation(pair: Build, tmp_path: Path) -> None:
    """A mask student with noise, crop, ME and adversarial copies against a teacher with masks."""
    recipe = pair(
        shipped("mask_rcnn_r18"),
        shipped("cascade_rcnn_r18", masks=True),
        adversarial__enabled=True,
        distill__me__enabled=True,
        distill__sfa__enabled=True,
        attack__steps=1,
        input__scale=[64, 64],
    )
    result = run_trial(recipe.with_values({"validate": ["bbox", "segm"]}), directory=tmp_path)
    assert {"loss/mask", "loss/dfmsd", "loss/adversarial", "loss/sfa"} <= set(result.metrics)
    assert 0 <= result.metrics["segm_mAP"] <= 1
    assert result.last_metrics == result.metrics  # of one epoch


def test_masks_are_validated_for_students_that_predict_them(pair: Build) -> None:
    recipe = pair(shipped("retinanet_r18"), shipped("faster_rcnn_r18"), validate=["bbox", "segm"])
    with pytest.raises(BadInput, match=r"validate: must not hold segm: the student, a RetinaNet, predicts no masks"):
        prepare(recipe)


def test_levels_that_both_have_are_distilled(pair: Build, tmp_path: Path) -> None:
    """RetinaNet has strides 8..128, Faster R-CNN 4..32: they share three."""
    recipe = pair(shipped("retinanet_r18"), shipped("faster_rcnn_r18"), distill__host="mgd")
    assert losses(recipe, tmp_path)["loss/mgd"] > 0
    with pytest.raises(BadInput, match=r"distill\.sfa\.levels: must be among 0\.\.2, .*strides 8, 16, 32\), but got 3"):
        prepare(recipe.with_values({"distill.sfa": {"enabled": True, "levels": [3]}}))


@pytest.mark.parametrize("family", some(["gfl_r18", "fcos_r18", "retinanet_r18", "atss_r18"], 1))
def test_crosskd_trains_between_equal_heads(pair: Build, tmp_path: Path, family: str) -> None:
    found: list[dict[str, float]] = []
    for position in (0, 1):
        recipe = pair(
            shipped(family), shipped(family), distill__host="crosskd", distill__crosskd={"position": position}
        )
        found.append(losses(recipe, tmp_path / str(position)))
    assert {"loss/crosskd_cls", "loss/crosskd_reg"} <= set(found[0])
    assert found[0]["loss/crosskd_cls"] != found[1]["loss/crosskd_cls"]


@pytest.mark.parametrize("family", some(["mask_rcnn_r18", "faster_rcnn_r18", "cascade_rcnn_r18"], 1))
def test_crosskd_trains_between_two_stages(pair: Build, tmp_path: Path, family: str) -> None:
    """Also from a wider pyramid; what is kept of the student is a plain detector."""
    recipe = pair(
        shipped(family),
        shipped(family, neck_channels=24),
        student__inherit=False,
        distill__host="crosskd",
        distill__crosskd={"position": 1},
    )
    result = run_trial(recipe, directory=tmp_path)
    masks = {"loss/crosskd_mask"} if family == "mask_rcnn_r18" else set()
    own = {name: value for name, value in result.metrics.items() if name.startswith("loss/crosskd")}
    assert own.keys() == {"loss/crosskd_cls", "loss/crosskd_reg"} | masks
    assert all(value > 0 for value in own.values())
    assert result.metrics["grad/crosskd"] > 0
    assert result.best is not None
    kept = torch.load(result.best, weights_only=True)["state_dict"]
    assert not [name for name in kept if "connector" in name]
    changed = recipe.with_values({"distill.crosskd.roi.w_cls": 2.0})
    assert changed.fingerprint() != recipe.fingerprint()


PREDICTED = {
    "vkd": {"vkd"},
    "frs": {"frs", "frs_cls"},
    "defeat": {"defeat", "defeat_head"},
    "gid": {"gid", "gid_response"},
    "rmpfi": {"rmpfi", "rmpfi_rank"},
}
"""The losses that hosts which read predictions log, beside those of maps."""
TWO_STAGE = ("defeat", "frs", "gid", "icd", "rmpfi", "vkd")


@pytest.mark.parametrize(
    ("host", "family"),
    [
        *some([(host, "retinanet_r18") for host in ("gid", "icd", "fgfi", "rkd", "rmpfi", "defeat", "frs", "vkd")], 2),
        *some([(host, "faster_rcnn_r18") for host in TWO_STAGE], 1),
    ],
)
def test_imitation_trains_between_equal_detectors(pair: Build, tmp_path: Path, host: str, family: str) -> None:
    """Every term is logged, with its weight, and pulls on the student's backbone."""
    recipe = pair(shipped(family), shipped(family), distill__host=host, distill__icd__warmup=0)
    result = run_trial(recipe, directory=tmp_path)
    own = {name: value for name, value in result.metrics.items() if name.removeprefix("loss/").startswith(host)}
    named = {**PREDICTED, "icd": {"icd", "icd_real", "icd_box"}}
    assert own.keys() == {f"loss/{name}" for name in named.get(host, {host})}
    assert all(value > 0 for value in own.values())
    assert result.metrics[f"grad/{host}"] > 0


def test_imitation_by_anchors_needs_anchors(pair: Build) -> None:
    recipe = pair(shipped("fcos_r18"), shipped("fcos_r18"), distill__host="fgfi")
    with pytest.raises(BadInput, match=r"distill\.host: must be a loss that needs no anchors .* but got 'fgfi'; take"):
        prepare(recipe)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ("retinanet_r18", "fcos_r18", "distill.host vkd: head families must be equal"),
        ("retinanet_r18", "cascade_rcnn_r18", "distill.host vkd: must be between two one-stage or two two-stage"),
        (
            "faster_rcnn_r18",
            "cascade_rcnn_r18",
            "distill.host vkd: the teacher, a CascadeRCNN, scores regions in 3 steps",
        ),
    ],
)
def test_scores_of_other_places_are_refused_before_training(
    pair: Build, student: str, teacher: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        prepare(pair(shipped(student), shipped(teacher), distill__host="vkd"))


@pytest.mark.parametrize(
    ("student", "teacher", "position", "message"),
    [
        ("retinanet_r18", "fcos_r18", 1, "RetinaHead.*FCOSHead|FCOSHead.*RetinaHead"),
        ("retinanet_r18", "cascade_rcnn_r18", 1, "CascadeRCNN"),
        ("retinanet_r18", "retinanet_r18", 3, "position"),
    ],
)
def test_crosskd_across_other_heads_is_refused_before_training(
    pair: Build, student: str, teacher: str, position: int, message: str
) -> None:
    recipe = pair(shipped(student), shipped(teacher), distill__host="crosskd", distill__crosskd={"position": position})
    with pytest.raises(BadInput, match=message):
        prepare(recipe)


def test_a_mask_head_without_masks_is_refused(pair: Build, tiny_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for part in ("train.json", "val.json"):
        content = json.loads((tiny_data / part).read_text())
        for annotation in content["annotations"][:3]:
            annotation["segmentation"] = []
        (root / part).write_text(json.dumps(content))
    (root / "images").symlink_to(tiny_data / "images")
    recipe = pair(shipped("mask_rcnn_r18"), shipped("faster_rcnn_r18"), data__root=str(root))
    with pytest.raises(BadInput, match=r"train\.json: annotations: 3 boxes have no segmentation.*student \(MaskRCNN\)"):
        prepare(recipe)
