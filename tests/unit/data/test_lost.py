"""Data that vanish while they are read are told as that, by the first file that is not there."""

from __future__ import annotations

import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ikd.config import load_recipe
from ikd.data import DataFiles, draw_dataset
from ikd.data.files import lost, told_when_lost
from ikd.errors import BadInput, DataGone, NonFiniteLoss

Copy = Callable[[str], Path]
IMAGE = "train_00003.png"


def cut(directory: Path) -> None:
    whole = (directory / "val.json").read_bytes()
    (directory / "val.json").write_bytes(whole[: len(whole) // 2])


def linked_to_nothing(directory: Path) -> None:
    (directory / "images" / IMAGE).unlink()
    (directory / "images" / IMAGE).symlink_to(directory / "store" / IMAGE)


# what happens to the folder -> what is said of it
GONE: dict[str, tuple[Callable[[Path], object], str]] = {
    "the whole folder": (shutil.rmtree, "{}/train.json is not there"),
    "the annotations": (lambda one: (one / "val.json").unlink(), "{}/val.json is not there"),
    "the images": (lambda one: (one / "images").rename(one / "pictures"), "{}/images is not there"),
    "one image": (lambda one: (one / "images" / IMAGE).unlink(), "{}/images/" + IMAGE + " cannot be read (No such"),
    "what a link leads to": (
        linked_to_nothing,
        "images[3].file_name: {}/images/" + IMAGE + " cannot be read",
    ),
    "half of the annotations": (cut, "{}/val.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", GONE)
def test_what_has_vanished_is_named(copied: Copy, name: str) -> None:
    directory = copied("c")
    recipe = load_recipe("drawn_r18", {"data.root": str(directory)})
    assert lost(recipe) == ""
    vanish, said = GONE[name]
    vanish(directory)
    with pytest.raises(DataGone) as caught, told_when_lost(recipe):
        raise RuntimeError("a loader has died")
    assert said.format(directory) in str(caught.value)
    assert "put it back and go on" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_photograph_without_labels_that_has_vanished_is_named(copied: Copy) -> None:
    directory = copied("c")
    others = draw_dataset(directory / "others", num_train=10, num_val=10, seed=7) / "images"
    given = {"data.root": str(directory), "data.unlabeled": str(others), "distill.labels.enabled": True}
    recipe = load_recipe("drawn_r18", given)
    photographs = DataFiles.of(recipe).photographs
    assert lost(recipe, photographs) == ""
    (others / "train_00004.png").unlink()
    with (
        pytest.raises(DataGone, match=r"data\.unlabeled: .*train_00004\.png cannot be read \(No such"),
        told_when_lost(recipe, photographs),
    ):
        raise RuntimeError("a loader has died")


def test_a_picture_that_was_overwritten_is_named(copied: Copy) -> None:
    recipe = load_recipe("drawn_r18", {"data.root": str(copied("c"))})
    with pytest.raises(DataGone, match=r"/a/b\.png can no longer be decoded; put it back"), told_when_lost(recipe):
        raise AssertionError("    f'failed to load image: {name}'\nAssertionError: failed to load image: /a/b.png")


def test_other_failures_stay_what_they_are(copied: Copy) -> None:
    directory = copied("c")
    recipe = load_recipe("drawn_r18", {"data.root": str(directory)})
    with pytest.raises(RuntimeError, match="broken"), told_when_lost(recipe):
        raise RuntimeError("broken")
    shutil.rmtree(directory)
    for error in (BadInput("says what is wrong"), NonFiniteLoss({"mgd": math.inf}, 1, 7), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, told_when_lost(recipe):
            raise error
        assert caught.value is error
