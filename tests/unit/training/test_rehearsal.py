"""What a rehearsal refuses, in which words, what it remembers, and what it leaves alone."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.config import Detector, Recipe
from ikd.data import DataFiles
from ikd.detectors import build_detector, detector_config
from ikd.errors import BadInput, CheckpointError, ClassesError, NonFiniteLoss
from ikd.home import cache
from ikd.training import check
from ikd.training.rehearsal import stage
from ikd.training.rehearsal.excerpt import write_excerpt
from ikd.training.rehearsal.record import rehearsal_key

Build = Callable[..., Recipe]
CPU = torch.device("cpu")
SMALL = {"base_channels": 4, "neck_channels": 16}
HEAD = "ikd.distill.detector.DistillDetector"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that remembers nothing."""
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    return tmp_path


class Failing:
    """Raises when it is called, and remembers that."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.asked = True
        raise self.error


def noting(method: Any, made: list[str]) -> Any:
    def noted(self: Any, *args: Any) -> Any:
        made.append(method.__name__.strip("_"))
        return method(self, *args)

    return noted


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were rehearsed."""
    made: list[str] = []
    for name in ("_predict", "_attack", "_train"):
        monkeypatch.setattr(stage._Rehearsal, name, noting(getattr(stage._Rehearsal, name), made))
    return made


def key(recipe: Recipe) -> str:
    return rehearsal_key(recipe.stages[0], DataFiles.of(recipe), CPU, sees=False)


def test_a_pair_is_rehearsed_once_and_then_its_teachers_training(
    tiny_recipe: Build, fresh: Path, runs: list[str]
) -> None:
    check(tiny_recipe())
    assert runs == ["predict", "attack", "train", "train", "predict", "train"]  # both phases; the teacher has one
    check(tiny_recipe())
    assert len(runs) == 6
    check(tiny_recipe(schedule__optimizer__lr=0.5, adversarial__weight=1e-3, attack__steps=9))
    assert len(runs) == 6
    check(tiny_recipe(distill__host="mgd"))
    assert runs[6:] == ["predict", "attack", "train", "train"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"schedule__optimizer__lr": 0.5}, True),
        ({"distill__fgd__temperature": 0.9}, True),
        ({"attack__eps": 4.0}, True),
        ({"attack__steps": 3}, True),
        ({"seed": 5}, True),
        ({"schedule__epochs": 7}, True),
        ({"distill__host": "pkd"}, False),
        ({"attack__loss": "cls+reg"}, False),
        ({"attack__published": True}, False),
        ({"adversarial__enabled": False}, False),
        ({"augment__noise__enabled": False}, False),
        ({"input__scale": [64, 96]}, False),
        ({"input__keep_ratio": False}, False),
        ({"schedule__amp": True}, False),
        ({"schedule__batch_size": 1}, False),
        ({"student__arguments": {"base_channels": 4, "neck_channels": 16, "levels": 4}}, False),
    ],
)
def test_what_can_break_a_step_makes_another_rehearsal(tiny_recipe: Build, change: dict[str, Any], same: bool) -> None:
    assert (key(tiny_recipe(**change)) == key(tiny_recipe())) is same


def test_other_images_or_another_device_make_another_rehearsal(tiny_recipe: Build, tiny_data: Path) -> None:
    recipe = tiny_recipe()
    files, plan = DataFiles.of(recipe), recipe.stages[0]
    swapped = DataFiles(files.val, files.val_images, files.train, files.train_images, files.classes)
    keys = {
        rehearsal_key(plan, files, CPU, sees=False),
        rehearsal_key(plan, files, CPU, sees=True),
        rehearsal_key(plan, files, torch.device("cuda"), sees=False),
        rehearsal_key(plan, swapped, CPU, sees=False),
    }
    assert len(keys) == 4


def test_the_flattest_and_the_steepest_image_with_a_box_are_seen(tiny_recipe: Build, tmp_path: Path) -> None:
    sizes = {1: (100, 100), 2: (90, 30), 3: (30, 90), 4: (300, 10)}
    box = {"bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0, "category_id": 1}
    content = {
        "images": [{"id": key, "file_name": f"{key}.png", "width": w, "height": h} for key, (w, h) in sizes.items()],
        "annotations": [{"id": key, "image_id": key, **box} for key in (1, 2, 3)],
        "categories": [{"id": 1, "name": "a"}],
    }
    file = tmp_path / "all.json"
    file.write_text(json.dumps(content))
    (tmp_path / "short").mkdir()
    short = write_excerpt(DataFiles(file, tmp_path, file, tmp_path, ("a",)), tmp_path / "short")
    seen = json.loads(short.train.read_text())
    assert [image["id"] for image in seen["images"]] == [3, 2]
    assert [one["image_id"] for one in seen["annotations"]] == [3, 2]


def test_generators_stay_and_nothing_but_the_record_is_left(tiny_recipe: Build, fresh: Path) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    check(tiny_recipe())
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), states[2])
    records = [path for path in cache("rehearsals").iterdir() if path.suffix != ".lock"]
    assert len(records) == 2
    assert not cache("perturbations").exists()


