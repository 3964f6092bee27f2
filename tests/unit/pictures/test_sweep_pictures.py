"""Pictures of the trials of a sweep: on demand, and by the sweep itself at its end."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.cli import main
from ikd.config import Runner, SweepFiles
from ikd.pictures import read_measures, shows
from ikd.sweep import SweepResult, run_sweep
from ikd.sweep.pictures import sweep as at_the_end
from ikd.sweep.pictures.sweep import Painted, picture_trials
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.folder import COMPLETE, SweepFolder, sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from ikd.world import python_code
from tests.unit.pictures.conftest import Trained
from tests.unit.sweep.conftest import make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

TRIALS, ANCHORS = 4, [0, 1]
SPACE: dict[str, Any] = {
    "parameters": {"distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2]}},
    "sampler": {"random": {}},
    "scheduler": {"none": {}},
    "budget": {"trials": TRIALS, "confirm": {"share": 0.0, "apart": 0}},
}


@pytest.fixture(scope="module")
def played(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the sweep `mine`, played by a conductor: each trial but the last has left a student."""
    home = tmp_path_factory.mktemp("played")
    folder, space, recipe = sweep_folder("mine", home), make_space(**SPACE), trained.taught()
    folder.path.mkdir(parents=True)
    study = SweepStudy(open_storage(folder.path, "sqlite"), "mine", folder.path, objective=space.objective)
    write_files(folder, SweepFiles(space, recipe, make_runner()))
    play(conduct(space, recipe, study), recipe, Worker())
    study.note(COMPLETE, len(study.records))
    for record in study.records[:-1]:
        trained.copied(record.directory)
    study.records[-1].directory.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture
