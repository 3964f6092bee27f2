"""Every store that keeps something of single images, and everything that goes on from a checkpoint, on changed data.

People export their data again: ids are numbered anew, files renamed, classes reordered, boxes edited, pictures
replaced. What is kept of an image must be found by what the image shows or made anew, never taken for another's; and
whoever goes on must find what he began with, or be refused with nothing overwritten. Both tables are held against the
code, so that what is added later appears here.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

import ikd
from ikd.attack import PerturbationStore
from ikd.augment import TeacherBoxes, boxes_by_id
from ikd.config import Recipe, SweepFiles, load_recipe
from ikd.data import DataFiles, image_digest
from ikd.errors import BadInput, CheckpointError, DataError
from ikd.evaluation import find_boxes
from ikd.home import Kind
from ikd.sweep.same_data import changed_data, check_same_data, part_name
from ikd.sweep.training import OWN
from ikd.training import load_teacher, prepare, run_trial
from ikd.training.checkpoint import load, save
from ikd.training.loaders import train_loader
from ikd.training.sharing import teacher_weights
from ikd.trial import EpochReport, StopTrial, TrialFolder, TrialOptions
from tests.marks import some
from tests.unit.sweep.conftest import empty_study, make_runner, make_space, open_study
from tests.unit.training.untrained import save_untrained

__all__ = ["empty_study", "open_study"]

Json = dict[str, Any]
Build = Callable[..., Recipe]
PACKAGE = Path(ikd.__file__).parent
SMALL = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}}

PER_IMAGE = {"perturbations", "boxes"}
"""Caches with an entry for each image: `test_*_of_an_image_*` runs every change of the data on each of them."""
WHOLE = {
    "teachers": "weights, named after classes in their order and the content of the data",
    "scores": "one number of a teacher and a data set",
    "drawn": "a data set of its own",
    "checkpoints": "downloads, named after their content",
    "rehearsals": "whether a step can be made; two images, nothing of which is kept",
    "fingerprints": "what files show, named after their times and sizes",
    "checks": "what was found out of files, by their path, time and size",
    "costs": "what things took",
    "coco": "what one annotation file says, named after its content",
    "labels": "a teacher's boxes, an entry for each image by its content; its own tests change images and files",
    "prototypes": "a teacher's features of boxes, named after the content of their annotation file and images",
}
BY_ID = {
    "attack/difgsm.py": "random numbers of an image under attack; any are right",
    "attack/published.py": "likewise",
    "attack/images.py": "passed through to the attack and the metric",
    "augment/pair.py": "passed through to the attack",
    "augment/pipeline.py": "passed through to the metric",
    "attack/crafting.py": "COCO's metric compares detections with the annotations of the same file",
    "evaluation/coco.py": "likewise",
    "data/reader/dataset.py": "each image's entry of the file that is read",
    "pictures/judged.py": "likewise",
    "training/hooks/prototypes.py": "likewise, the boxes of an image",
    "evaluation/labels/making.py": "the place in the list that is seen, within one call",
    "training/unlabelled/images.py": "a name for messages",
    "evaluation/boxes.py": "files of before, whose ids are believed only when the teacher sees the same again",
}
"""Modules that look at an image's id, and what for: never to find what was kept of the image."""
GOES_ON = {
    ("sweep/tune/worker.py", "resumable"): "a trial of a sweep: test_a_sweep_*, and its last.pth as of `ikd train`",
    ("sweep/tune/worker.py", "checkpoint_of"): "a trial of somebody's own Tuner: its last.pth as of `ikd train`",
    ("cli/commands.py", "checkpoint_in"): "ikd train --resume: test_a_training_*",
    ("training/sharing.py", "resumable"): "an interrupted teacher: test_an_interrupted_teacher_*",
    ("training/start.py", "load"): "a trial's own checkpoint and the one it adopts: test_a_training_*, test_adopting_*",
    ("training/trial.py", "load"): "the same trial's: the stage before, and the first process's for the others",
    ("training/checkpoint.py", "load"): "whether it is whole",
}


