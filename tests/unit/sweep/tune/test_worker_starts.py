"""What a worker lets a trial begin from, without Ray: its own checkpoints, another trial's, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.data import DataRecord
from ikd.errors import BadInput, CheckpointError, DataGone, DiskFull, NonFiniteLoss
from ikd.sweep.same_data import part_name
from ikd.sweep.tune import worker
from ikd.sweep.tune.worker import Job, Line, _train
from ikd.trial import EpochReport, NotifyOf, Report, Shared, Timed, TrialOptions
from tests.unit.sweep.fake_training import DATA, Prepared

TORN = "torn"
GOES_ON = "last.pth was cut short: the trial goes on from the epoch before"
BEGINS = "last.pth was cut short: the trial begins anew"


class Training:
    """A training module whose checkpoints are epochs in text; it notes what it is asked for."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.fault = fault  # what a trial ends with

    def resumable(self, directory: Path) -> Path | None:
        files = [directory / "last.pth", directory / "previous.pth"]
        return next((file for file in files if file.is_file() and file.read_text() != TORN), None)

    def check(self, recipe: Recipe) -> None:
        pass

    def data_of(self, recipe: Recipe) -> DataRecord:
        return DATA

    def found(self, recipe: Recipe) -> tuple[Shared, ...]:
        return ()

    def timed(self, recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
        """There is nothing to measure."""
        yield from ()

    def prepare(self, recipe: Recipe, progress: NotifyOf | None = None) -> Prepared:
        return Prepared()

    def reset(self) -> None:
        pass

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
        if self.fault is not None:
            raise self.fault
        start = checkpoint or options.adopt
        name = start.name if start is not None else None
        self.asked.append({"from": name, "prepared": prepared is not None, "options": options})
        epoch = int(start.read_text()) + 1 if start is not None else 1
        (directory / "last.pth").write_text(str(epoch))
        assert report is not None
        report(EpochReport(epoch, {"bbox_mAP": 0.5}, directory / "last.pth"))


@pytest.fixture
def training() -> Training:
    return Training()


def train(training: Training, recipe: Recipe, folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """Run trial 3; return what it told the driver."""
    told: list[dict[str, Any]] = []
    fields = {name: changes.pop(name) for name in list(changes) if name in Job.__dataclass_fields__}
    (folder / "trials" / "3").mkdir(parents=True, exist_ok=True)
    config = {
        "number": 3,
        "values": {},
        "anchor": None,
        "seed": None,
        "recorded": 0,
        "start": None,
        "test": False,
        **changes,
    }
    line = Line(lambda content: told.append(json.loads(content["message"])))
    _train(training, line, config, Job(recipe.as_dict(), ("bbox_mAP", "max"), folder, None, 1, **fields))
    return told


def leave(folder: Path, **files: str) -> None:
    directory = folder / "trials" / "3"
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / f"{name}.pth").write_text(content)


@pytest.mark.parametrize(
    ("files", "start", "epoch", "note"),
    [
        ({}, None, 1, None),
        ({"last": "4", "previous": "3"}, "last.pth", 5, None),
        ({"last": TORN, "previous": "3"}, "previous.pth", 4, GOES_ON),
        ({"last": TORN}, None, 1, BEGINS),
        ({"last": TORN, "previous": TORN}, None, 1, BEGINS),
        ({"previous": "3"}, "previous.pth", 4, None),
    ],
)
def test_a_trial_goes_on_from_the_last_checkpoint_that_is_whole(
    training: Training, recipe: Recipe, tmp_path: Path, files: dict[str, str], start: str | None, epoch: int,
    note: str | None,
) -> None:  # fmt: skip
    leave(tmp_path, **files)
    told = train(training, recipe, tmp_path)
    assert [one["from"] for one in training.asked] == [start]
    assert training.asked[0]["prepared"] == (start is None), "one that goes on prepares by itself"
    assert [one["epoch"] for one in told if one["kind"] == "epoch"] == [epoch]
    assert told[-1] == {"kind": "end", "state": "finished", "reason": ""}
    notes = [one["text"] for one in told if one["kind"] == "note"]
    assert (notes[-1] if notes else None) == note


def test_a_checkpoint_that_fits_nothing_ends_the_trial(
    training: Training, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **keywords: Any) -> None:
        raise CheckpointError("teacher.pth: must be whole")

    monkeypatch.setattr(training, "run_trial", fails)
    leave(tmp_path, last="4")
    told = train(training, recipe, tmp_path)
    assert told[-1] == {"kind": "misfit", "reason": "teacher.pth: must be whole"}, "the driver ends it as failed"
    assert not [one for one in told if one["kind"] == "end"]


@pytest.mark.parametrize("stored", [False, True])
def test_a_trial_of_a_population_takes_the_weights_of_another(
    training: Training, recipe: Recipe, tmp_path: Path, stored: bool
) -> None:
    folder = tmp_path / "s"
    source = (tmp_path / "remote/sweeps/s" if stored else folder) / "trials" / "5"
    source.mkdir(parents=True)
    storage = f"file://{tmp_path}/remote" if stored else None
    if stored:
        from ikd.sweep.storage.store import open_store

        (tmp_path / "epoch-2.pth").write_text("2")
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "epoch-2.pth").write_text("2")
        open_store(storage, folder).push(5, tmp_path / "work")
    else:
        (source / "epoch-2.pth").write_text("2")
    told = train(training, recipe, folder, start=(5, 2), storage=storage)
    (asked,) = training.asked
    assert asked["from"] == asked["options"].adopt.name
    assert asked["options"].adopt.name in ("epoch-2.pth", "5-epoch-2.pth")
    assert [one["epoch"] for one in told if one["kind"] == "epoch"] == [3]


