from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from ikd.config import load_recipe
from ikd.data import check_recipe_data, data_of, fingerprint, identity, images

Copy = Callable[[str], Path]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded."""
    names: list[str] = []
    decode = images.facts_of

    def counted(path: Path) -> images.Facts:
        names.append(path.name)
        return decode(path)

    monkeypatch.setattr(images, "facts_of", counted)
    return names


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough for its stamp to tell the next change."""
    monkeypatch.setattr(identity, "SETTLED_SECONDS", 0.0)


@pytest.mark.usefixtures("old")
def test_images_are_decoded_once_until_they_change(copied: Copy, looked: list[str]) -> None:
    directory = copied("c")
    recipe = load_recipe("drawn_r18_teacher", {"data.root": str(directory)})
    first = check_recipe_data(recipe)
    assert len(looked) == 30
    assert check_recipe_data(recipe) == first
    assert check_recipe_data(recipe.with_values({"data.keep_empty": True})).fingerprint == first.fingerprint
    assert len(looked) == 30, "another question about the same images"

    changed = directory / "images" / "train_00003.png"
    pixels = cv2.imread(str(changed))
    assert pixels is not None
    cv2.imwrite(str(changed), 255 - pixels)
    second = check_recipe_data(recipe)
    assert looked[30:] == ["train_00003.png"]
    assert second.fingerprint != first.fingerprint

    changed.write_bytes(b"broken")
    assert not check_recipe_data(recipe).ok
    cv2.imwrite(str(changed), 255 - pixels)
    assert check_recipe_data(recipe).fingerprint == second.fingerprint


@pytest.mark.usefixtures("old")
def test_a_spoilt_stamp_is_made_anew(copied: Copy, looked: list[str], session_home: Path) -> None:
    recipe = load_recipe("drawn_r18_teacher", {"data.root": str(copied("d"))})
    first = check_recipe_data(recipe)
    for file in (session_home / "cache" / "checks").iterdir():
        file.write_bytes(b"{}")
    assert check_recipe_data(recipe) == first
    assert len(looked) == 60


def test_nothing_is_remembered_of_a_file_that_may_change_unseen(copied: Copy, looked: list[str]) -> None:
    recipe = load_recipe("drawn_r18_teacher", {"data.root": str(copied("e"))})
    assert check_recipe_data(recipe) == check_recipe_data(recipe)
    assert len(looked) == 60


@pytest.mark.usefixtures("old")
def test_what_was_checked_is_not_hashed_again(copied: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = copied("f")
    recipe = load_recipe("drawn_r18_teacher", {"data.root": str(directory)})
    expected = [fingerprint(directory / f"{part}.json", directory / "images") for part in ("train", "val")]
    report = check_recipe_data(recipe)

    def never(path: Path) -> str:
        raise AssertionError(f"{path} is read once more")

    monkeypatch.setattr(identity, "image_digest", never)
    record = data_of(recipe)
    assert [record.train.fingerprint, record.val.fingerprint] == expected
    assert [part.images for part in (record.train, record.val)] == [one.images for one in report.splits.values()]
