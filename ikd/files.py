"""Files that a crash, a power cut or a full disk leaves whole: the old or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ikd.errors import DiskFull

Write = Callable[[BinaryIO], object]
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PARTIAL = ".partial"


def write_whole(path: Path, write: Write, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old or the new one.

    Args:
        path: of the file; its folder exists.
        write: writes all of it into the stream it is given; called once more, to measure, where the disk is full.
        durable: hold after a power cut too, which takes some milliseconds; not worth it for many small files that can
            be made again.

    Raises:
        DiskFull: the old file, where there was one, is intact.
    """
    partial = _beside(path)
    try:
        with _full_disk_named(path, lambda: _size(write)):
            with partial.open("wb") as file:
                write(file)
                if durable:  # before the rename: a name that lasts must not show an empty file
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


def link_whole(source: Path, target: Path) -> None:
    """Give a file that is never written in place a second name, without copying where links are possible.

    Raises:
        DiskFull: the old `target`, where there was one, is intact.
    """
    partial = _beside(target)
    try:
        with _full_disk_named(target, lambda: source.stat().st_size):
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
        left.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; some network file systems cannot, and need not."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _full_disk_named(path: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Turn whatever a full disk became into `DiskFull`: torch.save hides it behind a RuntimeError of its own."""
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        _beside(path).unlink(missing_ok=True)  # before the free space is looked up
        raise DiskFull(str(path), needed(), shutil.disk_usage(path.parent).free) from error


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