def home(played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the ikd home."""
    copied = Path(shutil.copytree(played, tmp_path / "home"))
    monkeypatch.setenv("IKD_HOME", str(copied))
    return copied


@pytest.fixture
def folder(home: Path) -> SweepFolder:
    return sweep_folder("mine", home)


def trial(folder: SweepFolder, number: int) -> Path:
    return folder.path / "trials" / str(number)


def command(*arguments: str) -> object:
    """Run `ikd`; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ikd", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code or 0


def go_on(trained: Trained, **runner: Any) -> tuple[SweepResult, str]:
    """Start the sweep once more; all its trials have ended."""
    text = io.StringIO()
    result = run_sweep(
        make_space(**SPACE),
        recipe=trained.taught(),
        runner=make_runner(**runner),
        name="mine",
        output=Console(file=text, width=200),
    )
    return result, text.getvalue()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Takes the place of the process that makes pictures; what it was asked for."""
    numbers: list[list[int]] = []

    def noted(folder: SweepFolder, wanted: Sequence[int], beat: Callable[[], bool]) -> Painted:
        numbers.append(list(wanted))
        return Painted()

    monkeypatch.setattr("ikd.sweep.driver.picture_trials", noted)
    return numbers


class TestOnDemand:
    def test_the_command_says_where_they_are(self, folder: SweepFolder, capfd: pytest.CaptureFixture[str]) -> None:
        assert command("show", "mine", "0", "--pictures") == 0
        said, progress = capfd.readouterr()
        pictures = trial(folder, 0) / "pictures"
        assert said.splitlines()[0] == str(pictures / "detections" / "00.jpg")
        assert all(Path(line).is_file() for line in said.splitlines())
        assert "student on the validation part" in progress
        made = (pictures / "ap.png").stat().st_mtime_ns
        assert command("show", "mine", "0", "--pictures", "--json") == 0
        said, _ = capfd.readouterr()
        assert json.loads(said)["folder"] == str(pictures)
        assert json.loads(said)["missing"] == []
        assert (pictures / "ap.png").stat().st_mtime_ns == made, "they are whole: nothing is made again"
        assert command("show", "mine", "0") == 0
        assert "pictures" in capfd.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["mne", "0"], "sweep name: must be a sweep under .*, but got 'mne'; did you mean 'mine'"),
            (["mine"], "needs the number of a trial, as in ikd show mine 0 --pictures"),
            (["mine", "9"], "trial must be one of the sweep's, but got 9; those that have a student: 0 (paper), 1"),
            (["mine", "3"], "only the best configurations keep their checkpoints (runner: keep_top); those that have"),
        ],
    )
    def test_what_cannot_be_pictured_is_told_in_one_line(
        self, arguments: list[str], says: str, home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert command("show", *arguments, "--pictures") == 2
        said = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("loading what")]
        assert len(said) == 1, said
        assert all(part in said[0] for part in says.split(".*")), said[0]

    @pytest.mark.slow
    def test_a_teacher_that_has_gone_is_one_warning_and_is_looked_for_again(
        self, folder: SweepFolder, trained: Trained, capfd: pytest.CaptureFixture[str]
    ) -> None:
        aside = trained.best.with_name("aside.pth")
        trained.best.rename(aside)
        try:
            assert command("show", "mine", "0", "--pictures") == 0
            err = capfd.readouterr().err
        finally:
            aside.rename(trained.best)
        lines = [line for line in err.splitlines() if line.startswith("warning: ")]
        assert lines[0].startswith("warning: without the teacher: teacher itself: its checkpoint must be a file")
        pictures = trial(folder, 0) / "pictures"
        assert not (pictures / "confusion_teacher.png").exists()
        assert command("show", "mine", "0", "--pictures") == 0
        assert (pictures / "confusion_teacher.png").is_file()


class TestAtTheEnd:
    @pytest.mark.slow
    def test_anchors_and_the_chosen_training_get_pictures(self, folder: SweepFolder, trained: Trained) -> None:
        trial(folder, 1).joinpath("best.pth").write_bytes(b"torn")
        result, said = go_on(trained)
        assert (result.state, result.exit_status) == ("finished", 0)
        assert result.best is not None
        expected = sorted({0, result.best.number})
        for number in expected:
            assert shows(trial(folder, number) / "pictures", trial(folder, number) / "best.pth")
        assert f"pictures: of trials {', '.join(map(str, expected))}, in " in said
        warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
        assert len(warnings) == 1
        assert warnings[0].startswith("warning: pictures of trial 1: none: ")
        assert str(trial(folder, 1) / "best.pth") in warnings[0]
        alone = read_measures(trial(folder, 0) / "pictures")
        assert alone is not None
        assert alone["teacher_name"] == "itself"

    def test_only_what_is_missing_is_made(
        self, folder: SweepFolder, trained: Trained, asked: list[list[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "ikd.sweep.pictures.sweep.shows", lambda pictures, checkpoint: checkpoint.parent.name == "0"
        )
        result, _ = go_on(trained)
        assert result.best is not None
        assert asked == [sorted({1, result.best.number} - {0})]

    def test_a_runner_without_pictures_makes_none(self, home: Path, trained: Trained, asked: list[list[int]]) -> None:
        assert Runner().pictures
        go_on(trained, pictures=False)
        assert asked == []

    @pytest.mark.usefixtures("home")
    def test_an_error_on_the_way_is_one_warning(self, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object) -> Painted:
            raise OSError("no room for a process")

        monkeypatch.setattr("ikd.sweep.driver.picture_trials", fails)
        result, said = go_on(trained)
        assert result.state == "finished"
        assert "warning: pictures: none: no room for a process" in said

    @pytest.mark.usefixtures("home")
    def test_a_signal_ends_it_and_the_same_command_goes_on(self, trained: Trained, asked: list[list[int]]) -> None:

        def interrupted(folder: SweepFolder, wanted: Sequence[int], beat: Callable[[], bool]) -> Painted:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            assert not beat()
            return Painted()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ikd.sweep.driver.picture_trials", interrupted)
            result, said = go_on(trained)
        assert (result.state, result.exit_status) == ("interrupted", 143)
        assert "mine: ended before all pictures were made; the same command goes on" in said
        result, _ = go_on(trained)
        assert result.state == "finished"
        assert asked[0][:2] == ANCHORS

    def test_the_tracker_gets_what_is_there(
        self, folder: SweepFolder, trained: Trained, asked: list[list[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ikd.tracking import NullTracker

        sent = list[tuple[int | None, Path, str]]()

        class Recording(NullTracker):
            def log_artifacts(self, number: int | None, path: Path, folder: str = "") -> None:
                sent.append((number, path, folder))

        monkeypatch.setattr("ikd.sweep.driver.open_tracker", lambda *_, **__: Recording())
        pictures = trial(folder, 1) / "pictures"
        pictures.mkdir()
        go_on(trained)
        assert (1, pictures, "pictures") in sent
        assert [number for number, _, where in sent if where == "pictures"] == [1]


class TestTheProcess:
    def test_one_that_dies_is_one_warning(self, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        code = 'import sys\nprint(\'{"trial": 0, "made": "x", "missing": []}\')\nsys.exit(\'out of memory\')'
        monkeypatch.setattr(at_the_end, "python_module", lambda *_: python_code(code))
        painted = picture_trials(folder, [0, 1, 2], lambda: True)
        assert painted.made == [0]
        assert painted.warnings == [
            "pictures of trials 1, 2: none: the process that makes them ended with 1: out of memory"
        ]

    def test_one_that_is_no_longer_wanted_is_ended_with_all_it_started(
        self, folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = "import subprocess, sys, time\nchild = subprocess.Popen(['sleep', '600'])\n"
        code += f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{child.pid}}')\ntime.sleep(600)"
        monkeypatch.setattr(at_the_end, "python_module", lambda *_: python_code(code))
        written = tmp_path / "pids"
        painted = picture_trials(folder, [0], lambda: not (written.is_file() and written.read_text()))
        assert (painted.made, painted.warnings) == ([], [])
        _wait_for_end(int(written.read_text()))

    def test_nothing_is_started_for_nothing(self, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(at_the_end, "python_module", lambda *_: ["/nowhere"])
        assert picture_trials(folder, [], lambda: True) == Painted()


def _wait_for_end(process: int) -> None:
    for _ in range(600):
        state = Path(f"/proc/{process}/stat")
        try:
            if state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.1)
    raise AssertionError(f"{process} goes on")
