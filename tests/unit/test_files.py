"""Files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from ikd.errors import DiskFull
from ikd.files import append, link_whole, sha256, sweep_partials, whole, whole_folder, write_text, write_whole


class Full(io.FileIO):
    """A file on a disk with room for `room` more bytes."""

    room = 4

    def write(self, content: Any) -> int:
        if len(content) <= self.room:
            return super().write(content) or 0
        super().write(bytes(content)[: self.room])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_full(path: Path, mode: str = "r", buffering: int = -1) -> Full:
        return Full(path, mode.replace("b", ""))

    monkeypatch.setattr(Path, "open", open_full)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"old", b"newer"):
        write_whole(file, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
        assert file.read_bytes() == content
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("durable", [True, False])
def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    events: list[str] = []

    def follow(name: str) -> None:
        original = getattr(os, name)

        def spy(*given: Any) -> None:
            events.append(name)
            original(*given)

        monkeypatch.setattr(os, name, spy)

    follow("fsync")
    follow("replace")
    write_whole(tmp_path / "file", lambda stream: stream.write(b"x"), durable=durable)
    assert events == (["fsync", "replace", "fsync"] if durable else ["replace"])


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path, full_disk: None) -> None:
    file = tmp_path / "file"
    with Full(file, "w") as stream:
        stream.write(b"old")
    with pytest.raises(DiskFull, match=r"disk full while writing .*file: need 0\.5 MB, [\d.]+ MB free") as caught:
        write_whole(file, lambda stream: stream.write(bytes(500_000)))
    assert caught.value.needed == 500_000
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with Full(file) as stream:
        assert stream.read() == b"old"
    assert names(tmp_path) == ["file"]


def test_what_hides_a_full_disk_is_seen_through(tmp_path: Path, full_disk: None) -> None:
    def hide(stream: Any) -> None:
        try:
            stream.write(bytes(100))
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0") from None

    with pytest.raises(DiskFull):
        write_whole(tmp_path / "file", hide)


def test_another_error_passes_and_leaves_no_litter(tmp_path: Path) -> None:
    def fail(stream: Any) -> None:
        stream.write(b"half")
        raise RuntimeError("other")

    with pytest.raises(RuntimeError, match="other"):
        write_whole(tmp_path / "file", fail)
    assert names(tmp_path) == []


def test_append_takes_back_what_a_full_disk_let_through(tmp_path: Path, full_disk: None) -> None:
    log = tmp_path / "log"
    append(log, "ab\n")
    with pytest.raises(DiskFull, match=r"disk full while writing .*log"):
        append(log, "longer line\n")
    with Full(log) as stream:
        assert stream.read() == b"ab\n"


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_keeps_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    one, other = tmp_path / "one", tmp_path / "other"
    write_whole(one, lambda stream: stream.write(b"first"))
    for _ in range(2):  # the second time both are the same file
        link_whole(one, other)
    assert (one.stat().st_ino == other.stat().st_ino) is links
    write_whole(one, lambda stream: stream.write(b"second"))
    assert other.read_bytes() == b"first"
    assert names(tmp_path) == ["one", "other"]


def test_leftovers_of_killed_writers_go(tmp_path: Path) -> None:
    for name in (".last.pth.17.partial", "last.pth", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / ".export.x1.partial").mkdir()
    sweep_partials(tmp_path)
    assert names(tmp_path) == [".export.x1.partial", ".hidden", "last.pth"], "a folder may be being made"


def test_what_streams_takes_its_place_at_the_end(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old\n")
    with whole(tmp_path / "file") as partial:
        partial.write_text("β\n", encoding="utf-8")
        assert (tmp_path / "file").read_text() == "old\n"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "β\n"
    assert names(tmp_path) == ["file"]


def test_what_streams_onto_a_full_disk_says_how_much_it_was(tmp_path: Path) -> None:
    def stream() -> None:
        with whole(tmp_path / "file") as partial:
            partial.write_bytes(bytes(300_000))
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(DiskFull, match=r"need 0\.3 MB"):
        stream()
    assert names(tmp_path) == []


def fill_folder(target: Path, text: str, *, replace: bool = False) -> None:
    with whole_folder(target, replace=replace) as folder:
        (folder / "file").write_text(text)
        assert not (target / "file").exists() or (target / "file").read_text() != text


def test_a_folder_appears_as_a_whole_and_is_replaced_where_that_is_asked(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er"
    fill_folder(target, "old")
    with pytest.raises(OSError, match="not empty"):
        fill_folder(target, "new")
    assert (target / "file").read_text() == "old"
    fill_folder(target, "new", replace=True)
    assert (target / "file").read_text() == "new"
    assert names(target.parent) == ["er"]
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "target").mkdir()

    def fail() -> None:
        with whole_folder(tmp_path / "target", replace=replace) as folder:
            (folder / "half").touch()
            raise RuntimeError("other")

    with pytest.raises(RuntimeError, match="other"):
        fail()
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == []


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20 + 1])
def test_a_hash_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    assert sha256(tmp_path / "file") == hashlib.sha256(bytes(size)).hexdigest()
