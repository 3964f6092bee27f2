"""Names, photographs and numbers of every kind that people bring: all pictures come, and stay in bounds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ikd.config import Recipe, load_recipe
from ikd.errors import BadInput
from ikd.pictures.charts import MOST_CLASSES, shown_classes
from ikd.pictures.confusion import MOST_CLASSES as IN_MATRIX
from ikd.pictures.detections import read_photograph
from ikd.pictures.panel import SIDE, Marks, panel
from ikd.pictures.style import drawing, plain
from tests.marks import some
from tests.unit.pictures.scenes import Box, scene

BOX: Box = (10, 10, 30, 30)
ODD = [
    "<script>alert(1)</script>",
    "$\\frac{1}{0",
    "日本語",
    "a" * 300,
    "_hidden",
    "two\nlines\tand\x07bell",
    "\u202eright to left",
    "😀",
    " ",
    "100 %",
]
CHARTS = ("ap.png", "pr.png", "confusion.png", "confusion_teacher.png")


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("drawn_r18")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_shown_as_one_short_line(name: str) -> None:
    shown = plain(name)
    assert 1 <= len(shown) <= 22
    assert shown.isprintable()


def test_the_ends_of_a_long_name_are_kept() -> None:
    assert plain("a_very_long_class_name_number_17") == "a_very_long_cl…mber_17"
    assert plain("short") == "short"


@pytest.mark.slow
def test_odd_names_of_classes_and_files_break_no_picture(recipe: Recipe, tmp_path: Path) -> None:
    names = ["<b>&.png", "日本/ü$x$.png", "x" * 200 + ".png", "a b%20.png"]
    every = [(label, BOX) for label in range(len(ODD))]
    made = scene(
        tmp_path / "data",
        dict.fromkeys(names, every),
        {name: [(label, BOX, 0.5) for label, _ in every[:3]] for name in names},
        classes=ODD,
    )
    (tmp_path / "out").mkdir()
    folder = made.drawn(tmp_path / "out", recipe)
    for name in CHARTS:
        assert min(size_of(folder / name)) > 200
        assert max(size_of(folder / name)) < 3000
    assert len(list((folder / "detections").glob("*.jpg"))) == len(names)
    measures = json.loads(json.dumps(made.judged().measures(), allow_nan=False))
    assert list(measures["ap_by_class"]) == ODD, "figures have the names as they are"


@pytest.mark.parametrize("count", some([1, 300, 80], 1))
def test_charts_of_many_classes_stay_in_bounds(count: int, recipe: Recipe, tmp_path: Path) -> None:
    classes = [f"class number {label}" for label in range(count)]
    truths = [(label, BOX) for label in range(count) for _ in range(1 + label % 2)]
    made = scene(tmp_path / "data", {"a.png": truths}, {"a.png": [(0, BOX, 0.9)]}, classes=classes)
    (tmp_path / "out").mkdir()
    folder = made.drawn(tmp_path / "out", recipe)
    for name in CHARTS:
        assert max(size_of(folder / name)) < 3600
    assert IN_MATRIX <= MOST_CLASSES


def test_where_not_all_classes_fit_those_with_most_objects_are_shown() -> None:
    assert shown_classes([1, 5, 0, 5, 9], most=3) == [1, 3, 4]
    assert shown_classes([1, 1], most=3) == [0, 1]


@pytest.mark.parametrize(
    ("truths", "found"),
    some([({"a.png": []}, {}), ({"a.png": [(0, BOX)]}, {}), ({"a.png": []}, {"a.png": [(1, BOX, 0.9)]})], 1),
    ids=["nothing at all", "nothing found", "nothing there"],
)
def test_with_nothing_to_see_there_are_pictures_all_the_same(
    truths: dict[str, list[tuple[int, Box]]],
    found: dict[str, list[tuple[int, Box, float]]],
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    made = scene(tmp_path / "data", truths, found)
    (tmp_path / "out").mkdir()
    folder = made.drawn(tmp_path / "out", recipe)
    assert all(size_of(folder / name) for name in CHARTS)
    assert size_of(folder / "detections" / "00.jpg")


class TestPhotographs:
    def test_grey_and_transparent_ones_are_read_as_training_reads_them(self, recipe: Recipe, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
        for name, one in {"grey.png": pixels[..., 0], "rgba.png": pixels, "rgb.png": pixels[..., :3]}.items():
            Image.fromarray(one).save(tmp_path / name)
            found = read_photograph(recipe, tmp_path / name)
            assert found.shape == (40, 50, 3)
            trained_on = cv2.imread(str(tmp_path / name))
            assert trained_on is not None
            assert (found[..., ::-1] == trained_on).all()

    @pytest.mark.parametrize(("orientation", "shape"), [("apply", (50, 40, 3)), ("ignore", (40, 50, 3))])
    def test_a_rotated_one_stands_as_the_recipe_says(
        self, orientation: str, shape: tuple[int, ...], recipe: Recipe, tmp_path: Path
    ) -> None:
        picture = Image.fromarray(np.zeros((40, 50, 3), np.uint8))
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(tmp_path / "turned.jpg", exif=exif)
        found = read_photograph(recipe.with_values({"data.orientation": orientation}), tmp_path / "turned.jpg")
        assert found.shape == shape

    @pytest.mark.parametrize("content", [None, b"no picture"])
    def test_one_that_cannot_be_read_is_named(self, content: bytes | None, recipe: Recipe, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.png: must be an image that can be read") as told:
            read_photograph(recipe, tmp_path / "a.png")
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("size", [(8, 8), (40, 2000), (3000, 4000)])
    def test_a_panel_has_one_size_whatever_the_photograph(self, size: tuple[int, int]) -> None:
        pixels = np.zeros((*size, 3), np.uint8)
        boxes = np.array([[-5.0, -5, 1e6, 1e6], [1, 1, 1, 1], [2, 2, 6, 6]])
        with drawing():
            drawn = panel(pixels, [Marks(boxes, ["a", "b", "c"], "#ff0000")])
        assert max(drawn.shape) == SIDE
        assert drawn.std() > 0