def permuted(content: Json) -> None:
    ids = [image["id"] for image in content["images"]]
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    _renumber(content, other)


def numbered_apart(content: Json) -> None:
    _renumber(content, {image["id"]: 70_000 + image["id"] for image in content["images"]})


def _renumber(content: Json, other: dict[int, int]) -> None:
    for image in content["images"]:
        image["id"] = other[image["id"]]
    for box in content["annotations"]:
        box["image_id"] = other[box["image_id"]]


def reordered(content: Json) -> None:
    content["categories"].reverse()


def edited(content: Json) -> None:
    del content["annotations"][::3]


def renamed(root: Path) -> None:
    """Give every picture the name that another one had."""
    for part in ("train", "val"):
        content = json.loads((root / f"{part}.json").read_text())
        names = [image["file_name"] for image in content["images"]]
        for image, name in zip(content["images"], names[1:] + names[:1], strict=True):
            (root / "images" / image["file_name"]).rename(root / "images" / f"{name}.moved")
            image["file_name"] = name
        for name in names:
            (root / "images" / f"{name}.moved").rename(root / "images" / name)
        (root / f"{part}.json").write_text(json.dumps(content))


def replaced(root: Path) -> None:
    """Put another picture in the place of one, under its name."""
    path = sorted((root / "images").glob("train*"))[2]
    image = cv2.imread(str(path))
    assert image is not None
    cv2.imwrite(str(path), 255 - image)


def exported(change: Callable[[Json], None]) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        for part in ("train", "val"):
            content = json.loads((root / f"{part}.json").read_text())
            change(content)
            (root / f"{part}.json").write_text(json.dumps(content))

    return act


SAME: dict[str, Callable[[Path], None]] = {
    "ids permuted": exported(permuted),
    "ids that do not overlap": exported(numbered_apart),
    "files renamed": renamed,
}
OTHER: dict[str, tuple[Callable[[Path], None], str]] = {
    "class order changed": (exported(reordered), "the classes are in another order: class 0 was"),
    "boxes edited": (exported(edited), r"the training part had 16 images with \d+ boxes, and has 16 images with \d+"),
    "image replaced": (replaced, r"the training part has 16 images with \d+ boxes as before, but not the same ones"),
}
CHANGES = SAME | {name: change for name, (change, _) in OTHER.items()}


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def seeing(tiny_recipe: Build, data: Path, tmp_path: Path) -> Recipe:
    """Both stores, of a teacher that sees much: its weights are random."""
    recipe = tiny_recipe(data__root=str(data))
    weights = save_untrained(recipe, SMALL, tmp_path / "weights.pth")
    content = torch.load(weights, weights_only=True)
    del content["meta"]  # so that it takes the classes in any order
    content["state_dict"]["bbox_head.retina_cls.weight"] *= 30  # else a fresh head sees nothing anywhere
    content["state_dict"]["bbox_head.retina_cls.bias"] += 2
    torch.save(content, weights)
    return recipe.with_values(
        {
            "teachers.available": {"big": {**SMALL, "checkpoint": str(weights)}},
            "attack.steps": 1,
            "distill.me.enabled": True,
            "input.flip": 0.0,
            "augment.enabled": False,
        }
    )


def kept(recipe: Recipe) -> tuple[PerturbationStore, Path]:
    (stage,) = prepare(recipe).stages
    assert stage.perturbations is not None
    assert stage.boxes is not None
    return PerturbationStore.open(stage.perturbations), stage.boxes


def seen(recipe: Recipe) -> dict[str, Any]:
    """Return what the teacher sees in the images as they are now."""
    files, teacher = DataFiles.of(recipe), recipe.teachers.available["big"]
    assert teacher.checkpoint is not None
    return find_boxes(recipe, files, load_teacher(teacher, teacher.checkpoint, files.classes), None)


