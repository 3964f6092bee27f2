from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ikd.cli import app
from ikd.config import Recipe, SweepFiles
from ikd.data import draw_dataset
from ikd.sweep import DryRun, dry_run
from ikd.sweep.forecast.epochs import features_of
from ikd.sweep.forecast.kept import epoch_row, keep, place
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from ikd.trial import Report, Shared, Timed, TrialOptions
from tests.unit.sweep import fake_training
from tests.unit.sweep.conftest import make_runner, make_space

FINITE = {"distill.host": {"choice": ["fgd", "mgd"]}, "attack.steps": {"choice": [1, 3, 5]}}


@pytest.mark.parametrize(
    ("changes", "configurations", "trials", "bound", "expected"),
    [
        # 2 anchors x 6 epochs, 6 sampled: 2 epochs, then of m rivals and it (m / 3 + 2 / 3) go on for 4 more; the paper
        # is one of the six below
        ({}, float("inf"), 8, 48, 12 + sum(2 + 4 * (m + 2) / 3 / (m + 1) for m in range(2, 8))),
        ({"scheduler": {"none": {}}}, float("inf"), 8, 48, 48),
        # all there is, a tenth of the budget repeated, three of each side kept apart
        ({"parameters": FINITE, "scheduler": {"none": {}}, "budget": {"trials": 50}}, 6, 18, 108, 108),
        # search: 2 anchors and 23 sampled; what is kept apart is never stopped
        (
            {"budget": {"trials": 29}},
            float("inf"),
            29,
            29 * 6,
            12 + 4 * 6 + sum(2 + 4 * (m + 2) / 3 / (m + 1) for m in range(2, 25)),
        ),
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


def lines(plan: DryRun) -> dict[str, str]:
    text = io.StringIO()
    Console(file=text, width=300).print(plan.render())
    found = [line.strip().partition("  ") for line in text.getvalue().splitlines() if "  " in line.strip()]
    return {key: value.strip() for key, _, value in found}


def test_time_and_disk_come_from_what_this_machine_has_shown(recipe: Recipe, ikd_home: Path) -> None:
    space, runner = make_space(), make_runner()
    row = epoch_row(
        features_of(recipe.stages[0], 1), 5.0, source="sweep earlier", count=8.0, checkpoint_bytes=7_000_000
    )
    keep([row])
    plan = dry_run(space, recipe=recipe, runner=runner, name="next")
    assert plan.left.epoch_seconds == pytest.approx(5.0)
    assert plan.source == "sweep earlier"
    assert plan.seconds is not None
    assert plan.seconds_bound is not None
    assert 48 * 5 / 2 < plan.seconds_bound < 48 * 5, "two at a time, and what trains nothing besides"
    assert plan.seconds < plan.seconds_bound
    # best and last of all eight (five, and five more that may still win, have a place), and three of each that runs
    assert plan.checkpoints == 2 * 8 + 3 * 2
    assert plan.disk_bytes == 22 * 7_000_000
    said = lines(plan)
    assert "(5.0 s an epoch in sweep earlier)" in said["time"]
    kept = "of the anchors, the best 5 others, some that may still win, and the running"
    assert said["disk"] == f"at most 154 MB: 22 checkpoints ({kept})"
    assert said["start-up"] == "Ray 5 s, a first trial 10 s, a later one 2 s"
    large = dry_run(make_space(budget={"trials": 15}), recipe=recipe, runner=runner, name="next")
    assert large.checkpoints == 2 * (5 + 5 + 2) + 3 * 2
    every = dry_run(make_space(budget={"trials": 15}), recipe=recipe, runner=make_runner(keep_top=None), name="next")
    assert every.checkpoints == 2 * 15 + 3 * 2
    other = dry_run(space, recipe=recipe.with_values({"schedule.batch_size": 4}), runner=runner, name="next")
    assert other.seconds is None
    assert lines(other)["time"].startswith("not measured yet")
    assert not (ikd_home / "sweeps" / "next").exists()


class Making(ModuleType):
    """A training whose teacher is not there, and whose perturbations are half made; it measures what it is asked for.

    Attributes:
        asked: threads.
    """

    def __init__(self) -> None:
        super().__init__("making")
        self.asked: list[int] = []

    check = staticmethod(fake_training.check)
    data_of = staticmethod(fake_training.data_of)
    prepare = staticmethod(fake_training.prepare)
    resumable = staticmethod(fake_training.resumable)
    reset = staticmethod(fake_training.reset)

    def run_trial(
        self,
        recipe: Recipe,
        report: Report | None = None,
        checkpoint: Path | None = None,
        *,
        directory: Path,
        objective: tuple[str, str],
        threads: int | None,
        prepared: Any,
        options: TrialOptions,
    ) -> None:
        raise AssertionError("a dry run trains nothing")

    def found(self, recipe: Recipe) -> tuple[Shared, ...]:
        if not recipe.teachers.sequence:
            return ()
        made = (Shared("teacher", "r18x16", 0, 12), Shared("perturbations", "r18x16", 88, 2 * 192))
        return (*made, Shared("rehearsal", "a", 1, 1), Shared("rehearsal", "b", 0, 1))

    def timed(self, recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
        self.asked.append(threads)
        say("an epoch of the student alone")
        yield Timed("alone", "", 2.0, 5000)
        yield Timed("taught", "", 4.0, 6000)
        yield Timed("teacher", "r18x16", 10.0)
        yield Timed("perturbations", "r18x16", 0.5)


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Making:
    training = Making()
    monkeypatch.setitem(sys.modules, "making", training)
    return training


@pytest.fixture
def drawn(recipe: Recipe, tmp_path: Path) -> Recipe:
    root = tmp_path / "data"
    draw_dataset(root, num_train=10, num_val=10)
    return recipe.with_values({"data.root": str(root)})


def test_what_is_made_once_is_said_and_counted(drawn: Recipe, making: Making) -> None:
    said: list[str] = []
    options: dict[str, Any] = {"recipe": drawn, "runner": make_runner(trial={"cpus": 3}), "training": "making"}
    before = dry_run(make_space(), **options)
    assert before.seconds is None
    assert not list(place().parent.glob("*")), "a dry run writes nothing"
    plan = dry_run(make_space(), measure=True, progress=said.append, **options)
    assert (making.asked, said) == ([3], ["an epoch of the student alone"])
    once = lines(plan)["once before"]
    what = "teacher r18x16, 12 epochs (cached: no), perturbations of r18x16, 192 images (cached: 88), "
    assert once.startswith(what + "2 rehearsals on two images (cached: 1); about 3 min")
    looks = 192 * 2 * 0.25 / (0.8 * drawn.attack.steps)  # with and without, against the attack of an image
    assert sum(plan.left.shared.values()) == pytest.approx(12 * 10 + (192 - 88 + looks) * 0.5)
    assert plan.left.seconds is not None
    assert plan.left.seconds > 120 + 52 + plan.left.epochs * 4 / 2
    again = dry_run(make_space(), **options)
    assert again.left.seconds == pytest.approx(plan.left.seconds), "what was measured is kept"
    assert plan.disk_bytes == plan.checkpoints * 6000


def test_a_sweep_that_exists_is_forecast_from_where_it_is(recipe: Recipe, ikd_home: Path) -> None:
    space, runner = make_space(scheduler={"none": {}}, budget={"trials": 3}), make_runner()
    folder = sweep_folder("mine")
    folder.path.mkdir(parents=True)
    files = SweepFiles(space.checked(recipe), recipe, runner)
    study = open_study(folder, files, create=True)
    write_files(folder, files)
    for proposal in anchor_proposals(files.space, recipe):
        number = study.add(proposal, files.space).number
        for epoch in range(1, 7):
            study.report(number, epoch, {"bbox_mAP": 0.1}, 4.0 * epoch)
        study.end(number, "finished", "")
    plan = dry_run(space, recipe=recipe, runner=runner, name="mine")
    assert lines(plan)["so far"] == "2 ended; 1 to run; about 6 epochs"
    assert "would" not in lines(plan)["sweep"]
    study.add(proposal, files.space)
    study.report(2, 6, {"bbox_mAP": 0.1}, 24.0)
    study.end(2, "finished", "")
    study.note(COMPLETE, 3)
    done = dry_run(space, recipe=recipe, runner=runner, name="mine")
    assert [text for _, text in done._lines()][-1] == "complete, nothing to do"
    more = dry_run(space, recipe=recipe, runner=runner, name="mine", trials="+3")
    assert lines(more)["so far"] == "3 ended; 3 to run; about 18 epochs"


def test_an_interrupted_measurement_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ikd.sweep.planning.dry_run", interrupted)
    space = tmp_path / "s.yaml"
    space.write_text("recipe: drawn_r18\nparameters: {seed: {int: [1, 9]}}\n")
    done = CliRunner().invoke(app, ["sweep", str(space), "--dry-run", "--measure"])
    assert done.exit_code == 130
    assert "interrupted; what was measured is kept" in done.output
