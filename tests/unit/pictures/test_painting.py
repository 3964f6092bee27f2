"""All pictures of a trial: they are there, whole, and say what ikd's own evaluation says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ikd.config import Recipe
from ikd.data import DataFiles, data_of, indexed
from ikd.errors import BadInput, CheckpointError, DataGone
from ikd.pictures import Painter, Pictured, files_of, read_measures, shows
from ikd.pictures.judged import judged
from ikd.trial import NEAR_ZERO
from tests.unit.pictures.conftest import Change, Trained

NAMES = [*(f"detections/{rank:02d}.jpg" for rank in range(8))]
NAMES += ["ap.png", "batch.jpg", "confusion.png", "confusion_teacher.png", "measures.json", "pr.png"]


def opened(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        picture.load()
        return np.asarray(picture.convert("RGB"))


def test_every_picture_is_there_under_its_name_and_shows_something(painted: Pictured) -> None:
    assert painted.missing == ()
    assert [str(one.relative_to(painted.folder)) for one in files_of(painted.folder)] == NAMES
    for name in NAMES:
        if not name.endswith(".json"):
            pixels = opened(painted.folder / name)
            assert min(pixels.shape[:2]) > 200, name
            assert pixels.std() > 10, name


def test_the_figures_are_those_of_the_training(painted: Pictured, trained: Trained) -> None:
    recorded = torch.load(trained.best, weights_only=True)["meta"]["metrics"]
    assert recorded["bbox_mAP"] > NEAR_ZERO, "the figures say something"
    measures = json.loads((painted.folder / "measures.json").read_text(encoding="utf-8"))
    for side in ("student", "teacher"):  # it is its own teacher
        assert measures[side]["ap"] == recorded["bbox_mAP"]
        assert measures[side]["ap_by_class"] == {
            name.removeprefix("bbox_AP/"): value for name, value in recorded.items() if name.startswith("bbox_AP/")
        }
        for short in "sml":
            assert measures[side]["ap_by_size"][short] == (
                None if math.isnan(recorded[f"bbox_AP{short}"]) else recorded[f"bbox_AP{short}"]
            )
    files = DataFiles.of(trained.recipe)
    index = indexed(files.val)
    assert len(measures["images"]) == 8
    assert set(measures["images"]) <= {index.image(place)["file_name"] for place in range(len(index))}
    assert measures["teacher_name"] == "itself"


def test_the_same_student_gives_the_same_bytes(painted: Pictured, trained: Trained, tmp_path: Path) -> None:
    recipe = trained.taught(**{"augment.enabled": True, "adversarial.enabled": True, "attack.store": "online"})
    again = Painter().paint(recipe, trained.copied(tmp_path / "1"))
    for name in NAMES:
        assert (again.folder / name).read_bytes() == (painted.folder / name).read_bytes(), name


@pytest.mark.slow
def test_without_a_teacher_there_is_neither_its_panel_nor_its_matrix(trained: Trained, tmp_path: Path) -> None:
    made = Painter().paint(trained.recipe, trained.copied(tmp_path / "0"))
    assert [str(one.relative_to(made.folder)) for one in files_of(made.folder)] == [
        name for name in NAMES if name != "confusion_teacher.png"
    ]
    measures = read_measures(made.folder)
    assert measures is not None
    assert measures["teacher"] is None
    assert made.missing == ()


@pytest.mark.slow
def test_a_trial_trained_alone_is_shown_beside_the_teacher_of_the_base(trained: Trained, tmp_path: Path) -> None:
    made = Painter().paint(trained.recipe, trained.copied(tmp_path / "0"), base=trained.taught())
    measures = read_measures(made.folder)
    assert measures is not None
    assert measures["teacher_name"] == "itself"
    assert (made.folder / "confusion_teacher.png").is_file()


@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [
        (lambda folder: folder / "gone.pth", r"teacher itself: its checkpoint must be a file, but .*gone.pth is not"),
        pytest.param(lambda folder: folder / "text.pth", r"text.pth", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_teacher_that_cannot_be_loaded_is_left_out_with_a_line(
    checkpoint: object, says: str, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "text.pth").write_text("no checkpoint")
    recipe = trained.taught()
    teacher = recipe.teachers.available["itself"].model_dump(mode="json")
    teacher["checkpoint"] = str(checkpoint(tmp_path))  # type: ignore[operator]
    recipe = recipe.with_values({"teachers.available": {"itself": teacher}})
    made = Painter().paint(recipe, trained.copied(tmp_path / "0"))
    measures = read_measures(made.folder)
    assert measures is not None
    assert measures["teacher"] is None
    assert any(line.startswith("without the teacher: ") for line in made.missing)
    assert any(re.search(says, line) for line in made.missing), made.missing
    assert (made.folder / "detections" / "00.jpg").is_file()


@pytest.mark.slow
def test_a_teacher_is_looked_at_once_for_all_trials(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()

    def counted(detector: object, recipe: Recipe, *rest: object) -> object:
        looked.append(type(detector).__name__)
        return judged(detector, recipe, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("ikd.pictures.making.judged", counted)
    painter = Painter()
    for number in range(2):
        painter.paint(trained.taught(), trained.copied(tmp_path / str(number)))
    assert len(looked) == 3, "two students, one teacher"


def test_data_that_have_gone_or_changed_are_refused_and_the_old_pictures_stay(trained: Trained, tmp_path: Path) -> None:
    best = trained.copied(tmp_path / "0")
    folder = Painter().paint(trained.recipe, best).folder
    before = (folder / "ap.png").read_bytes()
    with pytest.raises(BadInput, match=r"data\.train\.annotations: must be a COCO json file"):
        Painter().paint(trained.recipe.with_values({"data.root": str(tmp_path / "away")}), best)
    other = data_of(trained.recipe.with_values({"data.val.annotations": "val.json"}))
    with pytest.raises(BadInput, match="must be the data set that the student was trained and validated on"):
        Painter().paint(trained.recipe, best, known=other)
    assert (folder / "ap.png").read_bytes() == before


def test_an_image_that_has_gone_is_named_in_one_line(
    trained: Trained, other_data: Callable[[Change], Recipe], tmp_path: Path
) -> None:
    recipe = other_data(lambda content: None)
    gone = next(Path(recipe.data.root, "images").glob("train_*"))
    gone.unlink()
    with pytest.raises(DataGone, match=f"the data set is no longer there: .*{gone.name} cannot be read") as told:
        Painter().paint(recipe, trained.copied(tmp_path / "0"))
    assert "\n" not in str(told.value)


def test_a_checkpoint_that_is_none_is_refused_and_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    best = trained.copied(tmp_path / "0")
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=str(best)):
        Painter().paint(trained.recipe, best)
    assert sorted(one.name for one in best.parent.iterdir()) == ["best.pth"]


def test_pictures_of_another_student_do_not_count(painted: Pictured, tmp_path: Path) -> None:
    best = painted.folder.parent / "best.pth"
    assert shows(painted.folder, best)
    other = tmp_path / "best.pth"
    other.write_bytes(best.read_bytes() + b"0")
    assert not shows(painted.folder, other)
    assert not shows(tmp_path / "pictures", best)
