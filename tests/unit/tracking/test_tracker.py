"""What arrives in MLflow, on a SQLite database."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from ikd.errors import BadInput
from ikd.tracking import NullTracker, SpooledTracker, SweepState, Tracker, TrialState, open_tracker
from ikd.tracking.events import Event
from ikd.tracking.mlflow_sink import RUN_STATUS, SWEEP_STATUS, MlflowSink
from ikd.tracking.open import TRACKERS, make_sink
from tests.unit.tracking.tell import METRICS, make_tracker, runs_by_trial, steps, tell_trial


@pytest.mark.parametrize("make", [lambda home: NullTracker(), make_tracker], ids=["null", "mlflow"])
def test_contract_a_whole_sweep_can_be_told(make: Callable[[Path], Tracker], home: Path) -> None:
    """Every tracker takes the whole life of a sweep, crosses process borders, and has delivered all after flush."""
    artifact = home / "recipe.yaml"
    artifact.write_text("a: 1\n")
    with make(home) as tracker:
        tracker.start_sweep("demo", tags={"data.fingerprint": "9c1f"}, params={"recipe": "tiny"})
        tell_trial(tracker, 0, range(1, 3))
        tracker.log_artifacts(0, artifact)
        tracker.log_artifacts(None, artifact, "settings")
        copy = pickle.loads(pickle.dumps(tracker))
        assert isinstance(copy, NullTracker)
        tracker.end_sweep("finished")
        assert tracker.flush(60)


def test_parent_children_names_params_metrics_tags(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={"data.fingerprint": "9c1f"}, params={"recipe": "tiny"})
        tell_trial(tracker, 0, range(1, 11))
        tell_trial(tracker, 1, range(1, 4), "stopped")
        tracker.end_sweep("finished")
    runs = runs_by_trial(client)
    assert sorted(runs) == ["0", "1", "sweep"]
    parent = runs["sweep"]
    assert (parent.info.run_name, parent.info.status) == ("demo", "FINISHED")
    assert parent.data.params == {"recipe": "tiny"}
    assert parent.data.tags["data.fingerprint"] == "9c1f"
    for number, last in (("0", 10), ("1", 3)):
        run = runs[number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["ikd.sweep"] == "demo"
        assert run.data.tags["ikd.recipe"] == "tiny"
        assert run.info.run_name == f"{number} mgd"
        assert run.data.params == {"distill.host": "mgd"}
        assert run.data.metrics == {**METRICS, "bbox_mAP": last / 100}
        assert steps(client, run) == list(range(1, last + 1))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("finished", "FINISHED"),
        ("stopped", "FINISHED"),
        ("diverged", "FAILED"),
        ("failed", "FAILED"),
        ("killed", "KILLED"),
    ],
)
def test_states(state: TrialState, status: str, home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 2), state)
    run = runs_by_trial(client)["0"]
    assert run.info.status == status
    assert (run.data.tags["ikd.state"], run.data.tags["ikd.reason"]) == (state, "because")
    assert run.info.end_time is not None


def test_resume_continues_the_same_run(home: Path, client: Any) -> None:
    """Driver killed in epoch 7; the next one says epochs 5 to 10, as a trial restored from its checkpoint does."""
    first = make_tracker(home)
    first.start_sweep("demo", tags={}, params={"recipe": "tiny"})
    tell_trial(first, 0, range(1, 7), None)
    first.close()
    before = runs_by_trial(client)
    assert before["0"].info.status == "RUNNING"
    with make_tracker(home) as second:
        second.start_sweep("demo", tags={}, params={"recipe": "tiny"})
        tell_trial(second, 0, range(5, 11))
        second.end_sweep("finished")
    after = runs_by_trial(client)
    assert {number: run.info.run_id for number, run in after.items()} == {
        number: run.info.run_id for number, run in before.items()
    }
    assert steps(client, after["0"]) == list(range(1, 11))
    assert {run.info.status for run in after.values()} == {"FINISHED"}


def test_telling_everything_again_changes_nothing(home: Path, client: Any) -> None:
    for _ in range(2):
        with make_tracker(home) as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            tell_trial(tracker, 0, range(1, 6), "stopped")
            tracker.end_sweep("finished")
    runs = runs_by_trial(client)
    assert sorted(runs) == ["0", "sweep"]
    assert steps(client, runs["0"]) == [1, 2, 3, 4, 5]
    assert (runs["0"].info.status, runs["0"].data.tags["ikd.state"]) == ("FINISHED", "stopped")
    assert runs["sweep"].info.status == "FINISHED"


def test_a_hole_is_filled(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(3, 5), None)
        tell_trial(tracker, 0, range(1, 6))
    assert steps(client, runs_by_trial(client)["0"]) == [1, 2, 3, 4, 5]


def test_no_run_stays_open_after_the_sweep(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 2), None)
        tracker.end_sweep("stopped", "Ctrl-C")
    runs = runs_by_trial(client)
    assert runs["0"].info.status == "KILLED"
    assert "before this trial did" in runs["0"].data.tags["ikd.reason"]
    assert runs["sweep"].info.status == "KILLED"
    assert runs["sweep"].data.tags["ikd.reason"] == "Ctrl-C"


def test_a_new_sweep_of_an_old_name_has_runs_of_its_own(home: Path, client: Any) -> None:
    for folder in ("a", "b"):
        with open_tracker("local", home=home, folder=home / folder) as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            tell_trial(tracker, 0, range(1, 3))
    experiment = client.get_experiment_by_name("ikd")
    runs = client.search_runs([experiment.experiment_id], "tags.`ikd.trial` = '0'")
    assert [steps(client, run) for run in runs] == [[1, 2], [1, 2]]


def test_non_finite_values_are_named_and_not_drawn(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tracker.start_trial(0, name="0", params={}, tags={})
        tracker.log(0, 1, {"loss/total": 1.0, "bbox_mAP": 0.1})
        tracker.log(0, 2, {"loss/total": math.nan, "loss/fgd": math.inf, "bbox_mAP": 0.2})
    run = runs_by_trial(client)["0"]
    assert run.data.metrics == {"loss/total": 1.0, "bbox_mAP": 0.2}
    assert steps(client, run) == [1, 2]
    assert steps(client, run, "loss/total") == [1]
    assert run.data.tags["ikd.non_finite"] == "epoch 2: loss/total, loss/fgd"


def test_bad_names_and_long_values(home: Path, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("it's [demo]!", tags={"a,b": "x" * 9000}, params={"p@1": "y" * 7000, "many": 1})
        tracker.start_trial(0, name="0 α=1", params={f"p[{index}]": index for index in range(250)}, tags={})
        tracker.log(0, 1, {"mAP[50]": 0.5, "AP@0.5": 0.25})
    runs = runs_by_trial(client)
    assert runs["0"].data.metrics == {"mAP_50_": 0.5, "AP_0.5": 0.25}
    assert len(runs["0"].data.params) == 250
    assert runs["sweep"].info.run_name == "it's [demo]!"
    assert runs["sweep"].data.params["p_1"].endswith("[cut from 7000 characters]")
    assert runs["sweep"].data.tags["a_b"].endswith("[cut from 9000 characters]")
    assert caplog.text == ""


def test_a_changed_param_keeps_its_first_value_and_warns(
    home: Path, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for alpha in (1.0, 2.0):
        with make_tracker(home) as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            tracker.start_trial(0, name="0", params={"alpha": alpha, f"new.{alpha}": 1}, tags={})
            tracker.log(0, int(alpha), METRICS)
    run = runs_by_trial(client)["0"]
    assert run.data.params == {"alpha": "1.0", "new.1.0": "1", "new.2.0": "1"}
    assert steps(client, run) == [1, 2]
    assert "changed since: alpha" in caplog.text


def test_artifacts(home: Path, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    recipe, folder = home / "recipe.yaml", home / "student"
    recipe.write_text("a: 1\n")
    folder.mkdir()
    (folder / "best.pth").write_bytes(b"weights")
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tracker.start_trial(0, name="0", params={}, tags={})
        tracker.log_artifacts(0, recipe)
        tracker.log_artifacts(0, folder, "checkpoint")
        tracker.log_artifacts(0, home / "gone.pth")
        tracker.log_artifacts(None, recipe)
    runs = runs_by_trial(client)
    root = home / "mlartifacts" / runs["0"].info.run_id / "artifacts"
    assert (root / "recipe.yaml").read_text() == "a: 1\n"
    assert (root / "checkpoint" / "best.pth").read_bytes() == b"weights"
    assert [entry.path for entry in client.list_artifacts(runs["sweep"].info.run_id)] == ["recipe.yaml"]
    assert "gone.pth is gone" in caplog.text


def test_the_call_order_is_checked(home: Path) -> None:
    tracker = make_tracker(home)
    with pytest.raises(AssertionError, match="start_sweep comes first"):
        tracker.log(0, 1, METRICS)
    tracker.close()


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, ikd.tracking; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host", "sqlite:////a/b.db", "postgresql://u:p@h/d"])
def test_open_takes_servers_and_databases(uri: str, tmp_path: Path) -> None:
    sink = make_sink(uri, tmp_path, "ikd")
    assert isinstance(sink, MlflowSink)
    assert sink.uri == uri
    assert isinstance(open_tracker(uri, home=tmp_path), SpooledTracker)


def test_open_none(tmp_path: Path) -> None:
    assert isinstance(open_tracker("none", home=tmp_path), NullTracker)


@pytest.mark.parametrize("uri", ["", "./mlruns", "file:///tmp/mlruns", "ftp://x", "http://", "Local", "databricks"])
def test_open_refuses_anything_else(uri: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tracking\.uri: must be local") as caught:
        open_tracker(uri, home=tmp_path)
    assert repr(uri) in str(caught.value)


class ListSink:
    """Keeps what it is told, as the whole of a tracker of one's own."""

    place = "a list"

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def open(self, sweep_id: str) -> None:
        self._told.append(f"open {len(sweep_id)}")

    def deliver(self, event: Event) -> None:
        self._told.append(f"{event.kind} {event.number}")

    def fault(self) -> str | None:
        return None

    def close(self) -> None:
        self._told.append("close")


def test_a_tracker_of_ones_own_is_a_sink_and_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setitem(TRACKERS, "list://", lambda uri, home, experiment: ListSink(told))
    with open_tracker("list://here", home=tmp_path, folder=tmp_path / "sweep") as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 3))
        tracker.end_sweep("finished")
        assert tracker.flush(60)
    calls = ["start_sweep None", "start_trial 0", "log 0", "log 0", "end_trial 0", "end_sweep None"]
    assert told == ["open 32", *calls, "close"]
    with pytest.raises(BadInput, match=r"tracking\.uri: must be local"):
        open_tracker("list://", home=tmp_path)


def test_every_state_of_a_trial_is_one_of_mlflows() -> None:
    assert set(RUN_STATUS) == set(get_args(TrialState))
    assert set(SWEEP_STATUS) == set(get_args(SweepState))
