"""A disk that is full under a worker's checkpoint: no trial is to blame, the sweep ends with one error and goes on."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe
from ikd.errors import JobError
from ikd.sweep import run_sweep, trials_of
from ikd.sweep.conductor import Conductor
from ikd.sweep.study.folder import sweep_folder
from ikd.sweep.tune.worker import Job, Line, _train
from tests.unit.sweep import fake_training
from tests.unit.sweep.conftest import make_runner, make_space

FAKE = "tests.unit.sweep.fake_training"


class Driver:
    """Stands in for Ray: runs one trial after the other in this process, as the workers and the bridge would."""

    def __init__(self, conductor: Conductor, job: Job) -> None:
        from ikd.sweep.tune.execution import StudyScheduler

        self._conductor, self._job = conductor, job
        self._scheduler = StudyScheduler(conductor, SimpleNamespace(begun=int, left=int))  # type: ignore[arg-type]

    def run(self) -> None:
        while (assignment := self._conductor.next_trial()) is not None:
            config = {
                "number": assignment.number, "values": dict(assignment.values), "start": None, "test": assignment.test,
                "anchor": assignment.anchor, "seed": assignment.seed, "recorded": assignment.recorded,
            }  # fmt: skip

            def send(result: dict[str, Any], config: dict[str, Any] = config) -> None:
                trial: Any = SimpleNamespace(config=config)
                if self._scheduler.on_trial_result(None, trial, result) == "STOP":
                    raise SystemExit

            try:
                _train(fake_training, Line(send), config, self._job)
            except SystemExit:
                continue


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    from ikd.sweep.tune import execution as _execution

    def execute(conductor: Conductor, job: Job, *unused: Any, **also_unused: Any) -> None:
        Driver(conductor, job).run()

    monkeypatch.setattr(_execution, "execute", execute)


def sweep(recipe: Recipe, **changes: Any) -> Any:
    return run_sweep(
        make_space(budget={"trials": 4}), recipe=recipe, runner=make_runner(concurrency=1, **changes), name="s",
        output=Console(file=io.StringIO()), training=FAKE,
    )  # fmt: skip


def test_a_full_disk_ends_the_sweep_with_one_error_and_the_same_call_finishes_it(recipe: Recipe) -> None:
    folder = sweep_folder("s").path
    folder.mkdir(parents=True)
    (folder / fake_training.FULL_DISK).touch()
    with pytest.raises(JobError, match=r"trial 0: disk full while writing .*last.pth.*run the same command again"):
        sweep(recipe)
    assert [(trial.state, trial.crashes, trial.epochs) for trial in trials_of("s")] == [("waiting", 0, 0)]
    (folder / fake_training.FULL_DISK).unlink()
    result = sweep(recipe)
    assert (result.state, len(result.trials)) == ("finished", 4)
    assert all(trial.crashes == 0 for trial in result.trials)


@pytest.mark.parametrize("left", [0, 25])
def test_a_checkpoint_cut_short_costs_one_epoch(left: int, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = sweep_folder("s").path / "trials" / "0"
    report = Conductor.report

    def die_at_the_fourth(self: Conductor, number: int, *, epoch: int, **rest: Any) -> bool:
        if epoch == 4:
            raise KeyboardInterrupt
        return report(self, number, epoch, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "report", die_at_the_fourth)
        assert sweep(recipe).state == "interrupted"
    text = (directory / "last.pth").read_text()
    (directory / "last.pth").write_text(text[:left])
    result = sweep(recipe)
    starts = [note["first"] for note in fake_training.notes(result.directory, "start") if note["trial"] == 0]
    assert starts == [0, 3], "epoch 4 was saved and damaged; epoch 3 is whole"
    trained = [note["epoch"] for note in fake_training.notes(result.directory, "epoch") if note["trial"] == 0]
    assert trained == [1, 2, 3, 4, 4, 5, 6]
    assert [one.epoch for one in result.trials[0].reports] == [1, 2, 3, 4, 5, 6]
    assert json.loads((directory / "last.pth").read_text())["epoch"] == 6
