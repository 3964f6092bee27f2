"""A sweep whose trials live in an object store that is slow and fails now and then."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from ikd.sweep import best_trial, trials_of
from ikd.sweep.storage.store import open_store
from tests.faults.elsewhere_driver import LIMIT_SECONDS, start, wait_for, wait_until
from tests.faults.fake_s3 import serving
from tests.faults.placed_training import notes
from tests.processes import alive

pytestmark = pytest.mark.fault
TRIALS, EPOCHS, CONCURRENCY = 4, 6, 2
SPACE = {"budget": {"trials": TRIALS}, "scheduler": {"none": {}}}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
        "IKD_HOME": str(tmp_path), "OMP_NUM_THREADS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return dict(os.environ)


def test_a_killed_sweep_goes_on_from_a_slow_unreliable_store(tmp_path: Path, environment: dict[str, str]) -> None:
    """Half a second a request, one of twenty refused."""
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.2, "bytes": 200_000}))
    with serving(latency=0.5, errors=0.05) as store:
        runner = {"storage": store.address("bucket/some/prefix"), "concurrency": CONCURRENCY, "keep_top": 1}
        with start("s", runner, SPACE, environment) as process:
            wait_for(lambda: len(notes(tmp_path)) >= 9, process)
            process.send_signal(signal.SIGKILL)
        known = {trial.number: trial.epochs for trial in trials_of("s", home=tmp_path)}
        assert any(0 < epochs < EPOCHS for epochs in known.values()), "it was killed within a trial"
        workers = {note["pid"] for note in notes(tmp_path, starts=True)}
        wait_until(lambda: not any(map(alive, workers)), "its workers end by themselves")
        with start("s", runner, SPACE, environment) as process:
            text = process.communicate(timeout=LIMIT_SECONDS)[0]
        assert process.returncode == 0, text
        trials = trials_of("s", home=tmp_path)
        assert [trial.state for trial in trials] == ["finished"] * TRIALS
        for trial in trials:
            assert [report.epoch for report in trial.reports] == list(range(1, EPOCHS + 1)), "no hole, no repeat"
        trained = Counter((note["trial"], note["epoch"]) for note in notes(tmp_path))
        assert set(trained) == {(trial, epoch) for trial in range(TRIALS) for epoch in range(1, EPOCHS + 1)}
        repeated = sum(trained.values()) - TRIALS * EPOCHS
        assert repeated <= CONCURRENCY, "at most the epoch that was on its way to the store"
        resumed = [note for note in notes(tmp_path, starts=True) if note["first"] > 0]
        assert resumed, "a trial went on from the store"
        requests, stored = sum(store.requests.values()), sum(map(len, store.objects.values()))
        print(f"{requests} requests, {store.refused} refused, {repeated} epochs repeated, {stored / 1e6:.1f} MB stored")
        assert store.refused > 0
        check_places(tmp_path, store.address("bucket/some/prefix"))
        assert not [key for key in store.objects if key.startswith("bucket/some/prefix/probe-")]


def check_places(home: Path, address: str) -> None:
    """The store has the checkpoints of the anchors and of what may be chosen; the driver's folder the chosen one's."""
    folder = home / "sweeps" / "s"
    store = open_store(address, folder)
    trials = trials_of("s", home=home)
    best = best_trial("s", home=home)
    kept = {trial.number for trial in trials if store.single(trial.number, "best.pth", home) is not None}
    assert kept >= {best.number, *(trial.number for trial in trials if trial.anchors)}
    assert store.fetch(best.number, "best.pth") == folder / "trials" / str(best.number)
    assert int((folder / "trials" / str(best.number) / "best.pth").read_text()) == EPOCHS
    assert not list(folder.glob("trials/*/last.pth")), "only what is asked for comes to the driver"


def test_a_store_that_nobody_can_write_is_refused_before_any_trial(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.0}))
    runner = {"storage": "s3://key:hidden@bucket/path?endpoint_override=127.0.0.1:1&scheme=http"}
    with start("s", runner, SPACE, environment) as process:
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 2, text
    assert "runner: storage: must be a store that can be reached and read" in text
    assert "s3://key:***@bucket/path" in text
    assert "hidden" not in text
    assert notes(tmp_path, starts=True) == [], "no trial was begun"


def test_trials_of_another_sweep_of_this_name_are_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.0}))
    with serving() as store:
        store.objects["bucket/sweeps/s/trials/0/last.pth.0"] = b"6"
        with start("s", {"storage": store.address("bucket")}, SPACE, environment) as process:
            text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 2, text
    assert "runner: storage: must hold no trials of another sweep of this name, but has some of 's'" in text
    assert notes(tmp_path, starts=True) == []
