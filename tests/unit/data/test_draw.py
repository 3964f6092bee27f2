from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as masks

from ikd.data import check_dataset, draw_dataset, drawn_dataset
from ikd.errors import BadInput


def hashes(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_arguments_give_the_same_bytes_and_another_seed_others(drawn: Path, tmp_path: Path) -> None:
    again = draw_dataset(tmp_path / "again", num_train=20, num_val=10)
    other = draw_dataset(tmp_path / "other", num_train=20, num_val=10, seed=1)
    assert hashes(again) == hashes(drawn)
    assert len(hashes(drawn)) == 32
    assert not set(hashes(other).values()) & set(hashes(drawn).values())


def test_it_passes_its_own_check_with_every_size_bin_in_both_splits(drawn: Path) -> None:
    report = check_dataset(drawn)
    assert report.problems == ()
    for split in ("train", "val"):
        rows = [row for row in report.rows if row.split == split]
        assert len(rows) == 4
        assert all(
            sum(counts) > 0 for counts in zip(*((row.small, row.medium, row.large) for row in rows), strict=True)
        )
        assert report.splits[split].only_small == 0.3 * report.splits[split].images
        assert report.splits[split].without_boxes == 0.1 * report.splits[split].images


def power_slope(path: Path) -> float:
    """Fits log power over log radius, radially averaged, of a windowed square image."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    side = image.shape[0]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fftshift(np.fft.fft2((image - image.mean()) * window))) ** 2
    rows, columns = np.indices(power.shape) - side // 2
    radius = np.hypot(rows, columns).round().astype(int)
    mean = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    radii = np.arange(4, side // 3)
    return float(np.polyfit(np.log(radii), np.log(mean[radii]), 1)[0])


def test_power_falls_with_the_square_of_frequency(drawn: Path) -> None:
    images = sorted((drawn / "images").glob("train_*.png"))
    slopes = [power_slope(path) for path in images]
    empty = [slope for number, slope in enumerate(slopes) if number % 10 == 9]  # grounds alone
    assert np.mean(empty) == pytest.approx(-2.0, abs=0.15)
    assert -2.6 < np.mean(slopes) < -1.8  # photographs: -1.6 to -3 (Tolhurst, Tadmor and Chao, 1992)


def test_boxes_are_those_of_the_visible_masks(drawn: Path) -> None:
    annotations = json.loads((drawn / "train.json").read_text())["annotations"]
    for annotation in annotations:
        area = masks.area(masks.merge(masks.frPyObjects(annotation["segmentation"], 160, 160)))
        x, y, width, height = annotation["bbox"]
        assert 0.2 * width * height < area <= width * height
        points = np.array([point for piece in annotation["segmentation"] for point in piece]).reshape(-1, 2)
        assert points.min(axis=0) == pytest.approx([x, y], abs=1)
        assert points.max(axis=0) == pytest.approx([x + width - 1, y + height - 1], abs=1)


def test_size_and_counts_act(tmp_path: Path) -> None:
    directory = draw_dataset(tmp_path / "d", num_train=11, num_val=12, size_px=144)
    image = cv2.imread(str(directory / "images" / "train_00000.png"))
    assert image is not None
    assert image.shape == (144, 144, 3)
    counts = [len(json.loads((directory / f"{split}.json").read_text())["images"]) for split in ("train", "val")]
    assert counts == [11, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 9}, "num_train: must be 10 or more, but got 9"),
        ({"num_val": 0}, "num_val: must be 10 or more, but got 0"),
        ({"size_px": 100}, "size_px: must be 128 or more, but got 100"),
        ({"size_px": 10**8}, "size_px: must be 4096 or less, but got 100000000"),
        ({"seed": -1}, "seed: must be 0 or more, but got -1"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    tmp_path: Path, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        draw_dataset(tmp_path / "d", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"^\. must not exist or be an empty folder, and not the current one"):
        draw_dataset(Path(), num_train=10, num_val=10)
    assert list(tmp_path.iterdir()) == []


def test_a_filled_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(BadInput, match="must not exist or be an empty folder"):
        draw_dataset(tmp_path, num_train=10, num_val=10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        draw_dataset(tmp_path / "d", num_train=10, num_val=10)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_filled_while_drawing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = cv2.imencode

    def fill(*given: Any) -> Any:
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / "mine.txt").write_text("x")
        return encode(*given)

    monkeypatch.setattr(cv2, "imencode", fill)
    with pytest.raises(BadInput, match="must not exist or be an empty folder, but was filled meanwhile"):
        draw_dataset(tmp_path / "d", num_train=10, num_val=10)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["d", "d/mine.txt"]


def test_the_cached_one_is_drawn_once(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    first = drawn_dataset(num_train=20, num_val=10)
    assert first.parent == tmp_path / "cache" / "drawn"
    assert hashes(first) == hashes(drawn)
    stamp = (first / "train.json").stat().st_mtime_ns
    assert drawn_dataset(num_train=20, num_val=10) == first
    assert (first / "train.json").stat().st_mtime_ns == stamp
    assert drawn_dataset(num_train=20, num_val=10, seed=5) != first
    with pytest.raises(BadInput, match="num_val: must be 10 or more, but got 3"):
        drawn_dataset(num_val=3)
