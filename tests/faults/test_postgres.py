"""Studies in one PostgreSQL: killed and resumed, several sweeps at once, one driver a sweep."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Objective
from ikd.errors import BadInput
from ikd.sweep import TrialRecord
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.postgres import held
from ikd.sweep.study.study import SweepStudy
from tests.faults.elsewhere_driver import LIMIT_SECONDS, start, wait_for
from tests.faults.placed_training import notes
from tests.faults.postgres_server import binaries, postgres_server

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(binaries() is None, reason="needs PostgreSQL's initdb and postgres (Debian: postgresql)"),
]
TRIALS, EPOCHS = 4, 6
SPACE = {"budget": {"trials": TRIALS}, "scheduler": {"none": {}}}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def home(folder: Path, **knobs: Any) -> tuple[Path, dict[str, str]]:
    folder.mkdir()
    (folder / "placed.json").write_text(json.dumps({"seconds": 0.2, **knobs}))
    return folder, {**os.environ, "IKD_HOME": str(folder), "OMP_NUM_THREADS": "1"}


def recorded(database: str, name: str, folder: Path) -> list[TrialRecord]:
    storage = open_storage(folder, database)
    try:
        return SweepStudy(storage, name, folder, objective=Objective()).records
    finally:
        storage.remove_session()
        storage.engine.dispose()  # psycopg warns of connections that nobody closes


def check_whole(trials: list[TrialRecord], folder: Path) -> None:
    assert [trial.state for trial in trials] == ["finished"] * TRIALS
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, EPOCHS + 1)), "no hole, no repeat"
    trained = Counter((note["trial"], note["epoch"]) for note in notes(folder))
    assert trained == Counter((trial, epoch) for trial in range(TRIALS) for epoch in range(1, EPOCHS + 1))


def test_two_sweeps_begin_at_once_in_a_new_database_and_one_is_killed(database: str, tmp_path: Path) -> None:
    (one, of_one), (two, of_two) = home(tmp_path / "one"), home(tmp_path / "two")
    runner = {"study": database, "concurrency": 1}
    with start("one", runner, SPACE, of_one) as first, start("two", runner, SPACE, of_two) as second:
        wait_for(lambda: len(notes(one)) >= 8, first)
        first.send_signal(signal.SIGKILL)
        with start("one", runner, SPACE, of_one) as again:
            texts = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in (second, again)]
    assert [second.returncode, again.returncode] == [0, 0], "\n".join(texts)
    assert "going on after 1 ended trials of one" in texts[1]
    for name, folder in (("one", one), ("two", two)):
        assert not (folder / "sweeps" / name / "study.db").exists()
        check_whole(recorded(database, name, folder), folder)


def test_a_second_driver_from_another_home_is_refused(database: str, tmp_path: Path) -> None:
    (mine, of_mine), (_, of_other) = home(tmp_path / "mine", seconds=30.0), home(tmp_path / "other")
    runner = {"study": database, "concurrency": 1}
    with start("shared", runner, SPACE, of_mine) as first:
        try:
            wait_for(lambda: bool(notes(mine, starts=True)), first)
            with start("shared", runner, SPACE, of_other) as second:
                text = second.communicate(timeout=LIMIT_SECONDS)[0]
            assert second.returncode == 2, text
            refusal = f"sweep shared: is already being run by process {first.pid} on "
            assert refusal in " ".join(text.split()), text
            assert first.poll() is None
        finally:
            first.kill()
    with held(database, "shared"):
        pass  # the killed driver holds nothing


def test_the_lock_is_a_sweeps_and_ends_with_its_holder(database: str) -> None:
    with held(database, "a"), held(database, "b"):
        with pytest.raises(BadInput, match=rf"sweep a: is already being run by process {os.getpid()} on "):
            with held(database, "a"):
                pass
    with held(database, "a"):
        pass


def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(BadInput, match=r"runner: study: cannot reach the database: .*refused") as caught:
        with held("postgresql://user:secret@127.0.0.1:1/none", "s"):
            pass
    assert "secret" not in str(caught.value)