def test_a_trial_of_a_population_goes_on_from_its_own_once_it_has_one(
    training: Training, recipe: Recipe, tmp_path: Path
) -> None:
    leave(tmp_path, last="4")
    source = tmp_path / "trials" / "5"
    source.mkdir()
    (source / "epoch-2.pth").write_text("2")
    train(training, recipe, tmp_path, start=(5, 2))
    (asked,) = training.asked
    assert asked["from"] == "last.pth"
    assert asked["options"].adopt == source / "epoch-2.pth", "`run_trial` takes the later one"


def test_a_full_disk_is_told_and_ends_nothing(
    training: Training, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **keywords: Any) -> None:
        raise DiskFull("last.pth", 2**20, 0)

    monkeypatch.setattr(training, "run_trial", fails)
    told = train(training, recipe, tmp_path)
    assert told[-1]["kind"] == "disk_full"
    assert "disk full while writing last.pth" in told[-1]["reason"]
    assert not [one for one in told if one["kind"] == "end"]


def test_data_that_are_gone_are_told_and_end_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that vanish while they are read, and those that an attempt does not find any more when it begins."""
    told = train(Training(DataGone("a.png is not there")), recipe, tmp_path)
    assert told[-1] == {"kind": "gone", "part": part_name(recipe), "reason": "a.png is not there"}
    found = ["", "train.json is not there"]
    monkeypatch.setattr(worker, "lost", lambda recipe: found.pop(0))
    kinds = [train(Training(BadInput("unfit")), recipe, tmp_path)[-1] for _ in range(2)]
    assert kinds[0] == {"kind": "misfit", "reason": "unfit"}
    assert kinds[1] == {"kind": "gone", "part": part_name(recipe), "reason": "train.json is not there"}


def test_what_a_sweep_asks_for_is_passed_on(training: Training, recipe: Recipe, tmp_path: Path) -> None:
    options = TrialOptions(costs=("gflops",), keep_epochs=2, processes=4)
    train(training, recipe, tmp_path, options=options)
    assert [one["options"] for one in training.asked] == [options]


def test_an_epoch_is_in_the_store_before_it_is_told(training: Training, recipe: Recipe, tmp_path: Path) -> None:
    storage, folder = f"file://{tmp_path}/remote", tmp_path / "s"
    seen: list[bool] = []

    def send(content: dict[str, Any]) -> None:
        if json.loads(content["message"])["kind"] == "epoch":
            seen.append((tmp_path / "remote/sweeps/s/trials/3/manifest.json.1").is_file())

    job = Job(recipe.as_dict(), ("bbox_mAP", "max"), folder, None, 1, storage=storage)
    config = {"number": 3, "values": {}, "anchor": None, "seed": None, "recorded": 0, "start": None, "test": False}
    _train(training, Line(send), config, job)
    assert seen == [True]
    assert not folder.exists(), "the sweep's folder is the driver's"
    _train(training, Line(send), config, job)
    assert [one["from"] for one in training.asked] == [None, "last.pth"], "the next attempt pulls it"


def test_the_driver_hears_when_something_shared_begins_and_when_it_is_there() -> None:
    told: list[dict[str, Any]] = []
    line = Line(lambda content: told.append(json.loads(content["message"])))
    for done in range(5):
        line.note("teacher big", done, 4)  # in less than the time after which more is said
    line.note("perturbations", 0, 8)
    assert [one["making"] for one in told] == [["teacher big", 0, 4], ["teacher big", 4, 4], ["perturbations", 0, 8]]
    assert told[0]["text"] == "teacher big 0/4"


@pytest.mark.parametrize(
    ("cause", "kind", "state"),
    [("", "end", "diverged"), ("the teacher's weights are not finite", "misfit", None)],
)
def test_what_no_value_can_mend_is_no_divergence(
    recipe: Recipe, tmp_path: Path, cause: str, kind: str, state: str | None
) -> None:
    told = train(Training(NonFiniteLoss({"mgd": float("nan")}, 1, 1, cause)), recipe, tmp_path)
    assert (told[-1]["kind"], told[-1].get("state")) == (kind, state)
    assert cause in told[-1]["reason"]
