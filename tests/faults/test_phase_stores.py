"""Repeats and trainings kept apart whose checkpoints lie in an object store, or whose study in PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Objective
from ikd.sweep import TrialRecord
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.study import SweepStudy
from tests.faults.elsewhere_driver import LIMIT_SECONDS, start, wait_for, wait_until
from tests.faults.fake_s3 import serving
from tests.faults.placed_training import notes
from tests.faults.postgres_server import binaries, postgres_server
from tests.faults.test_phase_kills import APART, REPEAT, ROLES, SPACE, TRIALS, check_kept_apart
from tests.processes import alive

pytestmark = pytest.mark.fault
EPOCHS = 6


@contextmanager
def objects() -> Iterator[dict[str, Any]]:
    with serving() as store:
        yield {"storage": store.address("bucket/prefix")}


@contextmanager
def postgres() -> Iterator[dict[str, Any]]:
    if binaries() is None:
        pytest.skip("needs PostgreSQL's initdb and postgres (Debian: postgresql)")
    with postgres_server() as url:
        yield {"study": url}


def records_of(runner: dict[str, Any], home: Path) -> list[TrialRecord]:
    folder = home / "sweeps" / "s"
    storage = open_storage(folder, runner.get("study", "sqlite"))
    try:
        return SweepStudy(storage, "s", folder, objective=Objective()).records
    finally:
        storage.remove_session()
        storage.engine.dispose()  # psycopg warns of connections that nobody closes


@pytest.mark.parametrize("where", [objects, postgres])
def test_a_driver_killed_while_it_repeats_and_keeps_apart(
    where: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
        "IKD_HOME": str(tmp_path), "OMP_NUM_THREADS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.2}))
    space = {**SPACE, "scheduler": {"none": {}}}
    with where() as place:
        runner = {**place, "concurrency": 1}
        for number in (REPEAT, APART + 1):
            with start("s", runner, space, dict(os.environ)) as process:
                wait_for(lambda n=number: reached(tmp_path, n) >= 2, process)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
            workers = {note["pid"] for note in notes(tmp_path, starts=True)}
            wait_until(lambda pids=workers: not any(map(alive, pids)), "its workers end by themselves")  # type: ignore[misc]
        with start("s", runner, space, dict(os.environ)) as process:
            text = process.communicate(timeout=LIMIT_SECONDS)[0]
        assert process.returncode == 0, text
        records = records_of(runner, tmp_path)
    assert [one.role for one in records] == ROLES
    assert [one.state for one in records] == ["finished"] * TRIALS
    check_kept_apart(records)
    resumed = {note["trial"] for note in notes(tmp_path, starts=True) if note["first"]}
    assert resumed <= {REPEAT, APART + 1}
    assert resumed, "from its checkpoint"
    trained = Counter((note["trial"], note["epoch"]) for note in notes(tmp_path))
    assert set(trained) == {(trial, epoch) for trial in range(TRIALS) for epoch in range(1, EPOCHS + 1)}
    assert sum(trained.values()) - TRIALS * EPOCHS <= 2, "at most the epoch that was on its way to the store, each time"


def reached(home: Path, number: int) -> int:
    """Return the last epoch that a trial has trained."""
    return max((note["epoch"] for note in notes(home) if note["trial"] == number), default=0)
