"""How many images take which branch, before training, and what a command prints of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ikd.augment import Branches, SampleSpecificAugment, branches_of
from ikd.cli import app
from ikd.config import Recipe
from ikd.errors import BadInput
from tests.unit.augment.samples import sample

Build = Callable[..., Recipe]


def counts(found: Branches) -> dict[str, int]:
    return {row.name: row.images for row in found.rows}


def test_ikds_rule_on_the_drawn_data(tiny_recipe: Build) -> None:
    """Of any ten drawn images three hold small objects only, one is empty and so not trained on."""
    (found,) = branches_of(tiny_recipe())
    assert (found.images, counts(found)) == (15, {"noise": 5, "crop": 10, "neither": 0})
    assert [row.probability for row in found.rows] == [0.3, 1.0, 0.0]
    lines = str(found).splitlines()
    assert lines[0] == "IKD: noise where every box is below 1024 px^2, else a crop"
    assert lines[2].split() == ["noise", "5", "33.3%", "0.3", "10.0%"]
    assert lines[3].split() == ["crop", "10", "66.7%", "1", "66.7%"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"augment__area_threshold": 1e6}, {"noise": 15, "crop": 0, "neither": 0}),
        ({"augment__area_threshold": 1.0}, {"noise": 0, "crop": 15, "neither": 0}),
        ({"augment__noise__enabled": False}, {"noise": 0, "crop": 10, "neither": 5}),
        ({"augment__crop__enabled": False}, {"noise": 5, "crop": 0, "neither": 10}),
        ({"distill__me": {"enabled": True, "theta": 9.0}}, {"noise": 15, "crop": 0, "neither": 0}),
        ({"distill__me": {"enabled": True, "theta": 1e-9}}, {"noise": 0, "crop": 15, "neither": 0}),
    ],
)
def test_settings_act(tiny_recipe: Build, changes: dict[str, Any], expected: dict[str, int]) -> None:
    (found,) = branches_of(tiny_recipe(**changes))
    assert counts(found) == expected


def test_stages_have_their_own_rules(tiny_recipe: Build) -> None:
    two = {"teachers__sequence": ["big", "big"], "distill__me__enabled": True}
    first, second = branches_of(tiny_recipe(**two))
    assert first.rule.startswith("stage 1 (big): IKD: noise where every box is below 1024 px^2")
    assert second.rule.startswith(
        "stage 2 (big): masking enhancement (replaced): noise where boxes cover less than 0.5"
    )
    (only,) = branches_of(tiny_recipe(**two, augment__enabled=False))
    assert only.rule == second.rule
    assert branches_of(tiny_recipe(augment__enabled=False)) == []


@pytest.mark.parametrize("published", [False, True])
def test_it_judges_as_the_transform_does(tiny_recipe: Build, tmp_path: Path, *, published: bool) -> None:
    """Boxes that truncation makes small, crowds, and what mmdet leaves out."""
    recipe = tiny_recipe()
    root = Path(recipe.data.root)
    content = json.loads((root / "train.json").read_text())
    images = content["images"][:4]
    boxes = [[10.9, 10.9, 32.0, 31.9], [10.0, 10.0, 60.0, 60.0], [5.2, 5.2, 31.7, 31.7], [-50.0, 3.0, 20.0, 20.0]]
    annotations = [
        {"id": 1, "image_id": images[0]["id"], "category_id": 1, "bbox": boxes[0], "area": 1020.0, "iscrowd": 0},
        {"id": 2, "image_id": images[1]["id"], "category_id": 1, "bbox": boxes[1], "area": 3600.0, "iscrowd": 1},
        {"id": 3, "image_id": images[1]["id"], "category_id": 1, "bbox": boxes[2], "area": 1000.0, "iscrowd": 0},
        {"id": 4, "image_id": images[2]["id"], "category_id": 1, "bbox": boxes[3], "area": 400.0, "iscrowd": 0},
    ]
    (tmp_path / "train.json").write_text(json.dumps({**content, "images": images, "annotations": annotations}))
    for name in ("val.json", "images"):
        (tmp_path / name).symlink_to(root / name)
    (found,) = branches_of(recipe.with_values({"data.root": str(tmp_path), "augment.published": published}))
    assert found.images == 3  # mmdet trains on the image whose box lies outside, as on one without any
    step, tally = (
        SampleSpecificAugment(noise={"probability": 1.0}, published=published),
        dict.fromkeys(("noise", "crop", "neither"), 0),
    )
    corners = [[x, y, x + w, y + h] for x, y, w, h in boxes]
    cases: list[tuple[Any, list[bool]]] = [([corners[0]], [False]), (corners[1:3], [True, False]), ([], [])]
    for rows, crowds in cases:
        for _ in range(20):  # a window may miss the box
            made = step(sample(rows, gt_ignore_flags=np.array(crowds, bool)))
            if made is not None:
                break
        tally[made.get("altered", "neither")] += 1
    assert counts(found) == tally
    assert tally["neither"] == published, "its area is small, and of truncated corners it is not"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", "check", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_prints_them_for_a_recipe(tiny_recipe: Build, tiny_data: Path) -> None:
    assert tiny_recipe().data.root == str(tiny_data)
    code, text = run(str(tiny_data), "--recipe", "drawn_r18", "--set", "augment.area_threshold=1000000")
    assert code == 0
    assert "train: 16 images" in text
    assert "noise where every box is below 1e+06 px^2" in text
    assert "fingerprint: " in text
    code, text = run("--recipe", "drawn_r18", "--set", f"data.root={tiny_data}", "--set", "augment.enabled=false")
    assert text.endswith("recipe drawn_r18 has neither noise nor crop\n")
    assert "px^2" not in run(str(tiny_data))[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs the folder of a data set, or --recipe"),
        (["x", "--set", "seed=1"], "--set goes only with --recipe"),
        (
            ["--recipe", "drawn_r18", "--images", "a,b"],
            r"--images goes only without --recipe; use --set data\.train\.images",
        ),
        (["--recipe", "drawn_r19"], "did you mean 'drawn_r18'"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run(*arguments)
