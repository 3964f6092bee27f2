"""The tracker's copy is made again from the study; a study that cannot be written ends the sweep plainly."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.errors import BadInput
from ikd.sweep import TrialRecord, rebuild_tracking
from ikd.sweep.study.folder import driving, sweep_folder, write_files
from ikd.sweep.study.study import StudyLost
from ikd.tracking import local_uri
from ikd.tracking.mlflow_client import make_client
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play


@pytest.fixture
def records(open_study: OpenStudy, recipe: Recipe, ikd_home: Path) -> list[TrialRecord]:
    """A sweep of four ended trials and an open one, played without a tracker."""
    folder, space = sweep_folder("s"), make_space(budget={"trials": 4})
    study = open_study(folder.path)
    play(conduct(space, recipe, study), recipe, Worker())
    larger = conduct(make_space(budget={"trials": 5}), recipe, study)
    larger.next_trial()
    larger.started(4, study.records[4].fingerprint)
    larger.report(4, 1, {"bbox_mAP": 0.25}, 1.0)
    larger.close()
    write_files(folder, SweepFiles(space, recipe, make_runner(tracking={"uri": "local"})))
    return study.records


def runs_of(home: Path) -> dict[str, Any]:
    client = make_client(local_uri(home))
    experiment = client.get_experiment_by_name("drawn drawn_r18")
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags["ikd.trial"] for run in runs}) == len(runs), "one run each"
    for run in runs:
        trial = run.data.tags["ikd.trial"]
        history = client.get_metric_history(run.info.run_id, "bbox_mAP") if trial != "sweep" else []
        run.history = [(point.step, point.value, point.timestamp) for point in history]
    return {run.data.tags["ikd.trial"]: run for run in runs}


def check(runs: dict[str, Any], records: list[TrialRecord]) -> None:
    assert set(runs) == {"sweep", *[str(record.number) for record in records]}
    for record in records:
        run = runs[str(record.number)]
        told = [(one.epoch, one.metrics["bbox_mAP"], round(1000 * one.time)) for one in record.reports]
        assert run.history == told
        assert run.info.run_name.removeprefix("★ ").removeprefix("▲ ") == record.name
        assert run.info.start_time == round(1000 * record.began)
        wanted = {"finished": "FINISHED", "stopped": "FINISHED", "waiting": "KILLED"}[record.state]
        assert run.info.status == wanted
        if record.ended:
            assert run.info.end_time == round(1000 * record.ended)
            assert run.data.tags["ikd.reason"] == record.reason


def test_a_lost_tracker_is_written_again(records: list[TrialRecord], ikd_home: Path) -> None:
    made = rebuild_tracking("s")
    assert (made.trials, made.reports) == (5, sum(record.epochs for record in records))
    check(runs_of(ikd_home), records)

    before = {trial: run.info.run_id for trial, run in runs_of(ikd_home).items()}
    rebuild_tracking("s")
    again = runs_of(ikd_home)
    check(again, records)
    assert {trial: run.info.run_id for trial, run in again.items()} == before, "what was there is found"

    client = make_client(local_uri(ikd_home))
    client.log_metric(before["0"], "bbox_mAP", 0.99, step=2)  # somebody edits by hand
    client.delete_run(before["1"])
    rebuild_tracking("s", fresh=True)
    anew = runs_of(ikd_home)
    check(anew, records)
    assert not set(before.values()) & {run.info.run_id for run in anew.values()}


def test_what_cannot_be_rebuilt_is_refused(records: list[TrialRecord], recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="must be a sweep under"):
        rebuild_tracking("another")
    folder = sweep_folder("s")
    write_files(folder, SweepFiles(make_space(), recipe, make_runner()))
    with pytest.raises(BadInput, match=r"sweep.yaml: runner.tracking.uri: must name a tracker .* but got 'none'"):
        rebuild_tracking("s")
    write_files(folder, SweepFiles(make_space(), recipe, make_runner(tracking={"uri": "local"})))
    with driving(folder), pytest.raises(BadInput, match="is already being run"):
        rebuild_tracking("s")


def test_a_study_that_cannot_be_written_is_said(
    open_study: OpenStudy, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    conductor.next_trial()
    conductor.started(0, study.records[0].fingerprint)

    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(study._storage, "set_trial_user_attr", full)
        with pytest.raises(StudyLost, match=f"{tmp_path}: the study cannot be written: database or disk is full"):
            conductor.report(0, 1, {"bbox_mAP": 0.1}, 1.0)
    again = open_study()
    assert again.records[0].epochs == 0
    assert again.report(0, 1, {"bbox_mAP": 0.1}, 1.0) is not None
