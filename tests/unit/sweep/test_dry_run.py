from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.sweep import dry_run
from ikd.sweep.measure import measured_now
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.folder import sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from ikd.trial import EpochReport, NotifyOf, Report, StopTrial, TrialOptions
from tests.unit.sweep import fake_training
from tests.unit.sweep.conftest import make_runner, make_space

FINITE = {"distill.host": {"choice": ["fgd", "mgd"]}, "attack.steps": {"choice": [1, 3, 5]}}


@pytest.mark.parametrize(
    ("changes", "configurations", "trials", "bound", "expected"),
    [
        # 2 anchors x 6 epochs, 6 sampled: 2 epochs, then a third goes on for 4 more; the paper is one of the six below
        ({}, float("inf"), 8, 48, 12 + 6 * (2 + 4 / 3)),
        ({"scheduler": {"none": {}}}, float("inf"), 8, 48, 48),
        ({"parameters": FINITE, "scheduler": {"none": {}}, "budget": {"trials": 50}}, 6, 7, 42, 42),
        ({"budget": {"trials": 8, "epochs": 20}}, float("inf"), 8, 20, 20),
    ],
)
def test_epochs_are_bounded_and_estimated(
    changes: dict[str, Any], configurations: float, trials: int, bound: int, expected: float, recipe: Recipe
) -> None:
    plan = dry_run(make_space(**changes), recipe=recipe, runner=make_runner())
    assert (plan.configurations, plan.trials, plan.epochs_bound) == (configurations, trials, bound)
    assert plan.epochs_expected == pytest.approx(expected)
    assert len({json.dumps(sample, sort_keys=True) for sample in plan.samples}) == 5


def test_time_and_disk_come_from_an_earlier_sweep_of_the_same_training(recipe: Recipe, ikd_home: Path) -> None:
    space, runner = make_space(), make_runner()
    folder = sweep_folder("earlier")
    directory = folder.path / "trials" / "0"
    directory.mkdir(parents=True)
    (directory / "best.pth").write_bytes(b"x" * 3_000_000)
    (directory / "last.pth").write_bytes(b"x" * 7_000_000)
    study = SweepStudy(open_storage(folder.path, "sqlite"), "earlier", folder.path, metric="bbox_mAP", mode="max")
    study.add(anchor_proposals(space, recipe)[0], space)
    study.report(0, 1, {"bbox_mAP": 0.1}, 6.0)
    study.report(0, 2, {"bbox_mAP": 0.2}, 10.0)
    write_files(folder, SweepFiles(space, recipe, runner))

    plan = dry_run(space, recipe=recipe, runner=runner, name="next")
    assert plan.measured is not None
    assert (plan.measured.seconds, plan.measured.checkpoint_bytes) == (5.0, 7_000_000)
    assert plan.seconds(48) == 48 * 5 / 2, "two at a time"
    # best and last of 2 anchors and 5 others, and three of each of the two that run
    assert plan.checkpoints == 2 * 7 + 3 * 2
    assert plan.disk_bytes == 20 * 7_000_000
    kept = "of the anchors, the best 5 others and the running trials"
    assert ("disk", f"at most 140 MB: 20 checkpoints ({kept})") in plan._lines()
    every = dry_run(space, recipe=recipe, runner=make_runner(keep_top=None), name="next")
    assert every.checkpoints == 2 * 8 + 3 * 2
    other = dry_run(space, recipe=recipe.with_values({"schedule.batch_size": 4}), runner=runner, name="next")
    assert other.measured is None
    assert not (ikd_home / "sweeps" / "next").exists()


class OneEpoch(ModuleType):
    """A training whose epochs take no time and whose checkpoint has 5000 bytes; it would train for ever."""

    def __init__(self) -> None:
        super().__init__("one_epoch")
        self.reports = 0

    check = staticmethod(fake_training.check)
    data_of = staticmethod(fake_training.data_of)
    resumable = staticmethod(fake_training.resumable)
    reset = staticmethod(fake_training.reset)

    def prepare(self, recipe: Recipe, progress: NotifyOf | None = None) -> str:
        return f"prepared in {os.environ['IKD_HOME']}"

    def run_trial(
        self,
        recipe: Recipe,
        report: Report | None = None,
        checkpoint: Path | None = None,
        *,
        directory: Path,
        objective: tuple[str, str],
        threads: int | None,
        prepared: str,
        options: TrialOptions,
    ) -> None:
        assert (checkpoint, objective, threads, options) == (None, ("bbox_mAP", "max"), 3, TrialOptions())
        assert report is not None
        assert prepared.startswith("prepared in ")
        directory.mkdir()
        (directory / "last.pth").write_bytes(b"x" * 5000)
        with contextlib.suppress(StopTrial):
            while True:
                self.reports += 1
                report(EpochReport(1, {}, directory / "last.pth"))


def test_an_epoch_is_measured_where_it_is_asked_for(
    recipe: Recipe, ikd_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = OneEpoch()
    monkeypatch.setitem(sys.modules, "one_epoch", training)
    files = SweepFiles(make_space(), recipe, make_runner(trial={"cpus": 3}))
    found = measured_now(files, ikd_home, "one_epoch")
    assert training.reports == 1
    assert found.checkpoint_bytes == 5000
    assert 0 < found.seconds < 60
    assert "just now" in found.source
    assert not list(ikd_home.glob("sweeps/*")), "no sweep is begun"
