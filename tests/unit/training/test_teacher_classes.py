"""Teachers that know other classes than the data set: their own, or more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe, Teacher
from ikd.detectors import ClassRows, build_detector, detector_config, wanted_classes, weights_sha256
from ikd.errors import BadInput, CheckpointError, ConfigError
from ikd.training import load_teacher
from tests.unit.detectors.kinds.mmdets import CROWD, SMALL, small

OURS = ["circle", "square", "triangle"]
THEIRS = ["car", "triangle", "dog", "round", "square"]
ARGUMENTS = {"base_channels": 4, "neck_channels": 16}
IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def config_of(name: str) -> Any:
    return {"config": f"ikd::{name}", "arguments": ARGUMENTS}


def saved(name: str, folder: Path, names: list[str], *, told: bool = True) -> tuple[Any, Path]:
    """Return a detector of these classes, and the file of its weights."""
    torch.manual_seed(1)
    detector = build_detector(detector_config(f"ikd::{name}", arguments=ARGUMENTS, classes=names)).eval()
    file = folder / f"{name}-{len(names)}-{told}.pth"
    meta = {"dataset_meta": {"classes": names}} if told else {}
    torch.save({"state_dict": {f"module.{key}": one for key, one in detector.state_dict().items()}, "meta": meta}, file)
    return detector, file


def mapped(name: str, **changes: Any) -> Teacher:
    return Teacher(**config_of(name), class_map={"circle": "round"}, **changes)


@pytest.mark.parametrize("names", [THEIRS, ["triangle", "round", "square"]], ids=["more", "another order"])
@pytest.mark.parametrize("name", ["retinanet_r18", "gfl_r18"])
def test_a_class_map_cuts_a_dense_head_to_our_classes(name: str, names: list[str], tmp_path: Path) -> None:
    whole, file = saved(name, tmp_path, names)
    teacher: Any = load_teacher(mapped(name), file, OURS)
    with torch.no_grad():
        theirs, ours = (one.bbox_head(one.extract_feat(IMAGE)) for one in (whole, teacher))
    chosen = [names.index(one) for one in ("round", "square", "triangle")]
    for there, here in zip(theirs[0], ours[0], strict=True):
        split = there.unflatten(1, (-1, len(names)))[:, :, chosen].flatten(1, 2)
        torch.testing.assert_close(here, split)
    for there, here in zip(theirs[1], ours[1], strict=True):
        torch.testing.assert_close(here, there)


def test_a_class_map_cuts_a_second_stage_with_its_boxes_and_background(tmp_path: Path) -> None:
    whole, file = saved("mask_rcnn_r18", tmp_path, THEIRS)
    teacher: Any = load_teacher(mapped("mask_rcnn_r18"), file, OURS)
    features = torch.randn(5, 16, 7, 7)
    with torch.no_grad():
        (scores, boxes), (our_scores, our_boxes) = (one.roi_head.bbox_head(features) for one in (whole, teacher))
    torch.testing.assert_close(our_scores, scores[:, [3, 4, 1, 5]])
    torch.testing.assert_close(our_boxes, boxes.unflatten(1, (5, 4))[:, [3, 4, 1]].flatten(1))
    masks, ours = (one.roi_head.mask_head.conv_logits.weight for one in (whole, teacher))
    assert torch.equal(ours, masks[[3, 4, 1]])


def test_a_class_map_of_one_class_renames_it_where_no_head_could_know_two(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = build_detector(small(CROWD, ["person"]))
    torch.save({"state_dict": whole.state_dict(), "meta": {"CLASSES": ["person"]}}, tmp_path / "crowd.pth")
    named: dict[str, Any] = {"config": CROWD, "overrides": SMALL, "class_map": {"walker": "person"}}
    teacher: Any = load_teacher(Teacher(**named), tmp_path / "crowd.pth", ["walker"])
    assert weights_sha256(teacher) == weights_sha256(whole)
    assert not any(one.requires_grad for one in teacher.parameters())
    with pytest.raises(BadInput, match=r"class_map.* one of the checkpoint .*but got 'walker: human'"):
        load_teacher(Teacher(**{**named, "class_map": {"walker": "human"}}), tmp_path / "crowd.pth", ["walker"])


def test_rows_that_stand_before_the_classes_stay_in_yolov3() -> None:
    shapes = {classes: {"bbox_head.convs_pred.0.weight": torch.zeros(3 * (5 + classes), 2)} for classes in (2, 4)}
    weights = {"bbox_head.convs_pred.0.weight": torch.arange(3 * 9).float()[:, None].expand(-1, 2)}
    found = ClassRows(shapes[2], 2, shapes[4], 4).cut(weights, 4, [3, 0], "w.pth")
    first = [0, 1, 2, 3, 4, 8, 5]
    rows = [9 * anchor + row for anchor in range(3) for row in first]
    assert found["bbox_head.convs_pred.0.weight"][:, 0].tolist() == rows


def test_a_layer_that_reads_class_scores_is_refused() -> None:
    rows = ClassRows({"point_head.fc.weight": torch.zeros(4, 2)}, 2, {"point_head.fc.weight": torch.zeros(4, 3)}, 3)
    with pytest.raises(BadInput, match=r"'w\.pth' cannot be cut to other classes: point_head\.fc\.weight reads"):
        rows.cut({"point_head.fc.weight": torch.zeros(4, 3)}, 3, [0, 1], "w.pth")


def test_a_class_that_the_checkpoint_lacks_is_named() -> None:
    with pytest.raises(BadInput, match=r"f: must give each class .* one of the .* \(car, .*but got 'circle: circle'"):
        wanted_classes("f", {}, OURS, THEIRS)
    with pytest.raises(BadInput, match=r"but got 'circle: Round'; did you mean 'round'\?"):
        wanted_classes("f", {"circle": "Round"}, OURS, THEIRS)
    with pytest.raises(BadInput, match=r"f: must map classes of the data set \(circle, .*but got 'disc'"):
        wanted_classes("f", {"disc": "round"}, OURS, THEIRS)
    with pytest.raises(BadInput, match=r"must give each class .* another one .*but got 'square'"):
        wanted_classes("f", {"circle": "square"}, OURS, THEIRS)


def test_names_may_be_given_where_the_checkpoint_lacks_them(tmp_path: Path) -> None:
    whole, file = saved("retinanet_r18", tmp_path, THEIRS, told=False)
    with pytest.raises(BadInput, match=r"classes: must list the names of the classes .*but got 'data'"):
        load_teacher(mapped("retinanet_r18"), file, OURS)
    teacher: Any = load_teacher(mapped("retinanet_r18", classes=THEIRS), file, OURS)
    assert teacher.bbox_head.num_classes == 3
    assert torch.equal(teacher.backbone.conv1.weight, whole.backbone.conv1.weight)
    fewer = r"^big\.classes: .* seems to be trained for 5 classes, and not for 4 \(car, triangle, round, square\)"
    with pytest.raises(CheckpointError, match=fewer):
        load_teacher(mapped("retinanet_r18", classes=["car", "triangle", "round", "square"]), file, OURS, field="big")


def test_names_that_are_not_those_the_checkpoint_has_are_refused(tmp_path: Path) -> None:
    _, file = saved("retinanet_r18", tmp_path, THEIRS)
    assert load_teacher(mapped("retinanet_r18", classes=THEIRS), file, OURS)
    rule = r"^big\.classes: must be left at data, as .* names its classes itself: car, triangle, .*but got \['square'"
    with pytest.raises(BadInput, match=rule):
        load_teacher(mapped("retinanet_r18", classes=THEIRS[::-1]), file, OURS, field="big")


@pytest.mark.parametrize(
    ("names", "way"),
    [
        (THEIRS, "a class_map says which of theirs stand for ours, and classes: own does where only maps"),
        ([*OURS[::-1], "dog"], r"class_map: \{\} takes the rows of ours"),
        (OURS[::-1], r"class_map: \{\} takes the rows of ours"),
    ],
)
def test_weights_for_other_classes_are_refused_with_what_would_do(names: list[str], way: str, tmp_path: Path) -> None:
    _, file = saved("retinanet_r18", tmp_path, names)
    with pytest.raises(CheckpointError, match=rf"^big\.checkpoint: '.*' was trained for .*; {way}"):
        load_teacher(Teacher(**config_of("retinanet_r18")), file, OURS, field="big")


@pytest.mark.parametrize("told", [True, False])
def test_a_teacher_may_keep_classes_of_its_own(told: bool, tmp_path: Path) -> None:
    names = [f"class {place}" for place in range(80)]  # as many as the config says
    whole, file = saved("retinanet_r18", tmp_path, names, told=told)
    with pytest.raises(CheckpointError, match=r"trained for 80 classes, (the data set has|and not for) 3"):
        load_teacher(Teacher(**config_of("retinanet_r18")), file, OURS)
    teacher: Any = load_teacher(Teacher(**config_of("retinanet_r18"), classes="own"), file, OURS)
    assert teacher.bbox_head.num_classes == 80
    assert all(torch.equal(one, other) for one, other in zip(teacher.parameters(), whole.parameters(), strict=True))


def test_a_number_of_classes_that_nothing_says_is_that_of_the_config(tmp_path: Path) -> None:
    _, file = saved("retinanet_r18", tmp_path, THEIRS, told=False)
    own: dict[str, Any] = {**config_of("retinanet_r18"), "classes": "own"}
    with pytest.raises(CheckpointError, match=r"says no classes.*overrides change it \(bbox_head\.num_classes\)"):
        load_teacher(Teacher(**own), file, OURS)
    teacher: Any = load_teacher(Teacher(**own, overrides={"bbox_head.num_classes": len(THEIRS)}), file, OURS)
    assert teacher.bbox_head.num_classes == len(THEIRS)


READ = {
    "distill.host": ("crosskd", r"distill\.host: must compare maps alone, such as fgd or pkd,"),
    "distill.response.bckd.enabled": (True, r"distill\.response\.bckd\.enabled: must be false"),
    "distill.labels": (
        {"enabled": True, "labelled": "fill"},
        r"distill\.labels\.enabled: must be false",
    ),
    "student.inherit": (True, r"student\.inherit: must be false"),
    "attack.loss": ("cls", r"attack\.loss: must be feature_distance"),
}


@pytest.mark.parametrize("field", READ)
def test_what_reads_the_classes_of_such_a_teacher_is_refused(
    field: str, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    own = {**config_of("retinanet_r18"), "classes": "own", "checkpoint": str(tmp_path / "w.pth")}
    values = {
        "teachers.available": {"big": own},
        "distill.host": "fgd",
        "student.inherit": False,
        "attack.loss": "feature_distance",
    }
    recipe = tiny_recipe().with_values(values)
    value, message = READ[field]
    with pytest.raises(ConfigError, match=message + r" where teacher big knows other classes"):
        recipe.with_values({field: value})
    before = recipe.with_values({"teachers.available": {"big": {**own, "classes": "data"}}})
    assert before.fingerprint() != recipe.fingerprint()
    assert not {"classes", "class_map"} & before.teachers.available["big"].acting().keys()


def test_classes_go_only_with_what_reads_them(tiny_recipe: Callable[..., Recipe]) -> None:
    own = {**config_of("retinanet_r18"), "recipe": "drawn_r18_teacher"}
    faults: list[tuple[dict[str, Any], str]] = [
        ({"classes": "own"}, r"checkpoint: is needed for classes of its own"),
        ({"classes": ["a"], "checkpoint": "w.pth"}, r"classes: must be data or own without a class_map"),
        ({"classes": "own", "class_map": {}, "checkpoint": "w.pth"}, r"classes: must be data, or the names"),
        *(
            ({"classes": names, "class_map": {}, "checkpoint": "w.pth"}, r"classes: must name each class .* once, and")
            for names in (["a", "a"], [" "], [])
        ),
        ({"classes": "mine"}, r"classes: should be 'data' or 'own', but got 'mine'"),
    ]
    for changes, message in faults:
        with pytest.raises(ConfigError, match=message):
            tiny_recipe().with_values({"teachers.available": {"big": {**own, **changes}}})
