"""GK's Tables 2 and 8 on VOC: the recipes say what the paper does, their detectors fit, and a training goes through."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from typer.testing import CliRunner

from ikd.cli import commands
from ikd.config import Recipe, load_recipe, load_sweep, recipe_names
from ikd.data import import_voc
from ikd.data.voc import VOC_CLASSES
from ikd.detectors import build_detector, detector_config, freeze, shared_levels
from ikd.training import EpochReport, run_trial
from tests.contracts.test_coco_recipe import small
from tests.unit.data.voc_sets import as_devkit

ROOT = Path(__file__).parents[2]
STUDENTS = {
    "faster_rcnn": ("FasterRCNN", 0.02, (4, 8, 16, 32), 54.2, 82.1),
    "retinanet": ("RetinaNet", 0.01, (8, 16, 32, 64, 128), 56.1, 80.9),
}
TEACHERS = {"faster_rcnn": (56.3, 82.7), "retinanet": (58.2, 82.0)}
# method: paper's AP and AP50 of Faster R-CNN, then of RetinaNet
ROWS = {
    "fitnet": ((55.0, 82.2), (56.4, 81.7)),
    "fgfi": ((55.3, 82.1), (55.6, 81.4)),
    "fbkd": ((55.4, 82.0), (56.7, 81.9)),
    "icd": ((56.4, 82.4), (57.7, 82.4)),
    "gid": ((56.5, 82.6), (57.9, 82.0)),
    "": ((56.7, 82.9), (58.6, 82.4)),
}
DEEP = "voc_faster_rcnn_r152"
NAMES = sorted(name for name in recipe_names() if name.startswith(("voc_", "gk_table2_")) and name != DEEP)


def family_of(name: str) -> str:
    return next(family for family in STUDENTS if family in name)


def figures(recipe: Recipe) -> tuple[float, float]:
    found = re.search(r"paper (\d+\.\d), AP50 (\d+\.\d)\)", recipe.description)
    assert found is not None
    return float(found[1]), float(found[2])


def test_every_row_has_its_recipe_and_no_other() -> None:
    rows = {f"gk_table2_{family}{'_' if host else ''}{host}" for family in STUDENTS for host in ROWS}
    assert set(NAMES) == rows | {f"voc_{family}_{depth}" for family in STUDENTS for depth in ("r50", "r101")}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_the_paper_does(name: str) -> None:
    recipe, family = load_recipe(name), family_of(name)
    assert recipe.validate == ("bbox", "voc")
    assert recipe.input.scale == (1000, 600)
    assert recipe.data.train.annotations == "train.json"
    assert (recipe.data.train.images, recipe.data.val.images) == (".", ".")
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.optimizer.lr, schedule.clip) == (24, STUDENTS[family][1], None)
    assert [round(24 * share) for share in schedule.policy.milestones] == [16, 22]
    if name.startswith("voc_"):
        wanted = TEACHERS[family] if name.endswith("r101") else STUDENTS[family][3:]
        assert (figures(recipe), recipe.teachers.sequence) == (wanted, ())
        return
    host = name.removeprefix(f"gk_table2_{family}").removeprefix("_")
    assert figures(recipe) == ROWS[host][list(STUDENTS).index(family)]
    assert (recipe.distill.host, recipe.distill.prototypes.enabled) == (host or "none", not host)
    (stage,) = recipe.teachers.stages
    teacher = recipe.teachers.available[stage.teacher]
    assert (teacher.recipe, teacher.ap) == (f"voc_{family}_r101", TEACHERS[family][0])
    assert load_recipe(f"voc_{family}_r101").student.config == teacher.config, "what is trained is what teaches"
    chosen = recipe.distill.prototypes
    assert (chosen.global_weight, chosen.feature_weight, chosen.count, chosen.strength) == (5.0, 1.0, 10, 10.0)


def test_table_8_has_a_deeper_teacher_and_differs_in_nothing_else() -> None:
    ours, defeat = load_recipe("gk_table8_faster_rcnn"), load_recipe("gk_table8_faster_rcnn_defeat")
    assert {name for name in recipe_names() if name.startswith("gk_table8_")} == {ours.name, defeat.name}
    assert (defeat.distill.host, defeat.distill.prototypes.enabled) == ("defeat", False)
    table_2 = {"teachers.sequence": ["faster_rcnn_r101"]}
    assert ours.with_values(table_2).fingerprint() == load_recipe("gk_table2_faster_rcnn").fingerprint()
    teacher, trained = ours.teacher, load_recipe(DEEP).student
    assert teacher is not None
    assert teacher.recipe == DEEP
    assert (teacher.config, teacher.overrides) == (trained.config, {"backbone.depth": 152}), "what is trained teaches"
    kept = detector_config(trained.config, overrides=trained.overrides, classes=VOC_CLASSES, pretrained_backbone=True)
    assert kept.backbone.init_cfg.checkpoint == "torchvision://resnet152"
    built = detector_config(teacher.config, overrides=teacher.overrides, classes=VOC_CLASSES)
    assert [len(one) for one in _stages(build_detector(built))] == [3, 8, 36, 3]


def _stages(detector: Any) -> list[Any]:
    return [getattr(detector.backbone, name) for name in detector.backbone.res_layers]


def test_the_space_of_tables_5_and_6_is_searched_by_vocs_metric() -> None:
    files = load_sweep(ROOT / "search_spaces" / "global_knowledge_voc.yaml")
    assert (files.space.objective.metric, files.recipe.name) == ("voc_AP50_07", "gk_table2_faster_rcnn")


@pytest.mark.slow
@pytest.mark.parametrize("family", STUDENTS)
def test_its_detectors_are_a_pair(family: str) -> None:
    recipe = load_recipe(f"gk_table2_{family}")
    teacher = recipe.teacher
    assert teacher is not None
    pair = [build_detector(detector_config(one.config, classes=VOC_CLASSES)) for one in (recipe.student, teacher)]
    assert [type(one).__name__ for one in pair] == [STUDENTS[family][0]] * 2
    assert shared_levels(pair[0], freeze(pair[1])).strides == STUDENTS[family][2]


@pytest.mark.parametrize(("threshold", "seen"), [(None, 0), (0.5, -1)])
def test_what_is_set_aside_is_background_unless_the_assigner_is_told(threshold: float | None, seen: int) -> None:
    """As docs/howto/voc.md says: mmdet's -1 counts an anchor within a difficult box for background."""
    key = "train_cfg.assigner.ignore_iof_thr"
    overrides = {} if threshold is None else {key: threshold}
    small_arguments = {"base_channels": 8, "neck_channels": 16}
    config = detector_config("ikd::retinanet_r18", arguments=small_arguments, overrides=overrides, classes=["a"])
    head: Any = build_detector(config).bbox_head
    anchors = InstanceData(priors=torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 50], [80, 80, 90, 90]]))
    truth = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([0]))
    aside = InstanceData(bboxes=torch.tensor([[38.0, 38, 60, 60]]), labels=torch.tensor([0]))
    assigned = head.assigner.assign(anchors, truth, aside)
    assert assigned.gt_inds.tolist() == [1, seen, 0]


