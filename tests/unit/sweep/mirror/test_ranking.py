"""Sorting by `value` in MLflow gives the ranking of `ikd status`, in a database and on a server of MLflow's own."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.sweep.conductor import Conductor
from ikd.sweep.confirm.standing import standing
from ikd.sweep.mirror.announce import announce
from ikd.sweep.records.trials import ranked
from ikd.sweep.study.folder import sweep_folder
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.view.ranking import _in_order
from ikd.tracking import open_tracker
from ikd.tracking.mlflow_client import make_client
from tests.marks import some
from tests.unit.sweep import player
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.fake_training import epoch_metrics
from tests.unit.sweep.player import SilentWatcher, Worker, play

CONFIRM = {"share": 0.15, "apart": 2}


@pytest.fixture(params=some(["database", "server"], 1))
def place(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> Iterator[str]:
    """Name where runs go: MLflow's database on this machine, or a server over it."""
    shutil.copy(template, tmp_path / "runs.db")
    if request.param == "database":
        yield f"sqlite:///{tmp_path / 'runs.db'}"
        return
    with served(tmp_path) as uri:
        yield uri


@contextlib.contextmanager
def served(tmp_path: Path) -> Iterator[str]:
    """Serve MLflow over a database of its own, as `mlflow server` does, on this machine alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'runs.db'}"]
    command += ["--artifacts-destination", (tmp_path / "artifacts").as_uri()]
    with (tmp_path / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while process.poll() is None and not _answers(uri):
                time.sleep(0.2)
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            yield uri
        finally:
            process.terminate()


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2):
            return True
    except OSError:
        return False


def noisy(recipe: Recipe, epoch: int) -> dict[str, float]:
    """Return the fake training's metrics with noise, so that the last epoch is not the best, nor what is expected."""
    metrics = epoch_metrics(recipe, epoch)
    draw = random.Random(f"{recipe.fingerprint()} {epoch}").random()
    return {**metrics, "bbox_mAP": metrics["bbox_mAP"] * (0.9 + 0.2 * draw)}


def listed(client: Any, experiment: str, order: str) -> list[Any]:
    """Return the runs of trials as MLflow sorts them."""
    number = client.get_experiment_by_name(experiment).experiment_id
    return list(client.search_runs([number], "tags.`ikd.trial` != 'sweep'", order_by=[order]))


def shown_order(study: SweepStudy, space: Any, recipe: Recipe) -> list[str]:
    """Return the ranked trials in the order of the table of `ikd status`."""
    known = standing(space, recipe, study.records, earlier=study.earlier)
    rows, ranks = _in_order(study.records, ranked(study.records, space.objective.mode), known)
    return [str(record.number) for record in rows if record.number in ranks]


def test_sorting_by_value_gives_the_ranking(
    place: str, open_study: OpenStudy, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the sweep runs, too: after each trial that ends the server has the order of the table."""
    monkeypatch.setattr(player, "epoch_metrics", noisy)
    space = make_space(budget={"trials": 14, "confirm": CONFIRM}, sampler={"random": {}})
    files, folder, study = SweepFiles(space, recipe, make_runner()), sweep_folder("s"), open_study()
    client, seen = make_client(place), []
    with open_tracker(place, home=folder.home, folder=folder.path) as tracker:
        announce(tracker, files, folder, study)
        conductor = Conductor(files, study=study, watcher=SilentWatcher(), tracker=tracker)
        ended = conductor.mirror.ended

        def look(record: Any) -> None:
            ended(record)
            if record.number in (5, 9):
                assert tracker.flush(120)
                runs = listed(client, "ikd", "metrics.value DESC")
                valued = [run.data.tags["ikd.trial"] for run in runs if "value" in run.data.metrics]
                seen.append(valued == shown_order(study, space, recipe))

        monkeypatch.setattr(conductor.mirror, "ended", look)
        play(conductor, recipe, Worker())
        conductor.mirror.compare(last=True)
        announce(tracker, files, folder, study)
        tracker.end_sweep("finished")
        assert tracker.flush(120)
    assert seen == [True, True]
    runs = listed(client, "ikd", "metrics.value DESC")
    expected = shown_order(study, space, recipe)
    assert [run.data.tags["ikd.trial"] for run in runs][: len(expected)] == expected
    by_last = [run.data.tags["ikd.trial"] for run in listed(client, "ikd", "metrics.bbox_mAP DESC")]
    assert by_last[: len(expected)] != expected, "else the test shows nothing"
    _check_runs(runs, study, len(expected))


def _check_runs(runs: list[Any], study: SweepStudy, valued: int) -> None:
    """Each run has its best value, its gains, marks, and the same parameters as all others."""
    named = {run.data.tags["ikd.trial"]: run for run in runs}
    alone = next(one for one in study.records if one.anchors == ("student_alone",))
    for record in study.records:
        run = named[str(record.number)]
        assert run.data.metrics["best/bbox_mAP"] == pytest.approx(record.best, abs=1e-6)
        if record.number != alone.number:
            assert run.data.metrics["gain/student_alone"] == pytest.approx(record.against(alone), abs=1e-6)
        assert run.data.tags["role"] == ("anchor" if record.anchors else record.role)
        assert set(run.data.params) == set(runs[0].data.params), "what one has not would be drawn above all others"
    assert all("value" not in run.data.metrics for run in runs[valued:])
    assert runs[0].info.run_name.startswith("★ ")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert "stopped" in {run.data.tags["ikd.state"] for run in runs}