def shares(recipe: Recipe, boxes: Path) -> list[float]:
    return [TeacherBoxes(boxes).share(image, (128, 128), 0.2) for image in pictures(recipe)]


def pictures(recipe: Recipe) -> list[str]:
    """Return the digest of each training image, in the order of the json."""
    files = DataFiles.of(recipe)
    images = json.loads(files.train.read_text())["images"]
    return [image_digest(files.train_images / image["file_name"]) for image in images]


def test_every_cache_is_per_image_or_not() -> None:
    assert PER_IMAGE | WHOLE.keys() == set(get_args(Kind)), "does the new one keep something of each image?"


def test_nothing_is_found_by_an_images_id() -> None:
    found = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if "img_id" in file.read_text()}
    assert found == BY_ID.keys(), "what is kept of an image is found by `ikd.data.image_digest`"


@pytest.mark.parametrize("change", some(reversed(CHANGES), 1))
def test_boxes_of_an_image_are_its_own(seeing: Recipe, data: Path, change: str) -> None:
    _, before = kept(seeing)
    CHANGES[change](data)
    _, after = kept(seeing)
    assert (after == before) == (change in SAME or change == "class order changed"), "found where nothing changed"
    fresh = seen(seeing)
    assert fresh.keys() == set(pictures(seeing))
    file, expected = TeacherBoxes(after), after.with_name("fresh.npz")
    TeacherBoxes.write(expected, fresh)
    found = shares(seeing, after)
    assert found == pytest.approx(shares(seeing, expected), abs=1e-3)
    assert len(set(np.round(found, 3))) > 1, "images must differ for this to show anything"
    assert all(image in file for image in fresh)


@pytest.mark.parametrize("change", some(reversed(CHANGES), 2))
def test_perturbations_of_an_image_are_its_own(seeing: Recipe, data: Path, change: str) -> None:
    before, _ = kept(seeing)
    old = {image: before.read(image) for image in pictures(seeing)}
    CHANGES[change](data)
    after, _ = kept(seeing)
    assert (after.folder == before.folder) == (change in SAME)
    assert after.missing(pictures(seeing)) == []
    added = attached(seeing, after.folder)
    assert len(added) > 10
    for image, difference in added.items():
        assert np.array_equal(difference, after.read(image)), "what a sample gets is what was made of its image"
        assert change not in SAME or np.array_equal(after.read(image), old[image])


