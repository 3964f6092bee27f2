"""The home of ikd, and the shared things in it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from ikd import home as homes
from ikd.errors import BadInput
from ikd.home import at_home, cache, digest, entry, home, lock_of, while_waiting


def test_a_home_is_lent_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "mine"))
    with at_home(tmp_path / "other"):
        assert home() == tmp_path / "other"
    assert home() == tmp_path / "mine"
    monkeypatch.delenv("IKD_HOME")
    with pytest.raises(ZeroDivisionError), at_home(tmp_path):
        raise ZeroDivisionError
    assert "IKD_HOME" not in os.environ


@pytest.mark.parametrize("name", ["why?", "{base}", "a%20b", "file"])
def test_a_home_that_databases_cannot_be_in_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IKD_HOME", str(tmp_path / name))
    with pytest.raises(BadInput, match="IKD_HOME: must"):
        home()


def test_names_that_differ_after_a_dot_have_locks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    with entry("boxes", "key.npz") as first, entry("boxes", "key.json") as second:  # one lock would wait for ever
        assert (first, second) == (cache("boxes") / "key.npz", cache("boxes") / "key.json")
    assert sorted(path.name for path in cache("boxes").iterdir()) == ["key.json.lock", "key.npz.lock"]


def test_whoever_waits_is_asked_whether_it_still_wants_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    monkeypatch.setattr(homes, "WAIT_SECONDS", 0.05)
    asked = []

    def give_up() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise SystemExit

    def release() -> None:
        asked.append(1)
        held.close()

    held = contextlib.ExitStack()
    held.enter_context(entry("boxes", "key"))
    with pytest.raises(SystemExit), while_waiting(give_up), entry("boxes", "key"):
        raise AssertionError
    assert len(asked) == 3
    with while_waiting(release), entry("boxes", "key") as path:
        assert len(asked) == 4
        with pytest.raises(Timeout):
            FileLock(lock_of(path)).acquire(timeout=0)
    FileLock(lock_of(path)).acquire(timeout=0).lock.release()


def test_equal_values_have_one_digest() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
    assert len(digest(None)) == 32
