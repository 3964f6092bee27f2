"""The recipes in the package say who they are, and the small ones are the papers' pairs made small."""

from __future__ import annotations

from typing import Any

import pytest

from ikd.config import HOSTS, Detector, Recipe, load_recipe, recipe_groups, recipe_names
from ikd.detectors import build_detector, detector_config, freeze, inherit, shared_levels

# recipe: detectors of student and teacher, strides they share, recipe of COCO whose family's weights it has
SMALL: dict[str, tuple[str, str, tuple[int, ...], str]] = {
    "small_r18": ("RetinaNet", "RetinaNet", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
    "small_gfl": ("GFL", "GFL", (8, 16, 32, 64, 128), "coco_gfl_r50"),
    "small_bckd": ("GFL", "GFL", (8, 16, 32, 64, 128), "coco_gfl_r50"),
    "small_ld": ("GFL", "GFL", (8, 16, 32, 64, 128), "coco_gfl_r50"),
    "small_kd_detr": ("DINO", "DINO", (8, 16, 32), "coco_retinanet_r50"),
    "small_atss": ("ATSS", "ATSS", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
    "small_reppoints": ("RepPointsDetector", "RepPointsDetector", (8, 16, 32, 64, 128), "coco_reppoints_r50"),
    "small_fcos": ("FCOS", "FCOS", (8, 16, 32, 64, 128), "coco_fcos_r50"),
    "small_faster_rcnn": ("FasterRCNN", "FasterRCNN", (4, 8, 16, 32), "coco_faster_rcnn_r50"),
    "small_mask_rcnn": ("MaskRCNN", "MaskRCNN", (4, 8, 16, 32), "coco_mask_rcnn_r50"),
    "small_cascade": ("MaskRCNN", "CascadeRCNN", (4, 8, 16, 32), "coco_mask_rcnn_r50"),
    "small_retinanet_from_swin": ("RetinaNet", "FasterRCNN", (8, 16, 32), "coco_retinanet_r50"),
    "small_retinanet_from_cascade": ("RetinaNet", "CascadeRCNN", (8, 16, 32), "coco_retinanet_r50"),
    "small_unlabelled": ("RetinaNet", "RetinaNet", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
    "small_together": ("RetinaNet", "RetinaNet", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
    "small_gk": ("RetinaNet", "RetinaNet", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
    "small_rtmdet": ("RTMDet", "RTMDet", (8, 16, 32), "rtmdet_tiny_from_s"),
    "small_rtmdet_from_swin": ("RTMDet", "FasterRCNN", (8, 16, 32), "rtmdet_tiny_from_s"),
    "small_yolox": ("YOLOX", "RTMDet", (8, 16, 32), "yolox_s_from_l"),
    "small_dfmsd": ("RetinaNet", "RetinaNet", (8, 16, 32, 64, 128), "coco_retinanet_r50"),
}
OWN_TRAINING = {
    "small_rtmdet": "small_rtmdet_teacher",
    "small_rtmdet_from_swin": "small_r18_teacher",
    "small_yolox": "small_rtmdet_teacher",
    "small_kd_detr": "small_kd_detr_teacher",
}
"""Small recipes whose students are trained in another way than a RetinaNet, and their teachers' recipe."""
OWN_REFERENCE = {"small_yolox": (640, 640, 256)}
AS_THE_FAMILY = sorted(set(HOSTS) - {"crosskd", "pkd"})  # those two depend on the towers and on the teacher


def built(detector: Detector) -> Any:
    return build_detector(detector_config(detector.config, arguments=detector.arguments, classes=["a", "b"]))


def teachers(recipe: Recipe) -> list[Any]:
    return [recipe.teachers.available[stage.teacher] for stage in recipe.teachers.stages]


def test_no_small_recipe_is_missing_here() -> None:
    assert set(SMALL) == {name for name in recipe_names() if name.startswith("small_") and "_teacher" not in name}


def test_every_recipe_describes_itself() -> None:
    described = [load_recipe(name).description for name in recipe_names()]
    assert all(described)
    assert len(set(described)) == len(described)


@pytest.mark.parametrize("name", SMALL)
def test_small_pairs_fit_and_inherit_where_they_say(name: str) -> None:
    recipe = load_recipe(name)
    student_type, teacher_type, strides, _ = SMALL[name]
    student = built(recipe.student)
    for entry in teachers(recipe):
        teacher = freeze(built(entry))
        assert (type(student).__name__, type(teacher).__name__) == (student_type, teacher_type)
        assert shared_levels(student, teacher).strides == strides
        assert sum(weight.numel() for weight in teacher.parameters()) > sum(w.numel() for w in student.parameters())
        if recipe.student.inherit:
            assert any("head" in key for key in inherit(student, teacher))
    assert recipe.student.inherit == (student_type == teacher_type and name not in {"small_dfmsd", *OWN_TRAINING})


@pytest.mark.parametrize("name", SMALL)
def test_small_recipes_have_their_familys_weights_rescaled(name: str) -> None:
    recipe, coco = load_recipe(name), load_recipe(SMALL[name][3])
    family = coco.with_values({"distill.dfmsd.beta": None}).distill  # the tables have the form that adds
    for host in AS_THE_FAMILY:
        ours, theirs = (getattr(one, host).model_dump(exclude={"dims", "warmup"}) for one in (recipe.distill, family))
        assert ours == theirs, "but for what a short training of a small student has smaller"
    assert (recipe.distill.me.form, recipe.distill.me.stop_fraction) == ("replaced", 1.0)
    assert recipe.adversarial.weight == coco.adversarial.weight
    assert recipe.input.order == coco.input.order
    crossing = recipe.distill.crosskd, coco.distill.crosskd
    assert (crossing[0].w_cls, crossing[0].w_reg) == (crossing[1].w_cls, crossing[1].w_reg)
    assert crossing[0].position == 1  # of one tower convolution
    two_stage_teacher = SMALL[name][1] in ("FasterRCNN", "MaskRCNN", "CascadeRCNN")
    assert (recipe.distill.pkd.weight, recipe.distill.sfa.weight) == (6.0 if two_stage_teacher else 10.0, 1.0)
    assert recipe.distill.rescale_from is not None
    reference = recipe.distill.rescale_from
    expected = OWN_REFERENCE.get(name, (1088, 800, 256))
    assert (reference.width, reference.height, reference.channels) == expected


@pytest.mark.parametrize("name", SMALL)
def test_small_teachers_are_trained_twice_as_long_as_small_students(name: str) -> None:
    recipe = load_recipe(name)
    for teacher in teachers(recipe):
        assert teacher.recipe == OWN_TRAINING.get(name, "small_r18_teacher")
        alone = load_recipe(teacher.recipe.removesuffix("_teacher"))
        assert load_recipe(teacher.recipe).total_epochs == 2 * alone.total_epochs
        assert load_recipe(teacher.recipe).input == recipe.input.model_copy(update={"order": "flip_crop"})


def test_small_dfmsd_goes_from_weak_to_strong() -> None:
    recipe = load_recipe("small_dfmsd")
    assert [(stage.teacher, stage.recipe.distill.me.enabled, stage.boxes_from) for stage in recipe.stages] == [
        ("r18x16", False, None),
        ("r18x32", True, "r18x16"),
    ]
    assert [teacher.ap for teacher in teachers(recipe)] == [38.6, 40.0]
    assert recipe.distill.host == "dfmsd"
    assert recipe.distill.sfa.enabled
    assert not recipe.augment.enabled


def test_recipes_are_listed_by_the_table_that_they_are_a_row_of() -> None:
    groups = recipe_groups()
    assert set(groups["IKD Table A.1"]) == {f"ikd_table_a1_{one}" for one in ("double", "half", "published", "quarter")}
    assert not any(said.startswith((".", ":", ",")) for recipes in groups.values() for said in recipes.values())
    assert list(groups)[-1] == "Others"