def broken(monkeypatch: pytest.MonkeyPatch, target: str, message: str = "shape '[1]' is wrong\nmore") -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(message)

    monkeypatch.setattr(target, fail)


FAULTS = {
    "student": (
        "mmdet.models.dense_heads.RetinaHead.loss_by_feat",
        {"adversarial__enabled": False},
        r"^recipe drawn_r18: student: ikd::retinanet_r18 cannot make a training step at 96x96 and .* px: "
        r"RuntimeError: shape '\[1\]' is wrong, in student\.bbox_head \(RetinaHead\)$",
    ),
    "prediction": (
        "mmdet.models.dense_heads.RetinaHead.predict_by_feat",
        {},
        r"^recipe drawn_r18: student: ikd::retinanet_r18 cannot predict at 96x96 px: RuntimeError",
    ),
    "attack": (
        "mmdet.models.dense_heads.RetinaHead.loss_by_feat",
        {},
        r"^recipe drawn_r18: teachers\.available\.big: ikd::retinanet_r18 cannot be attacked .*: RuntimeError",
    ),
    "host": (
        "ikd.distill.losses.fgd._GlobalContext.forward",
        {},
        r"^recipe drawn_r18: distill: ikd::retinanet_r18 cannot distil with fgd at 96x96 and .* px: RuntimeError",
    ),
    "adversarial term": (
        "ikd.distill.losses.adversarial.Adversarial.forward",
        {},
        r"^recipe drawn_r18: adversarial: ikd::retinanet_r18 cannot make a training step at 96x96 and .*: RuntimeError",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_is_raised_becomes_a_sentence_about_the_field(
    name: str, tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, changes, message = FAULTS[name]
    broken(monkeypatch, target)
    with pytest.raises(BadInput, match=message) as caught:
        check(tiny_recipe(**changes))
    assert "\n" not in str(caught.value)
    records = [path for path in cache("rehearsals").iterdir() if path.suffix != ".lock"]
    assert records == []  # what failed is tried again


def test_a_known_fault_names_the_way_out(tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "mmdet.models.dense_heads.RetinaHead.loss_by_feat", "selected index k out of range")
    with pytest.raises(BadInput, match=r"raise input\.scale, or lower num_queries and test_cfg\.max_per_img"):
        check(tiny_recipe(adversarial__enabled=False))


def test_a_refusal_of_ikds_own_keeps_its_words(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise BadInput("attack.loss: must be cls+reg")

    monkeypatch.setattr("ikd.attack.gradient.teacher_loss", refused)
    with pytest.raises(BadInput, match=r"^recipe drawn_r18: attack\.loss: must be cls\+reg$"):
        check(tiny_recipe())


def test_a_teacher_that_cannot_be_trained_is_told_before_any_is(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(adversarial__enabled=False, augment__enabled=False)
    with monkeypatch.context() as patch:
        broken(patch, "ikd.training.rehearsal.stage._Rehearsal.run")
        for plan in recipe.stages:  # the pair itself is known to be well
            record = cache("rehearsals") / rehearsal_key(plan, DataFiles.of(recipe), CPU, sees=False)
            record.parent.mkdir(parents=True)
            record.touch()
    broken(monkeypatch, "mmdet.models.dense_heads.RetinaHead.predict_by_feat")
    message = r"^recipe drawn_r18: teachers\.available\.big, which has no checkpoint .*: recipe .*cannot predict"
    with pytest.raises(BadInput, match=message):
        check(recipe)


def test_a_loss_that_is_not_finite_is_the_trials_business(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*args: Any, **kwargs: Any) -> Any:
        raise NonFiniteLoss({"cls": float("nan")}, 0, 0)

    monkeypatch.setattr(f"{HEAD}.train_step", diverge)
    check(tiny_recipe())


def test_memory_that_others_hold_is_no_fault_and_nothing_is_remembered(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"{HEAD}.train_step", full)
    check(tiny_recipe())
    assert [path for path in cache("rehearsals").iterdir() if path.suffix != ".lock"] == []


def test_a_teacher_that_cannot_look_for_labels_is_told_before_training(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "find_boxes", failing := Failing(RuntimeError("selected index k out of range")))
    check(tiny_recipe(adversarial__enabled=False))
    assert not failing.asked
    labels = {"enabled": True, "labelled": "fill"}
    with pytest.raises(
        BadInput, match=r"teachers\.available\.big: .* cannot look for boxes in images of up to 160 x 160 px"
    ):
        check(tiny_recipe(adversarial__enabled=False, distill__labels=labels))


PLACES = {
    "student": ({"student__checkpoint": "{file}"}, r"student\.checkpoint: .*its backbone alone serves any classes"),
    "teacher": (
        {"teachers__available": {"big": {"config": "ikd::retinanet_r18", "arguments": SMALL, "checkpoint": "{file}"}}},
        r"teachers\.available\.big\.checkpoint: .*class_map says which of theirs stand for ours",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_of_other_classes_are_refused_by_field_and_with_a_way_out(
    place: str, tiny_recipe: Build, fresh: Path
) -> None:
    file = fresh / "weights.pth"
    weights = build_detector(detector_config("ikd::retinanet_r18", arguments=SMALL, classes=["x"])).state_dict()
    torch.save({"state_dict": weights, "meta": {"dataset_meta": {"classes": ["x"]}}}, file)
    changes, message = PLACES[place]
    written = json.loads(json.dumps(changes).replace("{file}", str(file)))
    recipe = tiny_recipe(adversarial__enabled=False, student__arguments=SMALL, **written)
    with pytest.raises(ClassesError, match=rf"^recipe drawn_r18: {message}"):
        check(recipe)
    torch.save({key: value for key, value in weights.items() if key.startswith("backbone.")}, file)
    with pytest.raises(CheckpointError, match=r"checkpoint: .*it holds a backbone alone, which is given by overrides"):
        check(recipe)


@pytest.mark.parametrize("place", ["student", "teachers.available.big"])
def test_a_config_that_is_not_there_is_refused_by_field(place: str, tiny_recipe: Build, fresh: Path) -> None:
    recipe = tiny_recipe().with_values({f"{place}.config": "mmdet::nothing/like_that.py"})
    with pytest.raises(BadInput, match=rf"^recipe drawn_r18: {re.escape(place)}: mmdet ships no config called"):
        check(recipe)


def test_images_that_are_not_there_are_named_before_anything_is_tried(
    tiny_recipe: Build, tiny_data: Path, fresh: Path
) -> None:
    root = fresh / "data"
    (root / "images").mkdir(parents=True)
    for part in ("train.json", "val.json"):
        (root / part).write_text((tiny_data / part).read_text())
    with pytest.raises(BadInput, match=r"train\.json: images\[0\]\.file_name: the file must exist in .*/data/images"):
        check(tiny_recipe(data__root=str(root)))


def test_large_inputs_are_rehearsed_smaller_on_a_cpu_and_whole_on_a_gpu(tiny_recipe: Build) -> None:
    large = tiny_recipe(input__scale=[1333, 800])
    assert stage._affordable(large, CPU).input.scale == (512, 307)
    assert stage._affordable(large, torch.device("cuda")).input.scale == (1333, 800)
    assert stage._affordable(tiny_recipe(), CPU).input.scale == (96, 96)


def test_batches_are_rehearsed_at_both_ends_of_their_sizes(
    tiny_recipe: Build, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmdet.models.backbones import ResNet

    def narrow(self: Any, images: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(max(images.shape[2:]) if self.training else 0)
        if self.training and max(images.shape[2:]) > 96:  # the probe, in evaluation, looks at larger ones
            raise RuntimeError("input is larger than its table of positions")
        return forward(self, images, *args, **kwargs)

    sizes: list[int] = []
    forward = ResNet.forward
    monkeypatch.setattr(ResNet, "forward", narrow)
    check(tiny_recipe(input__batch_scale={"enabled": True, "ratio": [0.5, 1.0]}).student_alone())
    assert set(sizes) == {0, 64, 96}  # half of 96, padded to 64, and the whole
    larger = tiny_recipe(input__batch_scale={"enabled": True, "ratio": [0.5, 1.5]}).student_alone()
    with pytest.raises(BadInput, match=r"student: .* cannot make a training step at 144x144 .*larger than its table"):
        check(larger)


def test_layer_and_kernel_are_named() -> None:
    from ikd.ops.nms import nms
    from ikd.training.rehearsal.blame import refuse_step

    class Layer(torch.nn.Module):
        def forward(self, boxes: Any) -> Any:
            return nms(boxes, torch.zeros(3), 0.5, 0)

    top = torch.nn.Sequential(Layer())
    try:
        top(None)
    except Exception as error:
        message = r"^student: mmdet::a\.py cannot predict: .*, in student\.0 \(Layer\), kernel nms of ikd\.ops$"
        with pytest.raises(BadInput, match=message):
            refuse_step("student", Detector(config="mmdet::a.py"), "predict", error, {"student": top})
