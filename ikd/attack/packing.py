"""A perturbation in few bytes: its few levels in half a byte each, then Huffman-coded; what is rarer is kept aside.

Sign steps leave few levels: 2 eps + 1 at most, of which those of whole steps have most of the mass. The halves of an
image share bytes, so that unpacking is a mask, a shift and additions over memory as it lies, and zstd (which finds only
literals in such noise) codes pairs of values together. As that coding is most of the time of unpacking, a share of the
pairs is left plain: so many that unpacking takes less time than the image's own JPEG. What is not noise is coded whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import pyarrow
from numpy.typing import NDArray

_MAGIC = b"ikdq"
# magic, checksum, bytes of all, height, width, levels, how many, values aside, bytes of coded pairs, of plain ones
_HEADER = struct.Struct("<4sIQII16sBIII3x")
_CHECKED_FROM = 8
_WORD = 8
_LOWER = np.uint64(0x0F0F0F0F0F0F0F0F)
_COLUMNS = 61
_PLAIN = 0.6
"""Share of the pairs that is left as it is: each tenth takes 0.015 bytes a value and saves a twentieth of the time."""
_KEPT = 16
_FARTHEST = 2**16 - 1
_CODEC = "zstd"
_EFFORT = 1  # higher ones look for repetitions, of which there are none
HEADER_BYTES = _HEADER.size


def pack(delta: NDArray[np.int8]) -> bytes:
    """Pack whole grey levels [H, W, 3] without loss, whatever they are; sign steps take under half a byte a value."""
    height, width, _ = delta.shape
    delta = np.ascontiguousarray(delta)
    levels = _most_frequent(delta)
    code_of = np.full(256, _KEPT, np.uint8)
    code_of[levels.view(np.uint8)] = np.arange(len(levels))
    codes = cv2.LUT(delta.view(np.uint8), code_of)
    places = _aside(codes == _KEPT)
    codes.reshape(-1)[places] = 0
    skips = np.diff(places, prepend=0).astype("<u2").tobytes()
    plain, packed = _code(_fold(codes))
    rest = _compress(skips + delta.reshape(-1)[places].tobytes())
    size = HEADER_BYTES + len(plain) + len(packed) + len(rest)
    listed = levels.tobytes().ljust(_KEPT, b"\0")
    counts = (len(levels), len(places), len(packed), len(plain))
    head = _HEADER.pack(_MAGIC, 0, size, height, width, listed, *counts)[_CHECKED_FROM:]
    checked = b"".join([head, plain, packed, rest])
    return b"".join([_MAGIC, struct.pack("<I", _checksum(checked)), checked])


def unpack(content: bytes) -> NDArray[np.int8] | None:
    """Return what was packed, [H, W, 3]; None when a bit of it is not as it was."""
    if not is_whole(content[:HEADER_BYTES], len(content)):
        return None
    _, checksum, _, height, width, listed, kept, aside, size, plain = _HEADER.unpack_from(content)
    body = memoryview(content)
    if _checksum(body[_CHECKED_FROM:]) != checksum:
        return None
    count, start = height * width * 3, HEADER_BYTES + plain
    coded = _decompress(body[start : start + size], _words_of(count) * _WORD - plain)
    codes = _unfold([body[HEADER_BYTES:start], coded], count)
    _put_levels(codes, np.frombuffer(listed, np.int8, kept))
    delta = codes.view(np.int8)
    if aside:
        rest = _decompress(body[start + size :], 3 * aside)
        places = np.cumsum(np.frombuffer(rest, "<u2", aside), dtype=np.int64)
        delta[places] = np.frombuffer(rest, np.int8, offset=2 * aside)
    return delta.reshape(height, width, 3)


def is_whole(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes with these `HEADER_BYTES` at its beginning was not cut short."""
    return len(head) == HEADER_BYTES and head.startswith(_MAGIC) and _HEADER.unpack(head)[2] == size


def size_in(head: bytes, size: int) -> tuple[int, int] | None:
    """Return height and width of what is packed in a file of which `is_whole` asks the same; None for one cut short."""
    return _HEADER.unpack(head)[3:5] if is_whole(head, size) else None


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
    """Put the first half of the codes into the lower halves of bytes, the rest into the upper ones; whole words."""
    half = _words_of(codes.size) * _WORD
    both = np.zeros(2 * half, np.uint8)
    both[: codes.size] = codes.reshape(-1)
    return (both[:half] | both[half:] << 4).tobytes()


def _unfold(parts: Sequence[memoryview], count: int) -> NDArray[np.uint8]:
    """Return as many codes from what was folded: in words, as bytes have no vectorised shift."""
    half, start = _words_of(count), 0
    codes = np.empty(2 * half, np.uint64)
    for part in parts:
        pairs = np.frombuffer(part, np.uint64)
        lower, upper = (codes[first : first + len(pairs)] for first in (start, half + start))
        np.bitwise_and(pairs, _LOWER, out=lower)
        np.right_shift(pairs, np.uint64(4), out=upper)
        upper &= _LOWER
        start += len(pairs)
    return codes.view(np.uint8)[:count]


def _put_levels(codes: NDArray[np.uint8], levels: NDArray[np.int8]) -> None:
    """Turn codes into levels as bytes that wrap: by vectorised additions, where a table is asked value by value."""
    gaps, past = np.diff(levels.astype(np.int16)) - 1, np.empty(codes.shape, np.bool_)
    for code in np.flatnonzero(gaps)[::-1]:  # from above, so that what was moved is above what is asked for still
        np.greater(codes, np.uint8(code), out=past)  # wider numbers would widen all of them
        codes += past.view(np.uint8) if gaps[code] == 1 else past.view(np.uint8) * np.uint8(gaps[code])
    codes += levels[:1].view(np.uint8)


def _words_of(count: int) -> int:
    """Return how many words hold half as many codes as bytes."""
    return -(-count // (2 * _WORD))


def _code(folded: bytes) -> tuple[bytes, bytes]:
    """Return the pairs that are left plain, in whole words, and the coded rest."""
    whole = _compress(folded)
    if len(whole) < len(folded) // 2:
        return b"", whole
    plain = int(_PLAIN * len(folded) / _WORD) * _WORD
    return folded[:plain], _compress(folded[plain:])


def _checksum(content: bytes | memoryview) -> int:
    """Return a CRC-32 of columns of words, exclusive-or'ed: a prime number of them, so that moved pages are seen."""
    words = len(content) // (_COLUMNS * _WORD) * _COLUMNS
    table = np.frombuffer(content, "<u8", words).reshape(-1, _COLUMNS)
    return zlib.crc32(np.bitwise_xor.reduce(table, axis=0), zlib.crc32(memoryview(content)[words * _WORD :]))


def _compress(content: bytes) -> bytes:
    compressed: bytes = pyarrow.Codec(_CODEC, compression_level=_EFFORT).compress(content, asbytes=True)
    return compressed


def _decompress(content: memoryview, size: int) -> memoryview:
    return memoryview(pyarrow.decompress(pyarrow.py_buffer(content), size, _CODEC))
