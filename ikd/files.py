"""Files that a crash, a power cut or a full disk leaves whole: the old or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ikd.errors import DiskFull

Write = Callable[[BinaryIO], object]
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PARTIAL = ".partial"
_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def whole(
    path: Path, *, durable: bool = True, private: bool = False, needed: Callable[[], int] | None = None
) -> Iterator[Path]:
    """Give the path of a file to write, which takes the place of `path` at the end, so that nobody sees a part of it.

    Args:
        path: of the file; its folder exists.
        durable: hold after a power cut too, which takes some milliseconds; not worth it for many small files that can
            be made again.
        private: nobody else may read it.
        needed: returns the bytes of the whole file, asked where the disk is full; None is what was written of it.

    Raises:
        DiskFull: the old file, where there was one, is intact.
    """
    partial = _beside(path)
    try:
        written = needed or (lambda: partial.stat().st_size if partial.exists() else 0)
        with _full_disk_named(path, written, partial):
            _make(partial, private=private)
            yield partial
            if durable:  # before the rename: a name that lasts must not show an empty file
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


def write_whole(path: Path, write: Write, *, durable: bool = True, private: bool = False) -> None:
    """Write a file so that a reader sees the old or the new one.

    Args:
        path: of the file; its folder exists.
        write: writes all of it into the stream it is given; called once more, to measure, where the disk is full.
        durable: see `whole`.
        private: nobody else may read it.

    Raises:
        DiskFull: the old file, where there was one, is intact.
    """
    with (
        whole(path, durable=durable, private=private, needed=lambda: _size(write)) as partial,
        partial.open("wb") as file,
    ):
        write(file)


def write_text(path: Path, text: str, *, durable: bool = True, private: bool = False) -> None:
    """Write a text in UTF-8 so that a reader sees the old or the new one; see `write_whole`."""
    content = text.encode()
    write_whole(path, lambda file: file.write(content), durable=durable, private=private)


@contextlib.contextmanager
def whole_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty folder that takes the place of `target` at the end, in one step; on any error `target` stays.

    Args:
        target: missing or empty, or whatever is there with `replace`; its parents are made.
        replace: what is there is deleted once the new folder stands in its place.

    Raises:
        DiskFull: `target` is as it was.
        OSError: the folder cannot be made, or `target` holds something that is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=_PARTIAL, dir=target.parent) as holder:
        made, aside = Path(holder) / "made", Path(holder) / "previous"
        made.mkdir()  # unlike the holder, with the permissions that a new folder has here
        with _full_disk_named(target, lambda: sum(file.stat().st_size for file in made.rglob("*") if file.is_file())):
            yield made
        replaces = replace and target.exists()
        if replaces:
            os.rename(target, aside)
        try:
            os.replace(made, target)
        except OSError:
            if replaces:
                os.rename(aside, target)
            raise


def parsed(text: str | bytes) -> Any:
    """Return what a json text says.

    Raises:
        ValueError: it is none, or nests deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits (`hashlib.file_digest` needs Python 3.11)."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def link_whole(source: Path, target: Path) -> None:
    """Give a file that is never written in place a second name, without copying where links are possible.

    Raises:
        DiskFull: the old `target`, where there was one, is intact.
    """
    partial = _beside(target)
    try:
        with _full_disk_named(target, lambda: source.stat().st_size, partial):
            try:
                os.link(source, partial)
            except OSError as error:
                if error.errno in _FULL:
                    raise
                shutil.copyfile(source, partial)  # a file system without hard links
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)  # a rename between two names of one file does nothing


def append(path: Path, text: str) -> None:
    """Append to a file; what a full disk let through is taken back.

    Raises:
        DiskFull: the file is as it was.
    """
    content = text.encode()
    with _full_disk_named(path, lambda: len(content)), path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if (written := file.write(content)) != len(content):  # an unbuffered write may end short
                file.write(content[written:])
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise


def sweep_partials(folder: Path) -> None:
    """Remove what killed writers left in a folder that nobody else is writing to."""
    for left in folder.glob(f".*{_PARTIAL}"):
        if not left.is_dir():  # of `whole_folder`, which may be somebody's who is at work
            left.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return a name beside a file that nobody can have put there before, as a link to somewhere else."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_PARTIAL}")


def _make(path: Path, *, private: bool) -> None:
    """Make an empty file that is new; a link in its place is an error."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; some network file systems cannot, and need not."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _full_disk_named(path: Path, needed: Callable[[], int], partial: Path | None = None) -> Iterator[None]:
    """Turn whatever a full disk became into `DiskFull`: torch.save hides it behind a RuntimeError of its own.

    Args:
        path: of the file that is written.
        needed: returns its bytes.
        partial: what there is of it, which goes before the free space is looked up.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        size = needed()
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise DiskFull(str(path), size, shutil.disk_usage(path.parent).free) from error


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _size(write: Write) -> int:
    counter = _Counter()
    write(counter)  # type: ignore[arg-type]  # a raw stream is all that a writer needs
    return counter.count


class _Counter(io.RawIOBase):
    """A stream that only counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        size = memoryview(content).nbytes
        self.count += size
        return size


LEFT_OVER_SECONDS = 600.0
"""Age of a dead process's folder before it is removed; what that process started lingers for half a minute."""


def remove_left_over(temp: Path, prefix: str = "ikd-ray") -> None:
    """Remove the folders `prefix-PID-*` that killed processes of this user left; what they started has ended since."""
    for folder in temp.glob(f"{prefix}-*-*"):
        pid = folder.name.removeprefix(f"{prefix}-").split("-")[0]
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            old = time.time() - folder.stat().st_mtime > LEFT_OVER_SECONDS
            if old and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)
