"""What all trials need is looked at before the first, all at once and without a trace."""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ikd.config import Recipe, Runner, SweepFiles
from ikd.errors import BadInput
from ikd.files import write_text
from ikd.sweep import dry_run, run_sweep
from ikd.sweep.preflight import check_start, scratch_home
from ikd.sweep.study.folder import has_trials, sweep_folder
from ikd.tracking import check_tracking
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space, with_teachers

FAKE = "tests.unit.sweep.fake_training"


def told(recipe: Recipe, *, runner: Runner | None = None, begun: bool = False, **space: Any) -> str:
    files = SweepFiles(make_space(**space).checked(recipe), recipe, runner or make_runner())
    try:
        return check_start(FAKE, files, sweep_folder("s"), begun=begun)
    except BadInput as error:
        return str(error)


def with_files(recipe: Recipe, trained: str = "drawn_r18_teacher", **of_b: Any) -> Recipe:
    """Give a recipe a teacher a that is well, and a teacher b."""
    base = with_teachers(recipe, "a")
    b = base.teachers.available["b"].model_dump(mode="json") | of_b | {"recipe": trained}
    return base.with_values({"teachers.available": base.as_dict()["teachers"]["available"] | {"b": b}})


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("of_b", "parts"),
    [
        ({"trained": "gone.yaml"}, ["teachers.available.b.recipe: must be a shipped recipe", "/gone.yaml'"]),
        ({"checkpoint": "gone.pth"}, ["teachers.available.b.checkpoint: must be a URL, or a file", "/gone.pth'"]),
        ({"config": "gone.py", "arguments": {}}, ["teachers.available.b.config: must be mmdet::", "/gone.py'"]),
    ],
)
def test_files_of_a_teacher_that_the_space_may_choose_must_be_there(
    begun: bool, of_b: dict[str, Any], parts: list[str], recipe: Recipe, ikd_home: Path
) -> None:
    base = with_files(recipe, **of_b)
    assert told(base, begun=begun) == "", "nobody asks for b"
    text = told(base, begun=begun, parameters={"teachers.sequence": {"choice": [["a"], ["b"]]}})
    assert all(part in text for part in ["search space: teachers.sequence b", *parts])
    assert not ikd_home.exists(), "nothing was written"


def test_a_file_that_the_recipe_itself_names_is_told_once(recipe: Recipe) -> None:
    base = with_files(recipe, checkpoint="gone.pth").with_values(
        {"teachers.sequence": ["b"], "student.checkpoint": "no.pth", "student.inherit": False}
    )
    rule = f"a URL, or a file that is there, but got '{os.getcwd()}"
    assert told(base).splitlines() == [
        f"recipe drawn_r18: student.checkpoint: must be {rule}/no.pth'",
        f"recipe drawn_r18: teachers.available.b.checkpoint: must be {rule}/gone.pth'",
    ]


def test_more_than_the_machine_has_is_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert told(recipe, runner=make_runner(trial={"gpus": 0.5})) == ""
    assert told(recipe, runner=make_runner(trial={"gpus": 2}, ray={"address": "auto"})) == "", "a cluster says itself"
    text = told(recipe, runner=make_runner(trial={"gpus": 2}))
    assert "runner: trial.gpus: must be at most the 1 GPUs of this Ray, but got 2" in text
    text = told(recipe.with_values({"device": "cuda"}))
    assert "recipe drawn_r18: device: must be auto or cpu" in text
    assert "but got 'cuda'" in text


