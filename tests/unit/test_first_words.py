"""Every command that takes time says what it is about to do before it does it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikd import progress
from ikd.cli import commands as cli
from ikd.cli import look


class Begun(Exception):
    """Raised where the long part would begin."""


def begin(*_: Any, **__: Any) -> None:
    raise Begun


def space(folder: Path) -> Path:
    path = folder / "x.yaml"
    path.write_text("recipe: drawn_r18\nparameters: {seed: {int: [1, 9]}}\n")
    return path


COMMANDS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "doctor": ("ikd.doctor_apart.diagnose_apart", lambda folder: cli.doctor(), "looking at this machine ..."),
    "ui": ("ikd.tracking.serve_ui", lambda folder: cli.ui(), "loading MLflow ..."),
    "export": ("ikd.export.export_sweep", lambda folder: cli.export("s", folder), "loading what exports ..."),
    "train": ("ikd.training.prepare", lambda folder: cli.train("drawn_r18", folder), "trying the recipe on two"),
    "attack": ("ikd.training.perturb", lambda folder: cli.attack("drawn_r18"), "trying the recipe on two"),
    "data check": ("ikd.data.check_dataset", lambda folder: cli.data_check(folder), "checking /"),
    "dry run": (
        "ikd.sweep.planning.dry_run",
        lambda folder: cli.sweep(space(folder), dry_run=True),
        "looking at what is there ...",
    ),
    "sweep": ("ikd.sweep.driver.run_sweep", lambda folder: cli.sweep(space(folder)), "loading what runs a sweep"),
    "track rebuild": ("ikd.sweep.rebuild.rebuild_tracking", lambda folder: cli.track_rebuild("s"), "writing s to its"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_word_comes_before_the_work(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work, command, says = COMMANDS[name]
    monkeypatch.setattr(work, begin)
    monkeypatch.setattr("ikd.sweep.study.folder.existing_folder", lambda name: name)  # else an unknown one is refused
    with pytest.raises(Begun):
        command(tmp_path)
    assert says in capsys.readouterr().err


QUICK: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "list": ("ikd.sweep.sweep_statuses", lambda folder: look.list_sweeps(), "reading the sweeps ..."),
    "status": ("ikd.sweep.sweep_status", lambda folder: look.status("s"), "reading s ..."),
    "show": ("ikd.sweep.sweep_status", lambda folder: look.show("s"), "reading s ..."),
    "compare": ("ikd.sweep.sweep_status", lambda folder: look.compare("s", 0, 1), "reading s ..."),
    "stop": ("ikd.sweep.stop_sweep", lambda folder: cli.stop("s"), "reading s ..."),
    "space show": ("ikd.config.load_sweep", lambda folder: cli.space_show(space(folder)), "reading /"),
    "data draw": ("ikd.data.draw_dataset", lambda folder: cli.data_draw(folder / "d", 1, 1), "drawing 2 images ..."),
}
"""Commands that are done in a moment as a rule, and say what they do where they are not."""


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_command_speaks_when_it_takes_long(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work, command, says = QUICK[name]
    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.01)

    def slow(*_: Any, **__: Any) -> None:
        deadline = time.monotonic() + 60
        while says not in capsys.readouterr().err:
            assert time.monotonic() < deadline, f"never says {says!r}"
            time.sleep(0.02)
        raise Begun

    monkeypatch.setattr(work, slow)
    with pytest.raises(Begun):
        command(tmp_path)


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_command_says_nothing_of_itself(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work, command, _ = QUICK[name]
    monkeypatch.setattr(work, begin)
    monkeypatch.setattr(progress, "BEAT_SECONDS", 600.0)
    with pytest.raises(Begun):
        command(tmp_path)
    assert capsys.readouterr().err == ""
