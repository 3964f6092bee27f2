"""An exported student works in plain mmdet, without ikd, and is as good there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikd.export import Exported, export_student
from tests.unit.export.students import train_student

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("plain_mmdet.py")
COMPILED_PYTHON = "IKD_COMPILED_PYTHON"
"""Names the interpreter of an environment with the compiled onedl-mmcv, mmdet and pycocotools, and without ikd."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="module")
def exported(place: Path) -> Exported:
    """A student whose config points at data that is not there: using a detector needs none."""
    made = export_student(train_student(place).best, place / "export")
    text = made.config.read_text()
    assert text.count(str(place)) == 1
    made.config.write_text(text.replace(str(place), "/nowhere"))
    return made


def run_plainly(python: str, exported: Exported, place: Path, *, mode: str) -> dict[str, Any]:
    """Evaluate in a new process, in another folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "IKD", "VIRTUAL"))}
    if mode == "ikd.ops":
        environment["PYTHONPATH"] = str(ROOT)
    data = place / "data"
    script = place / SCRIPT.name  # elsewhere: the folder of a script is on its path
    script.write_text(SCRIPT.read_text())
    arguments = [str(exported.directory), str(data / "train.json"), str(data / "images"), mode]
    done = subprocess.run(
        [python, str(script), *arguments], capture_output=True, text=True, cwd=place, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_config_needs_no_more_of_ikd_than_its_kernels(exported: Exported, place: Path) -> None:
    found = run_plainly(sys.executable, exported, place, mode="ikd.ops")
    assert found["bbox_mAP"] > 0.05, "else the comparison says nothing"
    assert found["bbox_mAP"] == pytest.approx(exported.metrics["bbox_mAP"], abs=1e-4)
    assert [name for name in found["ikd"] if not name.startswith(("ikd.ops", "ikd.errors", "ikd.masking"))] == ["ikd"]


@pytest.mark.skipif(COMPILED_PYTHON not in os.environ, reason=f"{COMPILED_PYTHON} names no interpreter")
def test_compiled_mmcv_without_ikd_gives_the_same_map(exported: Exported, place: Path) -> None:
    found = run_plainly(os.environ[COMPILED_PYTHON], exported, place, mode="compiled")
    assert found["kernels"].endswith(".so"), "these are mmcv's compiled kernels"
    assert found["ikd"] == []
    assert found["bbox_mAP"] == pytest.approx(exported.metrics["bbox_mAP"], abs=1e-4)
