"""A perturbation in few bytes: its few levels in half a byte each, then Huffman-coded; what is rarer is kept aside.

Sign steps leave few levels: 2 eps + 1 at most, of which those of whole steps have most of the mass. The halves of an
image share bytes, so that unpacking is a mask, a shift and additions over memory as it lies, and zstd (which finds only
literals in such noise) codes pairs of values together. That coding is most of the time of unpacking.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pyarrow
from numpy.typing import NDArray

_MAGIC = b"ikdq"
_HEADER = struct.Struct("<4sIQII16sBII")  # magic, checksum, bytes of all, height, width, levels, of them, aside, codes
_CHECKED_FROM = 8
_WORD = 8
_LOWER = np.uint64(0x0F0F0F0F0F0F0F0F)
_COLUMNS = 61
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
    checked = b"".join([head, packed, rest])
    return b"".join([_MAGIC, struct.pack("<I", _checksum(checked)), checked])


def unpack(content: bytes) -> NDArray[np.int8] | None:
    """Return what was packed, [H, W, 3]; None when a bit of it is not as it was."""
    if not is_whole(content[:HEADER_BYTES], len(content)):
        return None
    _, checksum, _, height, width, listed, kept, aside, size = _HEADER.unpack_from(content)
    body = memoryview(content)
    if _checksum(body[_CHECKED_FROM:]) != checksum:
        return None
    count = height * width * 3
    folded = _decompress(body[HEADER_BYTES : HEADER_BYTES + size], _words_of(count) * _WORD)
    codes = _unfold(folded, count)
    _put_levels(codes, np.frombuffer(listed, np.int8, kept))
    delta = codes.view(np.int8)
    if aside:
        rest = _decompress(body[HEADER_BYTES + size :], 3 * aside)
        places = np.cumsum(np.frombuffer(rest, "<u2", aside), dtype=np.int64)
        delta[places] = np.frombuffer(rest, np.int8, offset=2 * aside)
    return delta.reshape(height, width, 3)


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
    """Put the first half of the codes into the lower halves of bytes, the rest into the upper ones; whole words."""
    half = _words_of(codes.size) * _WORD
    both = np.zeros(2 * half, np.uint8)
    both[: codes.size] = codes.reshape(-1)
    return (both[:half] | both[half:] << 4).tobytes()


def _unfold(folded: memoryview, count: int) -> NDArray[np.uint8]:
    """Return as many codes: in words, as bytes have no vectorised shift."""
    pairs, half = np.frombuffer(folded, np.uint64), _words_of(count)
    codes = np.empty(2 * half, np.uint64)
    np.bitwise_and(pairs, _LOWER, out=codes[:half])
    np.right_shift(pairs, np.uint64(4), out=codes[half:])
    codes[half:] &= _LOWER
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