def test_the_folder_must_be_one_that_can_be_written(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = told(recipe, runner=make_runner(storage=str(tmp_path / "file" / "below")))
    assert told(recipe, runner=make_runner(storage=str(tmp_path / "new"))) == ""
    assert not (tmp_path / "new").exists()
    files = SweepFiles(make_space(), recipe, make_runner(storage=str(tmp_path / "file" / "below")))
    with pytest.raises(BadInput, match=rf"runner: storage: must be a folder that can be written, but {tmp_path}/file"):
        check_start(FAKE, files, sweep_folder("s", tmp_path / "file" / "below"))
    assert text == "", "the sweep's own folder is what counts"


@pytest.mark.parametrize("dry", [False, True])
def test_a_start_and_a_dry_run_refuse_the_same(dry: bool, recipe: Recipe, ikd_home: Path) -> None:
    base = with_files(recipe, checkpoint="gone.pth").with_values({"teachers.sequence": ["b"]})
    ask = functools.partial(dry_run, check=True) if dry else functools.partial(run_sweep, training=FAKE)
    with pytest.raises(BadInput, match=r"teachers.available.b.checkpoint: .* got '.*/gone.pth'"):
        ask(make_space(), recipe=base, runner=make_runner())
    assert not ikd_home.exists()


def test_a_check_that_leaves_nothing_sees_the_caches(tmp_path: Path) -> None:
    (tmp_path / "cache" / "drawn").mkdir(parents=True)
    (tmp_path / "cache" / "drawn" / "there").touch()
    with scratch_home(tmp_path) as scratch:
        assert (scratch / "cache" / "drawn" / "there").exists()
        (scratch / "cache" / "rehearsals").mkdir()
    assert not scratch.exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["drawn"]


def test_a_check_that_leaves_nothing_leaves_nothing_in_caches_that_are_there(tmp_path: Path) -> None:
    for file in ("coco/index/notes.json", "checks/a.json", "checks/a.json.lock"):
        (tmp_path / "cache" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / file).write_text("before")
    with scratch_home(tmp_path) as scratch:
        assert (scratch / "cache" / "coco" / "index" / "notes.json").read_text() == "before"
        assert not (scratch / "cache" / "checks" / "a.json.lock").exists(), "a start is not kept waiting"
        for file in ("coco/index/compared", "coco/other", "checks/b.json"):
            (scratch / "cache" / file).touch()
        write_text(scratch / "cache" / "checks" / "a.json", "after")
    files = {str(path.relative_to(tmp_path / "cache")) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"coco/index/notes.json", "checks/a.json", "checks/a.json.lock"}
    assert (tmp_path / "cache" / "checks" / "a.json").read_text() == "before"


def test_a_download_of_a_check_that_leaves_nothing_is_kept(tmp_path: Path) -> None:
    with scratch_home(tmp_path) as scratch:
        for name in ("urls/a", "17ab/r50.pth", ".download-x/r101.pth"):
            (scratch / "cache" / "checkpoints" / name).parent.mkdir(parents=True)
            (scratch / "cache" / "checkpoints" / name).write_text(name)
    kept = tmp_path / "cache" / "checkpoints"
    assert {path: path.read_text() for path in kept.rglob("*") if path.is_file()} == {
        kept / "urls" / "a": "urls/a",
        kept / "17ab" / "r50.pth": "17ab/r50.pth",
    }
    with scratch_home(tmp_path) as scratch:
        assert (scratch / "cache" / "checkpoints" / "17ab" / "r50.pth").is_symlink(), "is not downloaded again"
        (scratch / "cache" / "checkpoints" / "urls" / "b").touch()
    assert (kept / "urls" / "b").is_file()


def test_a_study_without_a_trial_has_none(open_study: OpenStudy, tmp_path: Path, recipe: Recipe) -> None:
    folder = sweep_folder("s", tmp_path)
    assert not has_trials(folder)
    open_study(folder.path)
    assert not has_trials(folder), "a start that was refused has left it"
    (tmp_path / "sweeps" / "t").mkdir()
    (tmp_path / "sweeps" / "t" / "study.db").write_text("no database")
    assert not has_trials(sweep_folder("t", tmp_path))


class Tracker(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow's server does with accounts: `alone` may read, `ikd` may write, `gone` was deleted."""

    posted: ClassVar[list[Any]] = []

    def do_GET(self) -> None:
        name = self.path.partition("experiment_name=")[2].partition("&")[0]
        if "Authorization" not in self.headers:
            self.answer(401, None)
        elif name == "new":
            self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
        elif name == "secret":
            self.answer(403, None)
        else:
            stage = "deleted" if name == "gone" else "active"
            self.answer(200, {"experiment": {"experiment_id": name, "lifecycle_stage": stage}})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posted.append(content)
        self.answer(403 if content["experiment_id"] == "alone" else 400, {"error_code": "INVALID_PARAMETER_VALUE"})

    def answer(self, code: int, content: Any) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if content else "text/plain")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode() if content else b"no")

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_tracker_that_refuses_is_told_before_the_start(
    tracker: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(experiment: str) -> str:
        try:
            return check_tracking(tracker, home=tmp_path, experiment=experiment)
        except BadInput as error:
            return str(error)

    assert said("ikd") == said("new") == ""
    assert all(content == {"experiment_id": "ikd", "value": ""} for content in Tracker.posted), "nothing is written"
    assert "tracking.experiment: " in said("alone")
    assert "does not let this user write into experiment 'alone' (HTTP 403)" in said("alone")
    assert "does not let this user read experiment 'secret' (HTTP 403)" in said("secret")
    command = f"MLFLOW_TRACKING_URI={tracker} mlflow experiments restore --experiment-id gone"
    assert f"must not be deleted, but got 'gone'; {command}, or use another name" in said("gone")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name)
    assert "HTTP 401); set MLFLOW_TRACKING_USERNAME" in said("ikd")
    runner = make_runner(tracking={"uri": tracker})
    assert "HTTP 401" in told(recipe, runner=runner)
    assert told(recipe, runner=runner, begun=True) == "", "what has begun goes on, and sends it later"
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_away_is_no_reason_to_wait(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    said = check_tracking(address, home=tmp_path, experiment="ikd")
    assert "nothing answers at this address; a sweep keeps its results and sends them later" in said


def test_a_tracking_database_must_open(tmp_path: Path) -> None:
    for uri in ("none", "local", f"sqlite:///{tmp_path}/new/mlflow.db"):
        assert check_tracking(uri, home=tmp_path, experiment="ikd") == ""
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"runner: tracking.uri: must lie in a folder"):
        check_tracking(f"sqlite:///{tmp_path}/file/mlflow.db", home=tmp_path, experiment="ikd")
    with pytest.raises(BadInput, match=r"runner: tracking.uri: postgresql://me:\*\*\*@127.0.0.1:1/x cannot be opened"):
        check_tracking("postgresql://me:word@127.0.0.1:1/x", home=tmp_path, experiment="ikd")
    assert os.listdir(tmp_path) == ["file"]
