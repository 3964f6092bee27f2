"""Pictures of a trial in the page of its sweep."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ikd.pictures.folder import FORMAT
from ikd.report.build import elements_of
from ikd.report.parts import Element, Picture
from ikd.report.pictures import NAMES, Pictures
from ikd.report.source import Source
from ikd.sweep import sweep_status


def draw(file: Path, width: int = 1800, height: int = 600) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height // 10, width // 10, 3)).astype(np.uint8)
    cv2.imwrite(str(file), cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST))


def fill(folder: Path) -> None:
    for index in range(8):
        draw(folder / "detections" / f"{index:02d}.jpg")
    for name in NAMES:
        draw(folder / name, 900, 600)
    student_sizes, teacher_sizes = {"s": 0.1, "m": 0.3, "l": None}, {"s": 0.2, "m": 0.4, "l": 0.5}
    measures = {
        "student": {"ap": 0.31, "ap_by_class": {"cat": 0.4, "<b>dog": None}, "ap_by_size": student_sizes},
        "teacher": {"ap": 0.42, "ap_by_class": {"cat": 0.5, "<b>dog": 0.6}, "ap_by_size": teacher_sizes},
        "images": [f"{index}.png" for index in range(8)],
        "missing": [],
        "format": FORMAT,
    }
    (folder / "measures.json").write_text(json.dumps(measures))


@pytest.fixture
def pictured(played_home: Path, tmp_path: Path) -> Source:
    """The sweep `whole` with pictures of the trial that is exported."""
    shutil.copytree(played_home, tmp_path / "home")
    status = sweep_status("whole", home=tmp_path / "home")
    assert status.best is not None
    fill(status.best.directory / "pictures")
    return Source(status)


def elements(source: Source) -> dict[str, Element]:
    return {one.key: one for one in elements_of(source)}


@pytest.mark.slow
def test_all_pictures_stand_in_the_page_within_its_room(pictured: Source) -> None:
    found = [part for part in elements(pictured)["detections"].parts if isinstance(part, Picture)]
    assert len(found) == 8 + len(NAMES)
    assert "image 00" in found[0].caption
    assert sum(len(one.uri) for one in found) < pictured.room
    content = base64.b64decode(found[0].uri.removeprefix("data:image/jpeg;base64,"))
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] <= 1280
    assert image.shape[1] / image.shape[0] == pytest.approx(3, rel=0.02)


def test_ap_of_the_teacher_comes_from_the_measures(pictured: Source) -> None:
    tables = {one.key: one for one in elements(pictured)["classes"].tables}
    sizes = {row[0]: row[1:] for row in tables["sizes"].rows}
    assert (sizes["small"][0], sizes["small"][2]) == ("10.0", "20.0")
    classes = {row[0]: row[1:] for row in tables["classes"].rows}
    assert (classes["cat"][0], classes["cat"][2]) == ("40.0", "50.0")
    assert classes["<b>dog"][2] == "60.0"


def test_a_picture_is_shrunk_until_it_fits_or_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "detections" / "00.jpg")
    pictures = Pictures(tmp_path, "ikd show s 1 --pictures")
    large, small = (len(pictures.embedded(room)[0].uri) for room in (2_000_000, 40_000))
    assert small < 40_000 < large
    assert pictures.embedded(100) == []
    (tmp_path / "detections" / "00.jpg").write_bytes(b"no picture")
    assert pictures.embedded(2_000_000) == []


def test_what_is_not_there_is_said_with_the_command_that_makes_it(pictured: Source) -> None:
    best = pictured.status.best
    assert best is not None
    (best.directory / "pictures" / "batch.jpg").unlink()
    last = elements(pictured)["detections"].parts[-1]
    assert getattr(last, "lines", None) == (
        f"Not there: batch.jpg; this makes them: ikd show whole {best.number} --pictures",
    )
    (best.directory / "pictures" / "measures.json").write_text("{")
    assert elements(pictured)["classes"].parts, "measures that cannot be read are none"
