"""Tell a tracker about a sweep, and read back what arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ikd.tracking import Tracker, TrialState, open_tracker

METRICS = {"bbox_mAP": 0.25, "loss/total": 1.5, "lr": 1e-3}


def make_tracker(home: Path, sweep: str = "demo") -> Tracker:
    return open_tracker("local", home=home, folder=home / "sweeps" / sweep)


def tell_trial(tracker: Tracker, number: int, epochs: range, state: TrialState | None = "finished") -> None:
    tracker.start_trial(number, name=f"{number} mgd", params={"distill.host": "mgd"}, tags={"ikd.recipe": "tiny"})
    for epoch in epochs:
        tracker.log(number, epoch, {**METRICS, "bbox_mAP": epoch / 100})
    if state is not None:
        tracker.end_trial(number, state, "because")


def runs_by_trial(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("ikd")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    found = {run.data.tags["ikd.trial"]: run for run in runs}
    assert len(found) == len(runs), "a trial has more than one run"
    return found


def steps(client: Any, run: Any, metric: str = "bbox_mAP") -> list[int]:
    return sorted(point.step for point in client.get_metric_history(run.info.run_id, metric))
