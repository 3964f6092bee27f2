"""Files of an object store through pyarrow, with patience for what may pass."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ikd.errors import BadInput, first_line
from ikd.masking import masked

T = TypeVar("T")
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Between the tries of a request that may succeed later."""
CHUNK_BYTES = 2**22
HOPELESS = re.compile("ACCESS_DENIED|NO_SUCH_BUCKET|ACCESS_KEY|SIGNATURE|CREDENTIALS|bucket.*does not exist", re.I)
"""In pyarrow's texts of errors that no second try mends; their type is OSError as of all others."""


def is_address(storage: str | None) -> bool:
    """Tell whether a runner's storage is an object store, and no folder."""
    return storage is not None and "://" in storage


def shown(storage: str) -> str:
    """Return an address without the credentials it may hold, for people."""
    return masked(storage)


def open_address(storage: str) -> tuple[Any, str]:
    """Return pyarrow's file system of an address, and the path in it.

    Raises:
        BadInput: pyarrow does not know such a thing.
    """
    from pyarrow.fs import FileSystem

    single = storage.startswith("s3://") and "allow_delayed_open" not in storage
    joint = "&" if "?" in storage else "?"
    try:  # a delayed open makes one request of a small file instead of three
        filesystem, path = FileSystem.from_uri(f"{storage}{joint}allow_delayed_open=true" if single else storage)
    except (ValueError, OSError, NotImplementedError) as error:
        rule = "must be a folder or an address such as s3://bucket/path, gs://bucket/path or hdfs://host/path"
        raise BadInput(f"runner: storage: {rule}, but got {shown(storage)!r}: {shown(first_line(error))}") from error
    return filesystem, path.rstrip("/")


def upload(filesystem: Any, file: Path, key: str) -> None:
    """Write a file of this machine to the store.

    Raises:
        OSError: the store cannot be written.
    """

    def once() -> None:
        with file.open("rb") as source, _writing(filesystem, key) as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)

    _tried(once)


def download(filesystem: Any, key: str, file: Path) -> None:
    """Write a file of the store to this machine.

    Raises:
        OSError: the store cannot be read; FileNotFoundError when it has no such file.
    """

    def once() -> None:
        with filesystem.open_input_stream(key) as source, file.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)

    _tried(once)


def read(filesystem: Any, key: str) -> bytes:
    """Read a small file of the store.

    Raises:
        OSError: the store cannot be read; FileNotFoundError when it has no such file.
    """

    def once() -> bytes:
        with filesystem.open_input_stream(key) as stream:
            return bytes(stream.read())

    return _tried(once)


def write(filesystem: Any, key: str, content: bytes, *, pauses: Sequence[float] | None = None) -> None:
    """Write a small file of the store.

    Args:
        filesystem: pyarrow's.
        key: path in it.
        content: of the file.
        pauses: seconds between the tries; None is as for all other requests.

    Raises:
        OSError: the store cannot be written.
    """

    def once() -> None:
        with _writing(filesystem, key) as stream:
            stream.write(content)

    _tried(once, pauses)


def delete(filesystem: Any, key: str) -> None:
    """Delete a file of the store, there or not.

    Raises:
        OSError: the store cannot be written.
    """
    with contextlib.suppress(FileNotFoundError):
        _tried(lambda: filesystem.delete_file(key))


def any_below(filesystem: Any, folder: str) -> bool:
    """Tell whether the store has anything in a folder.

    Raises:
        OSError: the store cannot be read.
    """
    from pyarrow.fs import FileSelector

    return bool(_tried(lambda: filesystem.get_file_info(FileSelector(folder, allow_not_found=True))))


def _writing(filesystem: Any, key: str) -> Any:
    """Open a file of the store, in a folder made where the store has such a thing."""
    try:
        return filesystem.open_output_stream(key)
    except FileNotFoundError:
        filesystem.create_dir(key.rpartition("/")[0], recursive=True)
        return filesystem.open_output_stream(key)


def _tried(request: Callable[[], T], pauses: Sequence[float] | None = None) -> T:
    """Make a request, again after a pause when it failed for a reason that may pass."""
    for pause in PAUSES_SECONDS if pauses is None else pauses:
        try:
            return request()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            if HOPELESS.search(str(error)):
                raise
            time.sleep(pause)
    return request()
