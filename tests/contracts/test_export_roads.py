"""An export works by every road that its card names, in processes that cannot import ikd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet
import pytest

from ikd.data import draw_dataset
from ikd.export import Exported, export_student
from ikd.training import run_trial
from tests.unit.detectors.kinds.mmdets import CROWD, MASKS, PANOPTIC, SMALL
from tests.unit.export.students import recipe_on

OPS = Path(__file__).resolve().parents[2] / "ikd"
TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
PRELUDE = """
import importlib.abc, sys, warnings

class NoIkd(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ikd":
            raise ImportError("there is no ikd here")

sys.meta_path.insert(0, NoIkd())
warnings.simplefilter("ignore")
import stands_for_compiled_mmcv.ops
stands_for_compiled_mmcv.ops.install()
"""
"""Runs when Python starts, as sitecustomize."""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on whose path Python starts without ikd and with kernels for mmcv, under another name."""
    folder = tmp_path_factory.mktemp("kernels")
    package = folder / "stands_for_compiled_mmcv"
    for file in (OPS / "errors.py", OPS / "masking.py", *(OPS / "ops").glob("*.py")):
        copy = package / file.relative_to(OPS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(re.sub(r"\bikd\.(ops|errors|masking)", rf"{package.name}.\1", file.read_text()))
    (package / "__init__.py").touch()
    (folder / "sitecustomize.py").write_text(PRELUDE)
    return folder


Run = Callable[[Path, list[str]], str]


@pytest.fixture(scope="module")
def run(kernels: Path) -> Run:
    """Run a command in an export's folder as somebody without ikd would; returns what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "IKD", "VIRTUAL"))}

    def plainly(folder: Path, command: list[str]) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(kernels)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return plainly


def bare_data(folder: Path) -> Path:
    """Draw images whose annotations lack what exports of labelling tools leave out, numbered from 0."""
    data = draw_dataset(folder / "data", num_train=12, num_val=10, size_px=128, seed=0)
    content = json.loads((data / "train.json").read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number
        del annotation["iscrowd"]
    (data / "train.json").write_text(json.dumps(content))
    return data


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A student of data without `iscrowd`, in a folder whose name needs quoting, then moved there as people do."""
    place = tmp_path_factory.mktemp("roads")
    trained = run_trial(recipe_on(bare_data(place)), directory=place / "trial", threads=1)
    made = export_student(trained.best, place / "made")
    moved = shutil.move(made.directory, place / 'the student\'s "best"')
    shutil.copy(next((place / "data" / "images").glob("*.png")), Path(moved) / "image.png")
    return Exported(**{**vars(made), "directory": Path(moved), "card": Path(moved) / "card.md"})


def blocks(exported: Exported, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", exported.card.read_text(), re.S)


def map_of(printed: str, kind: str = "bbox") -> float:
    return float(re.findall(rf"coco/{kind}_mAP: ([-\d.]+)", printed)[-1])


@pytest.mark.slow
def test_ikd_cannot_be_imported_there(run: Run, exported: Exported) -> None:
    code = "try:\n import ikd\nexcept ImportError as error:\n print(error)"
    assert run(exported.directory, ["-c", code]).strip() == "there is no ikd here"


@pytest.mark.slow
def test_init_detector_as_on_the_card(run: Run, exported: Exported) -> None:
    code = next(block for block in blocks(exported, "python") if "init_detector" in block)
    told = "import json; print(json.dumps([len(found.bboxes), list(detector.dataset_meta['classes'])]))"
    found, classes = json.loads(run(exported.directory, ["-c", code + told]).splitlines()[-1])
    assert found > 0
    assert classes == ["disc", "square", "triangle", "ring"]


@pytest.mark.slow
def test_det_inferencer_as_on_the_card(run: Run, exported: Exported) -> None:
    code = next(block for block in blocks(exported, "python") if "DetInferencer" in block)
    run(exported.directory, ["-c", code])
    predictions: dict[str, Any] = json.loads((exported.directory / "found" / "preds" / "image.json").read_text())
    assert len(predictions["bboxes"]) == len(predictions["labels"]) > 0
    assert (exported.directory / "found" / "vis" / "image.png").is_file()


@pytest.mark.parametrize("elsewhere", [pytest.param(False, marks=pytest.mark.slow), True])
def test_mmdets_own_test_gives_the_cards_map(run: Run, exported: Exported, tmp_path: Path, elsewhere: bool) -> None:
    (commands,) = blocks(exported, "sh")
    command = commands.splitlines()[elsewhere].split()
    assert command[:2] == ["python", "tools/test.py"]
    command[1] = str(TOOLS / "test.py")
    if elsewhere:
        data = Path(re.findall(r"data_root = '(.+)'", (exported.directory / "student.py").read_text())[0])
        shutil.copytree(data / "images", tmp_path / "images")
        command[-1] = command[-1].replace("DATA_ROOT", str(tmp_path))
        assert str(tmp_path) in command[-1]
    printed = run(exported.directory, command[1:])
    assert exported.metrics["bbox_mAP"] > 0.05, "else the comparison says nothing"
    assert map_of(printed) == pytest.approx(exported.metrics["bbox_mAP"], abs=6e-4), "mmdet rounds to three places"


@pytest.mark.slow
def test_the_weights_alone_as_on_the_card(run: Run, exported: Exported) -> None:
    (code,) = re.findall(r"`(torch\.load.+?)`", exported.card.read_text())
    assert int(run(exported.directory, ["-c", f"import torch; print(len({code}))"]).splitlines()[-1]) > 10


@pytest.mark.slow
def test_a_panoptic_fpn_is_tested_by_mmdet_as_what_it_holds(run: Run, tmp_path: Path) -> None:
    student = {"config": PANOPTIC, "overrides": {**SMALL, **MASKS}}
    recipe = recipe_on(bare_data(tmp_path)).with_values(
        {"student": student, "validate": ["bbox", "segm"], "schedule.epochs": 6, "schedule.val_interval": 6}
    )
    made = export_student(run_trial(recipe, directory=tmp_path / "trial", threads=1).best, tmp_path / "made")
    assert "| Left out of its config | semantic_head, panoptic_fusion_head |" in made.card.read_text()
    printed = run(made.directory, [str(TOOLS / "test.py"), "student.py", "student.pth", "--work-dir", "work"])
    for kind in ("bbox", "segm"):
        assert map_of(printed, kind) == pytest.approx(made.metrics[f"{kind}_mAP"], abs=6e-4)


@pytest.mark.slow
def test_a_crowddet_predicts_without_torchvision_and_its_card_says_what_cannot_read_it(
    run: Run, tmp_path: Path
) -> None:
    data = bare_data(tmp_path)
    content = json.loads((data / "train.json").read_text())
    content["categories"] = content["categories"][:1]
    content["annotations"] = [{**one, "category_id": content["categories"][0]["id"]} for one in content["annotations"]]
    (data / "train.json").write_text(json.dumps(content))
    student = {"config": CROWD, "overrides": SMALL}
    recipe = recipe_on(data).with_values({"student": student, "schedule.epochs": 2, "schedule.val_interval": 2})
    made = export_student(run_trial(recipe, directory=tmp_path / "trial", threads=1).best, tmp_path / "made")
    assert "gives this detector's labels as floats" in made.card.read_text()
    image = next((data / "images").glob("*.png"))
    code = next(block for block in blocks(made, "python") if "init_detector" in block)
    told = "print(len(found.bboxes), found.labels.long().unique().tolist(), found.labels.dtype)"
    printed = run(made.directory, ["-c", code.replace("image.png", str(image)) + told]).splitlines()[-1]
    assert re.fullmatch(r"[1-9]\d* \[0\] torch\.float32", printed), "else the card need not say so"


@pytest.mark.slow
def test_masks_are_tested_by_mmdet_too(run: Run, tmp_path: Path) -> None:
    recipe = recipe_on(bare_data(tmp_path)).with_values(
        {"student": {"config": "ikd::mask_rcnn_r18"}, "validate": ["bbox", "segm"], "schedule.epochs": 1}
    )
    made = export_student(run_trial(recipe, directory=tmp_path / "trial", threads=1).best, tmp_path / "made")
    printed = run(made.directory, [str(TOOLS / "test.py"), "student.py", "student.pth", "--work-dir", "work"])
    for kind in ("bbox", "segm"):
        assert map_of(printed, kind) == pytest.approx(made.metrics[f"{kind}_mAP"], abs=6e-4)
