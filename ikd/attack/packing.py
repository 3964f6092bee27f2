"""A perturbation in few bytes: its few levels in half a byte each, then Huffman-coded; what is rarer is kept aside.

Sign steps leave few levels: 2 eps + 1 at most, of which those of whole steps have most of the mass. Two rows share a
byte, so that unpacking is a mask, a shift and additions over whole rows, and zstd (which finds only literals in such
noise) codes pairs of neighbours together.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pyarrow
from numpy.typing import NDArray

_MAGIC = b"ikdp"
_HEADER = struct.Struct("<4sIQII16sBII")  # magic, checksum, bytes of all, height, width, levels, of them, aside, codes
_CHECKED_FROM = 8
_KEPT = 16
_FARTHEST = 2**16 - 1
_CODEC = "zstd"
_EFFORT = 1  # higher ones look for repetitions, of which there are none
HEADER_BYTES = _HEADER.size


def pack(delta: NDArray[np.int8]) -> bytes:
    """Pack whole grey levels [H, W, 3] without loss, whatever they are; sign steps take less than 0.4 bytes a value."""
    height, width, _ = delta.shape
    delta = np.ascontiguousarray(delta)
    levels = _most_frequent(delta)
    code_of = np.full(256, _KEPT, np.uint8)
    code_of[levels.view(np.uint8)] = np.arange(len(levels))
    codes = cv2.LUT(delta.view(np.uint8), code_of)
    places = _aside(codes == _KEPT)
    codes.reshape(-1)[places] = 0
    skips = np.diff(places, prepend=0).astype("<u2").tobytes()
    packed, rest = _compress(_fold(codes)), _compress(skips + delta.reshape(-1)[places].tobytes())
    size = HEADER_BYTES + len(packed) + len(rest)
    listed = levels.tobytes().ljust(_KEPT, b"\0")
    head = _HEADER.pack(_MAGIC, 0, size, height, width, listed, len(levels), len(places), len(packed))[_CHECKED_FROM:]
    checksum = zlib.crc32(rest, zlib.crc32(packed, zlib.crc32(head)))
    return b"".join([_MAGIC, struct.pack("<I", checksum), head, packed, rest])


def unpack(content: bytes) -> NDArray[np.int8] | None:
    """Return what was packed, [H, W, 3]; None when a bit of it is not as it was."""
    if not is_whole(content[:HEADER_BYTES], len(content)):
        return None
    _, checksum, _, height, width, listed, kept, aside, size = _HEADER.unpack_from(content)
    body = memoryview(content)
    if zlib.crc32(body[_CHECKED_FROM:]) != checksum:
        return None
    rows = (height + 1) // 2
    codes = _unfold(_decompress(body[HEADER_BYTES : HEADER_BYTES + size], _padded(rows * width * 3)), rows, width)
    delta = _levels_of(codes[:height], np.frombuffer(listed, np.int8, kept)).view(np.int8)
    if aside:
        rest = _decompress(body[HEADER_BYTES + size :], 3 * aside)
        places = np.cumsum(np.frombuffer(rest, "<u2", aside), dtype=np.int64)
        delta.reshape(-1)[places] = np.frombuffer(rest, np.int8, offset=2 * aside)
    return delta


def is_whole(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes with these `HEADER_BYTES` at its beginning was not cut short."""
    return len(head) == HEADER_BYTES and head.startswith(_MAGIC) and _HEADER.unpack(head)[2] == size


def _most_frequent(delta: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the levels that get a code, ascending."""
    counts = np.bincount(delta.reshape(-1).view(np.uint8), minlength=256)
    most = np.argsort(-counts, kind="stable")[:_KEPT]
    return np.sort(most[counts[most] > 0].astype(np.uint8).view(np.int8))


def _aside(uncoded: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the places of the values without a code, and of others wherever two of them are too far apart."""
    places = np.flatnonzero(uncoded)
    return np.union1d(places, np.arange(0, places[-1], _FARTHEST)) if len(places) else places


def _fold(codes: NDArray[np.uint8]) -> bytes:
    """Put the codes [H, W, 3] of two rows into one row of bytes, filled up to whole words."""
    even = codes[0::2]
    odd = np.zeros_like(even)
    odd[: len(codes) // 2] = codes[1::2]
    return (even | odd << 4).tobytes().ljust(_padded(even.size), b"\0")


def _unfold(folded: memoryview, rows: int, width: int) -> NDArray[np.uint8]:
    """Return the codes [2 * rows, W, 3]."""
    count, shape = rows * width * 3, (rows, width, 3)
    codes = np.empty((2 * rows, width, 3), np.uint8)
    np.bitwise_and(np.frombuffer(folded, np.uint8, count).reshape(shape), 15, out=codes[0::2])
    upper = np.frombuffer(folded, np.uint64) >> np.uint64(4)  # in words, as bytes have no vectorised shift
    np.bitwise_and(upper.view(np.uint8)[:count].reshape(shape), 15, out=codes[1::2])
    return codes


def _levels_of(codes: NDArray[np.uint8], levels: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the levels as bytes that wrap: by vectorised additions, where a table would be asked value by value."""
    found = codes + levels[:1].view(np.uint8)
    past = np.empty(codes.shape, np.bool_)
    for code, gap in enumerate(np.diff(levels.astype(np.int16)) - 1, start=1):
        if gap:
            np.greater_equal(codes, code, out=past)
            found += past.view(np.uint8) if gap == 1 else past.view(np.uint8) * np.uint8(gap)
    return found


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _compress(content: bytes) -> bytes:
    compressed: bytes = pyarrow.Codec(_CODEC, compression_level=_EFFORT).compress(content, asbytes=True)
    return compressed


def _decompress(content: memoryview, size: int) -> memoryview:
    return memoryview(pyarrow.decompress(pyarrow.py_buffer(content), size, _CODEC))
