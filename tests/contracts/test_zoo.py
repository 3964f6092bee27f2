"""The detectors of mmdet's zoo, as the table says of them; all of them are walked by `python -m benchmarks.zoo`."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.zoo.__main__ import RECORDED
from benchmarks.zoo.configs import classes_for, kind_of, model_of, zoo_names
from benchmarks.zoo.data import draw_one_class
from benchmarks.zoo.table import page
from benchmarks.zoo.trying import ROLES

ROOT = Path(__file__).resolve().parents[2]
RESULTS: dict[str, Any] = json.loads(RECORDED.read_text())
LEAST = 630
"""Configs that must pass everything; the rest is refused with a reason, which the table has."""


def of_kinds() -> list[str]:
    """Return the quickest config of each kind."""
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for name, facts in RESULTS["configs"].items():
        if facts["digest"] in RESULTS["tried"]:
            kinds[facts["kind"]].append(name)
    return [min(names, key=lambda name: float(tried(name)["seconds"])) for names in kinds.values()]


def tried(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RESULTS["tried"][RESULTS["configs"][name]["digest"]]
    return found


def walked(names: list[str], to: Path, jobs: int) -> dict[str, dict[str, Any]]:
    """Try configs in a process of their own: what was forked from one that has trained would hang."""
    command = [sys.executable, "-m", "benchmarks.zoo", "--to", str(to), "--jobs", str(jobs), "--seconds", "900"]
    subprocess.run([*command, "--only", *names], cwd=ROOT, check=True, capture_output=True)
    found = json.loads(to.read_text())
    return {name: found["tried"][found["configs"][name]["digest"]] for name in names}


def outcome(one: dict[str, Any]) -> dict[str, bool]:
    return {role: not one[role] for role in ROLES}


def test_the_page_is_made_from_what_was_tried() -> None:
    assert (ROOT / "docs" / "detectors.md").read_text() == page(RESULTS)


def test_every_config_was_tried_and_most_pass() -> None:
    passing = [name for name in RESULTS["configs"] if all(outcome(tried(name)).values())]
    assert len(passing) >= LEAST
    said = [tried(name)[role] for name in RESULTS["configs"] for role in ROLES]
    assert not [one for one in said if one.startswith("RAW") or "took more" in one], "all refusals are sentences"


@pytest.mark.slow
def test_some_are_what_the_table_says(tmp_path: Path) -> None:
    names = [
        "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
        "glip/glip_atss_swin-t_b_fpn_dyhead_16xb2_ms-2x_funtune_coco.py",
    ]
    for name, found in walked(names, tmp_path / "zoo.json", 1).items():
        assert outcome(found) == outcome(tried(name)), found


def test_a_detector_of_one_class_is_tried_on_data_of_one_and_others_on_more(tmp_path: Path) -> None:
    crowd, other = "crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py", "atss/atss_r50_fpn_1x_coco.py"
    assert [len(classes_for(one)) for one in (crowd, other)] == [1, 3]
    assert kind_of(crowd) == "CrowdDet, FPN, one class"
    assert not any(tried(crowd)[role] for role in ROLES)
    merged = draw_one_class(tmp_path / "data")
    assert draw_one_class(tmp_path / "data") == merged
    for part in ("train.json", "val.json"):
        whole, one = (json.loads((folder / part).read_text()) for folder in (tmp_path / "data", merged))
        assert [image["file_name"] for image in whole["images"]] == [image["file_name"] for image in one["images"]]
        assert [box["bbox"] for box in whole["annotations"]] == [box["bbox"] for box in one["annotations"]]
        assert {box["category_id"] for box in one["annotations"]} == {one["categories"][0]["id"]}
        assert len(one["categories"]) == 1
        assert all((merged / "images" / image["file_name"]).is_file() for image in one["images"])


@pytest.mark.slow
def test_no_config_is_missing() -> None:
    assert set(RESULTS["configs"]) == {name for name in zoo_names() if model_of(name) is not None}


@pytest.mark.slow
def test_one_of_each_kind_is_what_the_table_says(tmp_path: Path) -> None:
    found = walked(of_kinds(), tmp_path / "zoo.json", 2)
    others = {name: one for name, one in found.items() if outcome(one) != outcome(tried(name))}
    assert not others
