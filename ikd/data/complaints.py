"""What a C library writes to the standard error while it decodes: libjpeg has no other way to tell of damaged data.

It goes on with grey where a stream is broken, and OpenCV passes the picture on as if it were whole. The stream behind
C's `stderr` is exchanged, not the file descriptor: what Python prints meanwhile goes where it always went.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

_STDERR_FD = 2
_UNBUFFERED = 2  # _IONBF of glibc
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_ears = threading.local()


class _Functions(ctypes.Structure):
    """glibc's `cookie_io_functions_t`."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


@_Write
def _written(_: int, text: int, length: int) -> int:
    content = ctypes.string_at(text, length)
    heard = getattr(_ears, "heard", None)
    if heard is None:  # another library, in a thread that listens to nothing
        with contextlib.suppress(OSError):
            os.write(_STDERR_FD, content)
    else:
        heard.append(content)
    return length


def _listening_stream() -> tuple[ctypes.c_void_p, int] | None:
    """Return C's variable `stderr`, and a stream to put there; None where it cannot be exchanged (no glibc)."""
    library = ctypes.CDLL(None)
    try:
        library.gnu_get_libc_version  # noqa: B018  # elsewhere the variable may be in memory that is not to be written
        stderr = ctypes.c_void_p.in_dll(library, "stderr")
        opened = library.fopencookie
    except (AttributeError, ValueError):
        return None
    opened.restype, opened.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p, _Functions)
    stream = opened(None, b"w", _Functions(write=_written))
    if not stream:
        return None
    library.setvbuf(ctypes.c_void_p(stream), None, _UNBUFFERED, ctypes.c_size_t(0))
    return stderr, stream


_ours: tuple[ctypes.c_void_p, int] | None = None  # never closed: a thread may still write to it
_lock = threading.Lock()
_before: int | None = None
_inside = 0


@contextlib.contextmanager
def overheard() -> Iterator[None]:
    """Make `complaints` work in every thread; without glibc nothing is heard."""
    global _ours, _inside, _before
    with _lock:
        _ours = _ours or _listening_stream()
        _inside += 1
        if _ours is not None and _inside == 1:
            _before, _ours[0].value = _ours[0].value, _ours[1]
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _ours is not None and _inside == 0:
                _ours[0].value = _before


@contextlib.contextmanager
def complaints() -> Iterator[list[bytes]]:
    """Give a list that gets what C code of this thread writes to the standard error, inside `overheard`."""
    _ears.heard = found = list[bytes]()
    try:
        yield found
    finally:
        _ears.heard = None
