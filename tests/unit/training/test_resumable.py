"""Checkpoints that were cut short, damaged, or met a full disk."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import CheckpointError, DiskFull
from ikd.training import EpochReport, StopTrial, resumable, run_trial
from ikd.training.checkpoint import load, save, save_last
from ikd.trial import TrialFolder

Build = Callable[..., Recipe]
Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "cut short": lambda raw: raw[: len(raw) // 2],
    "last byte missing": lambda raw: raw[:-1],
    "empty": lambda raw: b"",
    "garbage": lambda raw: bytes(range(256)) * 40,
    "a hole": lambda raw: raw[: len(raw) // 3] + bytes(512) + raw[len(raw) // 3 + 512 :],
    "one bit": lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :],
}


def content(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "model": {"weight": torch.full((4096,), float(epoch))}}


def spoil(path: Path, damage: Damage) -> None:
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: Damage) -> None:
    for epoch in (1, 2, 3):
        save_last(content(epoch), TrialFolder(tmp_path))
    last, previous = tmp_path / "last.pth", tmp_path / "previous.pth"
    assert resumable(tmp_path) == last
    assert [load(path)["epoch"] for path in (last, previous)] == [3, 2]
    spoil(last, damage)
    assert resumable(tmp_path) == previous
    with pytest.raises(CheckpointError, match=r"last\.pth: must be a whole checkpoint"):
        load(last)
    spoil(previous, damage)
    assert resumable(tmp_path) is None


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert resumable(tmp_path / "absent") is None
    torch.save({"format": 0}, tmp_path / "last.pth")
    assert resumable(tmp_path) is None
    save_last(content(1), TrialFolder(tmp_path))
    (tmp_path / "last.pth").unlink()
    assert resumable(tmp_path) is None


def test_a_kept_epoch_stays(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        save_last(content(epoch), TrialFolder(tmp_path), keep=epoch == 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-2.pth", "last.pth", "previous.pth"]
    assert load(tmp_path / "epoch-2.pth")["model"]["weight"][0] == 2


def test_a_full_disk_leaves_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save turns the system's error into a RuntimeError that does not name it."""
    path = tmp_path / "last.pth"
    save(content(1), path)
    size = path.stat().st_size

    class Full(io.FileIO):
        def write(self, given: Any) -> int:
            if self.tell() + len(given) > 8192:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(given) or 0

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: Full(path, mode.replace("b", "")))
        with pytest.raises(DiskFull, match=r"disk full while writing .*last\.pth: need 0\.0 MB") as caught:
            save(content(2), path)
    assert caught.value.needed == pytest.approx(size, abs=64)
    assert load(path)["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


@pytest.fixture(scope="module")
def stopped(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A trial of three epochs that was stopped after the second, whose last.pth was then cut short."""
    recipe, directory = tiny_recipe(schedule__epochs=3), tmp_path_factory.mktemp("stopped")

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopTrial

    run_trial(recipe, stop, directory=directory)
    spoil(directory / "last.pth", DAMAGES["cut short"])
    (directory / ".last.pth.17.partial").touch()
    return recipe, directory


def test_a_trial_goes_on_from_the_epoch_before(stopped: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, directory = stopped
    whole = run_trial(recipe, directory=tmp_path)
    reports: list[EpochReport] = []
    previous = resumable(directory)
    assert previous is not None

    def look(report: EpochReport) -> None:
        reports.append(report)
        if report.epoch == 2:
            assert load(directory / "previous.pth")["epoch"] == 1, "the damaged one is gone"

    run_trial(recipe, look, previous, directory=directory)
    assert [report.epoch for report in reports] == [2, 3]
    weights = [load(path)["model"] for path in (whole.last, directory / "last.pth")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    lines = (directory / "log.jsonl").read_text().splitlines()
    assert len(lines) == 3
    names = {"best.pth", "last.pth", "log.jsonl", "notes.txt", "recipe.yaml"}
    assert {path.name for path in directory.iterdir()} == names, "no leftovers, and nothing to go back to is needed"
    (note,) = (directory / "notes.txt").read_text().splitlines()
    assert note.startswith("teacher big: mAP "), "told at the start, and not again"


def test_a_trial_that_starts_anew_forgets_the_old_one(tiny_recipe: Build, tmp_path: Path) -> None:
    save_last(content(1), TrialFolder(tmp_path))
    save_last(content(2), TrialFolder(tmp_path))
    seen: list[list[str]] = []
    run_trial(
        tiny_recipe(schedule__epochs=1),
        lambda report: seen.append(sorted(path.name for path in tmp_path.glob("*.pth"))),
        directory=tmp_path,
    )
    assert seen == [["best.pth", "last.pth"]]