@pytest.mark.slow
def test_a_row_is_trained_on_a_devkit(session_home: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = as_devkit(tiny_data, tmp_path / "VOCdevkit")
    import_voc(folder)
    chosen = {"data.train.images": ".", "data.val.images": ".", "distill.prototypes.min_side": 4}
    reports: list[EpochReport] = []
    run_trial(small("gk_table2_faster_rcnn", folder, tmp_path, **chosen), reports.append, directory=tmp_path / "trial")
    metrics = reports[0].metrics
    assert {"voc_AP50", "voc_AP50_07", "bbox_mAP"} <= set(metrics)
    assert all(math.isfinite(value) for key, value in metrics.items() if key.startswith("loss/"))
    assert any("prototypes" in key for key in metrics)


@pytest.mark.slow
def test_a_person_imports_and_trains(session_home: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The commands as they are given: what is printed goes into a recipe."""
    folder = as_devkit(tiny_data, tmp_path / "VOCdevkit")
    run = CliRunner().invoke(commands.app, ["data", "from-voc", str(folder)])
    assert run.exit_code == 0, run.output
    lines = run.output[run.output.index("data:\n") :]
    (tmp_path / "mine.yaml").write_text(f"name: mine\nbase: drawn_r18\n{lines}")
    alone = {"student.inherit": "false", "teachers.sequence": "[]", "augment.enabled": "false"}
    alone |= {"adversarial.enabled": "false", "distill.host": "none", "schedule.epochs": "1"}
    sets = [word for name, value in alone.items() for word in ("--set", f"{name}={value}")]
    run = CliRunner().invoke(commands.app, ["train", str(tmp_path / "mine.yaml"), "--to", str(tmp_path / "out"), *sets])
    assert run.exit_code == 0, run.output
    assert re.search(r"epoch 1/1  mAP \d+\.\d  VOC AP50 \d+\.\d \(07: \d+\.\d\)", run.output), run.output
    assert "with ignore" in run.output
