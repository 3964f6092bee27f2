"""Families of mmdet's zoo: each trains a step and predicts, or is refused before anything is trained, in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.attack import DIFGSM
from ikd.config import Recipe
from ikd.detectors import build_detector, detector_config, freeze
from ikd.errors import BadInput
from ikd.training import check
from tests.contracts.zoo_families import ZOO, Zoo
from tests.unit.attack.toys import noise_images, sample

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]
SIDE = 160
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def uneven_data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn images, two of them cut to other shapes."""
    import cv2

    root = tmp_path_factory.mktemp("uneven")
    (root / "images").mkdir()
    for part in ("train.json", "val.json"):
        content = json.loads((tiny_data / part).read_text())
        for index, image in enumerate(content["images"]):
            pixels: Any = cv2.imread(str(tiny_data / "images" / image["file_name"]))
            cut = {0: pixels[:96], 1: pixels[:, :80]}.get(index, pixels)
            image["height"], image["width"] = cut.shape[:2]
            cv2.imwrite(str(root / "images" / image["file_name"]), cut)
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        inside = []
        for box in content["annotations"]:
            x, y, width, height = box["bbox"]
            right, below = (
                min(one, other) for one, other in zip((x + width, y + height), sizes[box["image_id"]], strict=True)
            )
            if right - x >= 4 and below - y >= 4:
                area = {"area": (right - x) * (below - y), "segmentation": [[x, y, right, y, right, below, x, below]]}
                inside.append({**box, "bbox": [x, y, right - x, below - y], **area})
        content["annotations"] = inside
        (root / part).write_text(json.dumps(content))
    return root


def student_alone(row: Zoo, build: Callable[..., Recipe], root: Path) -> Recipe:
    alone = build(data__root=str(root)).student_alone()
    student = {"config": f"mmdet::{row.config}", "overrides": row.overrides}
    return alone.with_values({"student": student, "input.scale": [SIDE, SIDE], "device": DEVICE, **row.recipe})


@pytest.mark.parametrize("name", ZOO)
def test_a_family_trains_a_step_and_predicts_or_is_refused(
    name: str, tiny_recipe: Callable[..., Recipe], uneven_data: Path
) -> None:
    row = ZOO[name]
    recipe = student_alone(row, tiny_recipe, uneven_data)
    if not row.refused:
        check(recipe)
        return
    with pytest.raises(BadInput, match=row.refused) as caught:
        check(recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name, row in ZOO.items() if row.attack])
@pytest.mark.parametrize("loss", ["cls", "cls+reg"])
def test_a_family_is_attacked_or_the_loss_to_attack_is_named(name: str, loss: Any) -> None:
    row = ZOO[name]
    torch.manual_seed(0)
    config = detector_config(f"mmdet::{row.config}", overrides=row.overrides, classes=["a", "b", "c"])
    teacher: Any = freeze(build_detector(config)).to(DEVICE)
    side = row.recipe.get("input.scale", [SIDE])[0]
    annotated = sample((side, side), boxes=[[8.0, 8.0, 60.0, 60.0], [40.0, 50.0, 120.0, 140.0]]).to(DEVICE)
    from mmdet.structures.mask import BitmapMasks

    annotated.gt_instances.masks = BitmapMasks(np.ones((2, side, side), np.uint8), side, side)
    images = noise_images(1, side, side).to(DEVICE)
    attack = DIFGSM(steps=1, loss=loss, diversity_probability=0)
    if loss not in row.attack:
        with pytest.raises(BadInput, match=r"attack\.loss: must be cls\+reg for a teacher"):
            attack(teacher, images, [annotated])
        return
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    assert attack(teacher, images, [annotated]).abs().max() > 0
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(module.training for module in teacher.modules())
