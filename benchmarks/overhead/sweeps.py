"""One sweep on either side, in a process of its own: Ray reads its environment when it is imported."""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.overhead.work import tune_trial

LOW, HIGH = 1e-7, 1e-3
EPOCHS = 5
CONCURRENCY = 2


def ours(folder: Path, trials: int) -> dict[str, float]:
    """Run `ikd sweep`, and say what the driver did for a report.

    Args:
        folder: the ikd home.
        trials: to run.

    Returns:
        `blocked`: median milliseconds that the driver spends on a report, `blocked_most` the longest; `writes`: to the
        study for each report.
    """
    from ikd.sweep.tune.environment import prepare_environment

    prepare_environment("local")  # before Ray is imported, as `run_sweep` does
    from ray.tune.execution.tune_controller import TuneController
    from rich.console import Console

    from ikd.config import Runner, SearchSpace, load_recipe
    from ikd.sweep import run_sweep
    from ikd.sweep.conductor import Conductor
    from ikd.sweep.study.study import SweepStudy

    recipe = load_recipe("drawn_r18").with_values({"schedule.epochs": EPOCHS, "distill.host": "mgd"})
    space = SearchSpace.model_validate_json(
        json.dumps(
            {
                "recipe": "drawn_r18",
                "parameters": {"distill.mgd.alpha": {"log_uniform": [LOW, HIGH]}},
                "anchors": [],
                "scheduler": {"none": {}},
                "budget": {"trials": trials},
            }
        )
    )
    runner = Runner.model_validate({"concurrency": CONCURRENCY, "storage": str(folder), "tracking": {"uri": "local"}})
    reports: list[float] = []
    writes: list[float] = []
    counts: list[int] = []
    report = Conductor.report

    def counted(self: Conductor, *args: Any, **keywords: Any) -> bool:
        first = len(writes)
        try:
            return report(self, *args, **keywords)
        finally:
            counts.append(len(writes) - first)

    Conductor.report = counted  # type: ignore[method-assign]
    with timed(SweepStudy, "_write", writes), timed(TuneController, "_on_training_result", reports, "bbox_mAP"):
        result = run_sweep(
            space,
            recipe=recipe,
            runner=runner,
            name="s",
            output=Console(file=io.StringIO(), width=120),
            training="benchmarks.overhead.work",
        )
    assert [one.state for one in result.trials] == ["finished"] * trials, [one.reason for one in result.trials]
    return {**_blocked(reports), "writes": statistics.mean(counts)}


def plain(folder: Path, trials: int, *, reuse: bool) -> dict[str, float]:
    """Run the same with Ray Tune, `OptunaSearch` and `MLflowLoggerCallback`.

    Args:
        folder: for its storage and its database.
        trials: to run.
        reuse: keep workers, which Tune does not by itself.

    Returns:
        `blocked` and `blocked_most` as `ours`.
    """
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.search.optuna import OptunaSearch

    ray.init("local", num_cpus=CONCURRENCY, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    reports: list[float] = []
    tracking = f"sqlite:///{folder}/mlflow.db"
    with timed(TuneController, "_on_training_result", reports, "bbox_mAP"), contextlib.redirect_stdout(io.StringIO()):
        tune.Tuner(
            tune.with_resources(tune.with_parameters(tune_trial, count=EPOCHS), {"cpu": 1}),
            param_space={"alpha": tune.loguniform(LOW, HIGH)},
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(),
                metric="bbox_mAP",
                mode="max",
                num_samples=trials,
                max_concurrent_trials=CONCURRENCY,
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder / "tune"),
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=tracking, experiment_name="s")],
            ),
        ).fit()
    ray.shutdown()
    return _blocked(reports)


@contextlib.contextmanager
def timed(owner: Any, name: str, spent: list[float], about: str = "") -> Iterator[None]:
    """Collect how long each call of a method takes whose arguments tell about something, in seconds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*args, **keywords)
        finally:
            if about in repr(args[1:]):
                spent.append(time.perf_counter() - began)

    setattr(owner, name, wrapped)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _blocked(reports: Sequence[float]) -> dict[str, float]:
    return {"blocked": 1000 * statistics.median(reports), "blocked_most": 1000 * max(reports)}


def figures(notes: Sequence[Mapping[str, Any]], trials: int) -> dict[str, float]:
    """Return the times of one sweep from what its workers noted.

    Args:
        notes: `pid`, `what` (epoch begins, epoch ends) and `time` of each moment, in any order.
        trials: of the sweep.

    Returns:
        `training`: seconds of all epochs; `steady`: from the first epoch's begin to the last one's end; `ratio`:
        steady over training divided by concurrency; `between`: median seconds from the last epoch of a trial to the
        first one of the next in the same process, NaN where no process had two.
    """
    per_worker: dict[int, list[tuple[float, float]]] = {}
    for pid in {one["pid"] for one in notes}:
        own = sorted((one["time"], one["what"]) for one in notes if one["pid"] == pid)
        times = [time for time, _ in own]
        per_worker[pid] = list(zip(times[::2], times[1::2], strict=True))
    spans = [span for spans in per_worker.values() for span in spans]
    assert len(spans) == trials * EPOCHS, "every epoch was trained once"
    training = sum(end - begin for begin, end in spans)
    steady = max(end for _, end in spans) - min(begin for begin, _ in spans)
    gaps = [
        after[0] - before[1]
        for found in per_worker.values()
        for before, after in zip(found[EPOCHS - 1 :: EPOCHS], found[EPOCHS::EPOCHS], strict=False)
    ]
    between = statistics.median(gaps) if gaps else float("nan")
    return {"training": training, "steady": steady, "ratio": steady / (training / CONCURRENCY), "between": between}
