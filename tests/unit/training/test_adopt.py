"""Going on from another trial's checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import CheckpointError
from ikd.training import EpochReport, StopTrial, run_trial
from ikd.training.checkpoint import load
from ikd.trial import TrialOptions
from tests.marks import some

Build = Callable[..., Recipe]
OTHER = {"distill__fgd__alpha": 0.01}


@dataclass(frozen=True)
class Pair:
    """A whole trial of three epochs that kept each, and one of other loss weights that was stopped after two."""

    source: Path
    own: Path
    reports: dict[int, dict[str, float]]
    recipe: Recipe
    other: Recipe

    def copy(self, folder: Path) -> Path:
        shutil.copytree(self.own, folder)
        return folder


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("seconds/")}


def run(recipe: Recipe, directory: Path, checkpoint: Path | None = None, **options: Any) -> dict[int, dict[str, float]]:
    reports: dict[int, dict[str, float]] = {}

    def note(report: EpochReport) -> None:
        reports[report.epoch] = untimed(report.metrics)

    run_trial(recipe, note, checkpoint, directory=directory, options=TrialOptions(**options))
    return reports


def stop_after_two(report: EpochReport) -> None:
    if report.epoch == 2:
        raise StopTrial


def weights(file: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load(file)["model"]
    return found


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def pair(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    common = {"schedule__epochs": 3, "adversarial__enabled": False}
    recipe, other = tiny_recipe(**common), tiny_recipe(**common, **OTHER)
    reports = run(recipe, folder / "source", keep_epochs=1)
    run_trial(other, stop_after_two, directory=folder / "own")
    return Pair(folder / "source", folder / "own", reports, recipe, other)


@pytest.mark.slow
@pytest.mark.parametrize(("interval", "kept"), [(2, ["epoch-2.pth"]), (3, [])])
def test_only_multiples_before_the_end_are_kept(pair: Pair, tmp_path: Path, interval: int, kept: list[str]) -> None:
    run(pair.recipe, tmp_path, keep_epochs=interval)
    assert [path.name for path in tmp_path.glob("epoch-*.pth")] == kept
    assert all(same(tmp_path / name, pair.source / name) for name in kept)


@pytest.mark.slow
def test_unchanged_it_is_the_sources_own_continuation(pair: Pair, tmp_path: Path) -> None:
    found = run(pair.recipe, tmp_path, adopt=pair.source / "epoch-2.pth")
    assert found == {3: pair.reports[3]}
    assert same(tmp_path / "last.pth", pair.source / "last.pth")
    assert load(tmp_path / "last.pth")["iteration"] == load(pair.source / "last.pth")["iteration"]


def test_other_loss_weights_act_from_the_adopted_epoch_on(pair: Pair, tmp_path: Path) -> None:
    directory = pair.copy(tmp_path / "own")
    found = run(pair.other, directory, adopt=pair.source / "epoch-2.pth")
    assert list(found) == [3]
    assert found[3]["lr"] == pair.reports[3]["lr"], "the position in the schedule is the source's"
    assert found[3]["loss/fgd"] != pair.reports[3]["loss/fgd"]
    assert not same(directory / "last.pth", pair.source / "last.pth")


def test_log_and_best_stay_the_trials_own(pair: Pair, tmp_path: Path) -> None:
    """By the learning rate, which falls: the best epoch is the first, before the adoption."""
    directory = pair.copy(tmp_path / "own")
    first, second = (directory / "log.jsonl").read_text().splitlines()[:2]
    kept = (directory / "best.pth").read_bytes()
    result = run_trial(
        pair.other,
        None,
        directory=directory,
        options=TrialOptions(adopt=pair.source / "epoch-2.pth"),
        objective=("lr", "max"),
    )
    lines = (directory / "log.jsonl").read_text().splitlines()
    assert lines[:2] == [first, second]
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    epochs = {json.loads(line)["epoch"]: json.loads(line)["metrics"]["lr"] for line in lines}
    assert result.best_epoch == max(epochs, key=lambda epoch: epochs[epoch]) < 3
    assert (directory / "best.pth").read_bytes() == kept


def test_what_was_adopted_is_the_trials_own(pair: Pair, tmp_path: Path) -> None:
    """Its checkpoint is of its recipe, and wins over the adopted one once it is further."""
    directory = pair.copy(tmp_path / "own")
    adopt = pair.source / "epoch-1.pth"
    run_trial(pair.other, stop_after_two, directory=directory, options=TrialOptions(adopt=adopt))
    last = directory / "last.pth"
    assert load(last)["fingerprint"] == pair.other.fingerprint()
    assert list(run(pair.other, directory, checkpoint=last, adopt=adopt)) == [3]
    again = pair.source / "epoch-2.pth"
    assert list(run(pair.recipe, directory, checkpoint=last, adopt=again)) == [3], "of another recipe: adopted"
    assert list(run(pair.recipe, directory, checkpoint=pair.source / "epoch-1.pth", adopt=again)) == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    some(
        [
            ({"distill.host": "mgd"}, r"host\..*: must be of shape"),
            ({"schedule.epochs": 4}, r"schedule\.epochs: must be that of the recipe .*, 4, but got 3"),
            (
                {"student.arguments": {"base_channels": 8, "neck_channels": 16, "levels": 3}},
                r"student\..*must be of shape",
            ),
            ({"schedule.optimizer.lr": 0.5}, r"schedule\.optimizer\.lr: must be that of the recipe .*, 0\.5, but got"),
            ({"schedule.batch_size": 4}, r"schedule\.batch_size: must be .*, 4, but got"),
        ],
        2,
    ),
)
def test_what_does_not_fit_is_refused(pair: Pair, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=r"epoch-2\.pth: " + message):
        run(pair.recipe.with_values(changes), tmp_path, adopt=pair.source / "epoch-2.pth")
    assert not (tmp_path / "last.pth").exists()


def test_a_students_file_is_not_adopted(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.pth: must hold the schedule"):
        run(pair.recipe, tmp_path, adopt=pair.source / "best.pth")
