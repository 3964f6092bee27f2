"""Which student, which teacher: of a sweep, of an export, and what is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.analyses import find_pair
from ikd.errors import BadInput, CheckpointError
from tests.unit.analyses.conftest import Trained


def copied(trained: Trained, folder: Path, **values: Any) -> Path:
    """Return a copy of the export whose recipe has other values."""
    target = Path(shutil.copytree(trained.export, folder / "export"))
    recipe = trained.recipe.with_values({"data.root": trained.recipe.data.root, **values})
    (target / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False), encoding="utf-8")
    return target


@pytest.mark.slow
def test_a_trial_has_its_own_teacher(home: Path, trained: Trained) -> None:
    pair = find_pair("mine", 2)
    assert pair.name == "trial 2 of mine"
    assert pair.teacher_name == "itself"
    assert pair.checkpoint == home / "sweeps" / "mine" / "trials" / "2" / "best.pth"
    student, teacher = pair.student().state_dict(), pair.teacher().state_dict()
    assert all((student[name] == teacher[name]).all() for name in student)


def test_a_trial_without_a_teacher_is_compared_with_that_of_the_sweep(home: Path) -> None:
    alone = find_pair("mine", 1)  # the anchor student_alone
    assert not alone.recipe.teachers.sequence
    assert alone.teacher_name == "itself"


def test_an_export_has_the_teacher_of_its_recipe(trained: Trained, tmp_path: Path) -> None:
    pair = find_pair(str(copied(trained, tmp_path)))
    assert (pair.name, pair.teacher_name) == ("export", "itself")
    assert pair.checkpoint == tmp_path / "export" / "student.pth"
    assert pair.student() is not None


def test_data_that_were_moved_are_found(trained: Trained, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path, **{"data.root": str(tmp_path / "gone")})
    with pytest.raises(BadInput, match=r"data\.train\.annotations"):
        find_pair(str(folder))
    moved = Path(shutil.copytree(trained.recipe.data.root, tmp_path / "moved"))
    assert find_pair(str(folder), data_root=moved).files.val == moved / "train.json"


@pytest.mark.parametrize("trial", [77, -1])
def test_an_unknown_trial_is_refused_with_those_there_are(home: Path, trial: int) -> None:
    with pytest.raises(BadInput, match=rf"trial must be one of the sweep's, but got {trial}; .*student: 0 \("):
        find_pair("mine", trial)


def test_a_trial_that_kept_no_student_is_refused(home: Path) -> None:
    with pytest.raises(BadInput, match=r"trial 3 has no .*best\.pth"):
        find_pair("mine", 3)


def test_an_unknown_sweep_is_refused(home: Path) -> None:
    with pytest.raises(BadInput, match=r"must be a sweep under .* but got 'nobody'"):
        find_pair("nobody", 0)


@pytest.mark.parametrize("missing", ["student.pth", "recipe.yaml"])
def test_a_folder_that_is_no_export_is_refused(missing: str, trained: Trained, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path)
    (folder / missing).unlink()
    with pytest.raises(BadInput, match=f"must be a folder of `ikd export`, but {missing} is not in it"):
        find_pair(str(folder))


def test_a_student_trained_alone_needs_a_teacher_named(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"teachers\.sequence: must name .* alone; say which with --teacher"):
        find_pair(str(trained.export))
    folder = copied(trained, tmp_path, **{"teachers.sequence": [], "distill.host": "none"})
    assert find_pair(str(folder), teacher="itself").teacher_name == "itself"


def test_an_unknown_teacher_is_refused_with_those_there_are(home: Path) -> None:
    with pytest.raises(BadInput, match=r"--teacher: must be one of .*\(itself\), but got 'nobody'"):
        find_pair("mine", 2, teacher="nobody")


def test_a_teacher_that_is_gone_is_told(home: Path, trained: Trained, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pth")
    available = {"itself": trained.recipe.teachers.available["itself"].model_dump(mode="json") | {"checkpoint": gone}}
    pair = find_pair(str(copied(trained, tmp_path, **{"teachers.available": available})))
    with pytest.raises(BadInput, match=r"teacher itself: its checkpoint must be a file, but .*gone\.pth is not there"):
        pair.teacher()


def edited(trained: Trained, folder: Path, change: Any) -> Path:
    """Return a copy of the data whose two annotation files a function has changed."""
    target = Path(shutil.copytree(trained.recipe.data.root, folder / "data"))
    for name in ("train.json", "val.json"):
        content = json.loads((target / name).read_text(encoding="utf-8"))
        change(content)
        (target / name).write_text(json.dumps(content), encoding="utf-8")
    return target


def test_an_empty_validation_part_is_refused(trained: Trained, tmp_path: Path) -> None:
    data = edited(trained, tmp_path, lambda content: content.update(images=[], annotations=[]))
    (tmp_path / "export").mkdir()
    folder = copied(trained, tmp_path / "export", **{"data.root": str(data)})
    (folder / "card.json").unlink()
    with pytest.raises(BadInput, match="images: must hold a photograph to look at, but there is none"):
        find_pair(str(folder))


def test_other_classes_are_refused(trained: Trained, tmp_path: Path) -> None:
    data = edited(trained, tmp_path, lambda content: content["categories"][0].update(name="unicorn"))
    (tmp_path / "export").mkdir()
    folder = copied(trained, tmp_path / "export", **{"data.root": str(data)})
    (folder / "card.json").unlink()
    pair = find_pair(str(folder))
    for load in (pair.student, pair.teacher):
        with pytest.raises(CheckpointError, match="unicorn"):
            load()


def test_data_of_other_content_are_refused(trained: Trained, tmp_path: Path) -> None:
    data = edited(trained, tmp_path, lambda content: content["annotations"].pop())
    (tmp_path / "export").mkdir()
    folder = copied(trained, tmp_path / "export", **{"data.root": str(data)})
    with pytest.raises(BadInput, match="must be the data set that the student was trained and validated on"):
        find_pair(str(folder))
