"""Which stores of perturbations go when there are too many, and which stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from ikd.attack import Hold, make_room, room
from ikd.errors import BadInput
from ikd.home import cache, lock_of

OLD = 10_000.0


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three stores of 1000 bytes, last used in the order of the alphabet; two of them fit."""
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    monkeypatch.setenv("IKD_STORE_GB", "2.5e-6")
    found = {}
    for age, name in enumerate("cba"):
        folder = cache("perturbations") / name
        folder.mkdir(parents=True)
        (folder / "1.ikdp").write_bytes(b"x" * 1000)
        (folder / "used").touch()
        used(folder, OLD + 100 * age)
        found[name] = folder
    return found


def used(folder: Path, ago: float) -> None:
    then = time.time() - ago
    os.utime(folder / "used", (then, then))


def left(stores: dict[str, Path]) -> str:
    return "".join(sorted(name for name, folder in stores.items() if folder.exists()))


@pytest.mark.parametrize(("needed", "kept"), [(0, "bc"), (1000, "c"), (2000, ""), (10**9, "")])
def test_what_was_not_used_for_longest_goes_first(needed: int, kept: str, stores: dict[str, Path]) -> None:
    deleted = make_room(needed)
    assert left(stores) == kept
    assert sorted(folder.name for folder in deleted) == sorted(set("abc") - set(kept))
    assert sorted(path.name for path in cache("perturbations").iterdir() if path.is_dir()) == sorted(kept)


def test_nothing_goes_below_the_bound(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_STORE_GB", "1")
    assert make_room(10**6) == []
    monkeypatch.delenv("IKD_STORE_GB")
    assert make_room(10**6) == []
    assert left(stores) == "abc"


def test_a_store_in_use_stays_and_a_dead_user_holds_none_for_ever(stores: dict[str, Path]) -> None:
    Hold([stores["a"]]).keep()
    make_room(10**9)
    assert left(stores) == "a"
    used(stores["a"], room.HELD_SECONDS + 60)
    make_room(10**9)
    assert left(stores) == ""


def test_a_store_in_the_making_stays(stores: dict[str, Path]) -> None:
    with FileLock(lock_of(stores["b"])):
        make_room(10**9)
    assert left(stores) == "b"


def test_a_hold_touches_once_a_minute_and_survives_a_store_that_is_gone(
    stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Hold([stores["a"], stores["a"].with_name("gone")])
    hold.keep()
    assert not stores["a"].with_name("gone").exists()
    used(stores["a"], OLD)
    hold.keep()
    assert time.time() - (stores["a"] / "used").stat().st_mtime > OLD - 10, "a minute has not passed"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * room.TOUCH_SECONDS)
    hold.keep()
    assert time.time() - (stores["a"] / "used").stat().st_mtime < 60


def test_stores_of_before_count_by_when_they_were_made(stores: dict[str, Path]) -> None:
    (stores["c"] / "used").unlink()
    (stores["c"] / "summary.json").write_text("{}")
    then = time.time() - 10 * OLD
    os.utime(stores["c"] / "summary.json", (then, then))
    make_room(0)
    assert left(stores) == "ab"


def test_a_finished_store_says_its_size(stores: dict[str, Path]) -> None:
    assert room.size_of(stores["a"]) == 1000
    (stores["a"] / "summary.json").write_text('{"bytes": 123}')
    assert room.size_of(stores["a"]) == 123
    (stores["a"] / "summary.json").write_text("torn")
    assert room.size_of(stores["a"]) == 1004


def test_what_a_killed_deletion_left_goes_too(stores: dict[str, Path]) -> None:
    left_over = cache("perturbations") / ".x.gone"
    left_over.mkdir()
    make_room(0)
    assert not left_over.exists()


@pytest.mark.parametrize("text", ["much", "0", "-3", "nan"])
def test_a_bad_bound_is_refused(text: str, stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_STORE_GB", text)
    with pytest.raises(BadInput, match="IKD_STORE_GB: must be a number of GB above 0, but got"):
        make_room(0)
    assert left(stores) == "abc"