def attached(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Return by digest what training adds to each image, where that leaves 0..255 on neither side."""
    alone = recipe.with_values({"distill.me.enabled": False})
    loader = train_loader(alone.stages[0], DataFiles.of(alone), perturbations=folder, boxes=None, with_masks=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(loader["dataset"])
    dataset.start_epoch(0)
    store, found = PerturbationStore.open(folder), {}
    for sample in map(dataset.__getitem__, range(len(dataset))):
        image = image_digest(sample["data_samples"].img_path)
        clean, attacked = (sample[name].permute(1, 2, 0).numpy().astype(int) for name in ("inputs", "adversarial"))
        delta = store.read(image)
        inside = (clean + delta >= 0) & (clean + delta <= 255)
        found[image] = np.where(inside, attacked - clean, delta)
    return found


def test_an_image_that_changes_under_a_training_is_no_other(seeing: Recipe, data: Path) -> None:
    store, boxes = kept(seeing)
    replaced(data)
    changed = pictures(seeing)[2]
    with pytest.raises(DataError, match="an image has changed since they were made"):
        store.read(changed)
    with pytest.raises(DataError, match="an image has changed since they were made"):
        TeacherBoxes(boxes).share(changed, (128, 128), 0.0)


@pytest.mark.slow
def test_boxes_of_before_are_believed_only_when_the_teacher_sees_them_again(seeing: Recipe, data: Path) -> None:
    """They were kept by id: the same export finds them, one that is numbered anew does not take another photo's."""
    _, file = kept(seeing)
    ids = {image["id"]: picture for image, picture in zip(_images(data), pictures(seeing), strict=True)}
    found = seen(seeing)
    _write_by_id(file, {number: found[picture] for number, picture in ids.items()})
    stamp = file.read_bytes()
    assert kept(seeing)[1] == file
    assert file.read_bytes() != stamp, "from now on it says whose boxes they are"
    expected = shares(seeing, file)

    _write_by_id(file, {number: found[picture] for number, picture in ids.items()})
    exported(permuted)(data)
    kept(seeing)
    by_picture = dict(zip(pictures(seeing), shares(seeing, file), strict=True))
    exported(permuted)(data)
    assert shares(seeing, file) == pytest.approx(expected, abs=1e-3)
    assert by_picture.keys() == set(found)


def _images(data: Path) -> list[Json]:
    images: list[Json] = json.loads((data / "train.json").read_text())["images"]
    return images


def _write_by_id(file: Path, boxes: dict[int, Any]) -> None:
    counts = np.array([len(found) for found in boxes.values()], np.int64)
    with file.open("wb") as stream:
        np.savez(stream, ids=np.array(list(boxes), np.int64), counts=counts, boxes=np.concatenate([*boxes.values()]))
    assert boxes_by_id(file).keys() == boxes.keys()


@pytest.mark.slow
def test_perturbations_of_before_are_taken_over_once(seeing: Recipe, data: Path) -> None:
    store, _ = kept(seeing)
    before = _as_before(store, data, pictures(seeing))
    content = {image: store.read(image) for image in pictures(seeing)}
    shutil.rmtree(store.folder)
    again, _ = kept(seeing)
    assert again.folder == store.folder
    assert all(np.array_equal(again.read(image), content[image]) for image in content)
    assert again.path_of(pictures(seeing)[0]).stat().st_nlink == 2, "a link: nothing was copied"
    exported(reordered)(data)
    assert kept(seeing)[0].path_of(pictures(seeing)[0]).stat().st_nlink == 1, "made anew: whose they are is known"
    assert before.is_dir()


def _as_before(store: PerturbationStore, data: Path, names: list[str]) -> Path:
    """Make a store named and filled by ids, as there were before."""
    import hashlib

    key = json.loads((store.folder / "key.json").read_text())
    listed = json.dumps(sorted([image["id"], image["file_name"]] for image in _images(data)))
    key = {name: value for name, value in key.items() if name != "classes"}
    key |= {"format": 3, "images": hashlib.sha256(listed.encode()).hexdigest()}
    before = PerturbationStore(store.folder.parent, key)
    before.reopen()
    for image, name in zip(_images(data), names, strict=True):
        shutil.copy(store.path_of(name), before.folder / f"{image['id']}.ikdp")
    before.finish(store.summary())
    return before.folder


def calls() -> Iterator[tuple[str, str]]:
    """Yield each module that reads checkpoints to go on from, and the function that it calls for that."""
    readers = {"load", "resumable", "checkpoint_in"}
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        if "training.checkpoint" not in text and file.name not in ("worker.py", "commands.py", "checkpoint.py"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                owner = getattr(getattr(node.func, "value", None), "id", "")
                if name in readers and owner != "torch":
                    yield str(file.relative_to(PACKAGE)), name


def test_everything_that_goes_on_is_listed() -> None:
    listed = {place for place in GOES_ON if place != ("sweep/tune/worker.py", "checkpoint_of")}
    assert set(calls()) == listed, "on what data does the new one go on?"


def once(report: EpochReport) -> None:
    raise StopTrial


@pytest.fixture
def alone(tiny_recipe: Build, data: Path) -> Recipe:
    return tiny_recipe(data__root=str(data), schedule__epochs=2).student_alone()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("change", some(["files renamed", *(one for one in CHANGES if one != "files renamed")], 2))
def test_a_training_goes_on_with_the_data_it_began_with(alone: Recipe, data: Path, tmp_path: Path, change: str) -> None:
    """`ikd train --resume`, a trial of a sweep, and one of somebody's own Tuner: all of them read last.pth here."""
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    before = snapshot(folder.path)
    CHANGES[change](data)
    if change in SAME:
        assert run_trial(alone, checkpoint=folder.last, directory=folder.path).epochs == 2
        return
    with pytest.raises(CheckpointError, match=OTHER[change][1]) as refused:
        run_trial(alone, checkpoint=folder.last, directory=folder.path)
    assert refused.value.exit_status == 2
    assert str(folder.last) in str(refused.value)
    assert str(data / "train.json") in str(refused.value)
    assert "put the data back as they were" in str(refused.value)
    assert snapshot(folder.path) == before


def test_a_training_goes_on_where_its_data_lie_now(alone: Recipe, data: Path, tmp_path: Path) -> None:
    """Moved twice, as a sweep goes on: the place where it began stands for the others. What else differs is named."""
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    began = load(folder.last)["fingerprint"]
    moved = alone.with_values({"data.root": str(data.rename(tmp_path / "there"))})
    for name, value in {"schedule.optimizer.lr": 0.5, "data.train.annotations": "val.json"}.items():
        with pytest.raises(CheckpointError, match=rf"trains differently: {name} was '?[\w.]+'?, and is '?{value}'?$"):
            run_trial(moved.with_values({name: value}), checkpoint=folder.last, directory=folder.path)
    assert run_trial(moved, checkpoint=folder.last, directory=folder.path).epochs == 2
    again = alone.with_values({"data.root": str((tmp_path / "there").rename(tmp_path / "elsewhere"))})
    assert run_trial(again, checkpoint=folder.last, directory=folder.path).epochs == 2
    assert load(folder.last)["fingerprint"] == began == again.going_on(load_recipe(str(folder.recipe))).fingerprint()


def test_a_training_of_before_is_not_believed_to_have_moved(alone: Recipe, data: Path, tmp_path: Path) -> None:
    """Its checkpoint does not say on what it was trained, so that nothing can be compared."""
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    content = load(folder.last)
    del content["data"]
    save(content, folder.last)
    moved = alone.with_values({"data.root": str(data.rename(tmp_path / "there"))})
    with pytest.raises(CheckpointError, match=f"trains differently: data.root was '{data}', and is '{tmp_path}/there'"):
        run_trial(moved, checkpoint=folder.last, directory=folder.path)


@pytest.mark.parametrize("change", some(reversed(OTHER), 1))
def test_other_data_are_not_moved_ones(alone: Recipe, data: Path, tmp_path: Path, change: str) -> None:
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    data.rename(tmp_path / "there")
    CHANGES[change](tmp_path / "there")
    with pytest.raises(CheckpointError, match=OTHER[change][1]):
        run_trial(
            alone.with_values({"data.root": str(tmp_path / "there")}), checkpoint=folder.last, directory=folder.path
        )


def test_in_several_processes_too(alone: Recipe, data: Path, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    exported(reordered)(data)
    with pytest.raises(CheckpointError, match="another order"):
        run_trial(alone, checkpoint=folder.last, directory=folder.path, options=TrialOptions(processes=2))


@pytest.mark.parametrize("change", some(OTHER, 1))
def test_adopting_needs_the_same_data(alone: Recipe, data: Path, tmp_path: Path, change: str) -> None:
    source = TrialFolder(tmp_path / "source")
    run_trial(alone, once, directory=source.path)
    CHANGES[change](data)
    with pytest.raises(CheckpointError, match=OTHER[change][1]):
        run_trial(alone, directory=tmp_path / "own", options=TrialOptions(adopt=source.last))


@pytest.mark.parametrize("reorder", [False, True])
def test_a_checkpoint_of_before_goes_on_with_a_word(
    alone: Recipe, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], reorder: bool
) -> None:
    """It does not say what data it was trained on; the student beside it says which classes."""
    folder = TrialFolder(tmp_path / "out")
    run_trial(alone, once, directory=folder.path)
    content = load(folder.last)
    del content["data"]
    save(content, folder.last)
    if reorder:
        exported(reordered)(data)
        with pytest.raises(CheckpointError, match="another order"):
            run_trial(alone, checkpoint=folder.last, directory=folder.path)
        return
    assert run_trial(alone, checkpoint=folder.last, directory=folder.path).epochs == 2
    assert capsys.readouterr().out.count("does not say what data it was trained on") == 1


@pytest.mark.parametrize("change", some(reversed(CHANGES), 1))
def test_an_interrupted_teacher_is_no_other_datas(
    tiny_recipe: Build, data: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(data__root=str(data))
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))  # elsewhere this teacher of this data is trained already
    asked: list[tuple[Path, bool]] = []

    def interrupted(training: Recipe, tell: Any, checkpoint: Any = None, *, directory: Path, prepared: Any) -> None:
        asked.append((directory, checkpoint is not None))
        if checkpoint is None:
            run_trial(training.with_values({"schedule.epochs": 2}), once, directory=directory, prepared=prepared)
        raise KeyboardInterrupt

    monkeypatch.setattr("ikd.training.sharing.train", interrupted)
    for act in (lambda root: None, CHANGES[change]):
        act(data)
        with pytest.raises(KeyboardInterrupt):
            teacher_weights(recipe, recipe.teachers.available["big"], DataFiles.of(recipe), None)
    (first, _), (second, went_on) = asked
    assert (first == second) == went_on == (change in SAME)


@pytest.mark.parametrize("change", CHANGES)
def test_a_sweep_goes_on_and_is_extended_with_the_data_it_began_with(
    alone: Recipe, data: Path, tmp_path: Path, open_study: Any, change: str
) -> None:
    study = open_study()
    files = SweepFiles(make_space(budget={"trials": 9}), alone, make_runner())
    assert changed_data(study, part_name(alone), DataFiles.of(alone).record()) == ""
    CHANGES[change](data)
    if change in SAME:
        check_same_data(study, files, OWN, tmp_path / "home")
        return
    with pytest.raises(BadInput, match=OTHER[change][1]) as refused:
        check_same_data(study, files, OWN, tmp_path / "home")
    assert str(data / "train.json") in str(refused.value)
    assert "--name" in str(refused.value)
    spent = files.space.budget.model_copy(update={"trials": 0})
    done = replace(files, space=files.space.model_copy(update={"budget": spent}))
    check_same_data(study, done, OWN, tmp_path / "home")  # nothing is left to be trained


@pytest.mark.parametrize("noted", [True, False])
def test_a_sweep_whose_data_have_moved_is_compared_even_when_it_is_complete(
    alone: Recipe, data: Path, tmp_path: Path, open_study: Any, noted: bool
) -> None:
    study = open_study()
    if noted:
        changed_data(study, part_name(alone), DataFiles.of(alone).record())
    moved = alone.at(str(data.rename(tmp_path / "elsewhere")))
    space = make_space()
    done = space.model_copy(update={"budget": space.budget.model_copy(update={"trials": 0})})
    files = SweepFiles(done, moved, make_runner())
    if noted:
        check_same_data(study, files, OWN, tmp_path / "home")
        exported(edited)(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=OTHER["boxes edited"][1] if noted else f"must be {data}, where the sweep began"):
        check_same_data(study, files, OWN, tmp_path / "home")


def test_a_sweep_of_before_is_compared_by_its_fingerprint(
    alone: Recipe, data: Path, tmp_path: Path, open_study: Any
) -> None:
    study = open_study()
    study.note("data_fingerprint", DataFiles.of(alone).fingerprint())
    files = SweepFiles(make_space(), alone, make_runner())
    exported(edited)(data)
    with pytest.raises(BadInput, match="are not what they were"):
        check_same_data(study, files, OWN, tmp_path / "home")
