"""Reading a COCO annotation file entry by entry: a file of COCO's size takes 4 GB as Python's values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ikd.data.coco import SECTIONS, malformed
from ikd.errors import DataError, Problem

PIECE = 1 << 22  # characters read at a time
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what raw_decode calls, undocumented
_LEFT = 3  # characters after a value that make it whole: of 1.5e+6 the beginning is a number, and e+ is left
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Entry:
    """One entry of a COCO file.

    Attributes:
        section: images, annotations or categories.
        index: its place in that list.
        value: as read; anything that json can say.
        text: as written.
    """

    section: str
    index: int
    value: Any
    text: str


def repeated_key(entry: Entry) -> str:
    """Return a key that an entry says twice, itself or in an object in it; empty where there is none.

    A parser keeps the last one, and says nothing.
    """
    if not isinstance(entry.value, dict) or entry.text.count(":") <= len(entry.value):
        return ""  # as good as always
    twice: list[str] = []

    def looked_at(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        twice.extend(key for key in keys if keys.count(key) > 1)

    json.loads(entry.text, object_pairs_hook=looked_at)
    return twice[0] if twice else ""


def entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of the three lists in the order of the file, unchecked; a byte order mark is taken off.

    Raises:
        DataError: as `read_annotations`; what comes before the fault has been yielded by then.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            seen: list[str] = []
            yield from _object(_Text(file), seen)
    except (OSError, ValueError, RecursionError) as error:
        raise _named(path, error) from error
    if missing := [section for section in SECTIONS if section not in seen]:
        raise _named(path, ValueError(f"the key {missing[0]!r} is missing"))


def _named(path: Path, error: BaseException) -> DataError:
    """Return the fault as it is named where the file is read at once, with line and column."""
    _, problem = malformed(path)
    return DataError(str(problem or Problem(str(path), "file", str(error), "must be JSON whose keys come once")))


class _Text:
    """A text that is read on as it is needed."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False

    def _more(self) -> None:
        """Read as much again as waits, so that a long value is tried a few times only."""
        piece = self._file.read(max(PIECE, len(self._text) - self._at))
        self._text, self._at, self._ended = self._text[self._at :] + piece, 0, not piece

    def next(self) -> str:
        """Return the next character that is no space, without taking it; none at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def take(self, allowed: str) -> str:
        """Take the next character that is no space.

        Raises:
            ValueError: it is not among `allowed`.
        """
        found = self.next()
        if not found or found not in allowed:
            raise ValueError(f"must be one of {allowed}, but got {found!r}")
        self._at += 1
        return found

    def value(self) -> tuple[Any, str]:
        """Take the next value; return it, and as it is written."""
        self.next()
        while True:
            try:
                value, end = _SCAN(self._text, self._at)
            except (StopIteration, ValueError) as error:
                if self._ended:
                    raise ValueError("must be a value of JSON") from error
            else:
                if end + _LEFT <= len(self._text) or self._ended:
                    text, self._at = self._text[self._at : end], end
                    return value, text
            self._more()


def _object(text: _Text, seen: list[str]) -> Iterator[Entry]:
    """Yield the entries of the three lists of an object; other keys are read over."""
    text.take("{")
    if text.next() == "}":
        return
    while True:
        key, _ = text.value()
        if not isinstance(key, str):
            raise ValueError("keys must be texts")
        text.take(":")
        if key in SECTIONS:
            if key in seen:
                raise ValueError(f"the key {key!r} comes twice")
            seen.append(key)
            yield from _list(text, key)
        else:
            text.value()
        if text.take(",}") == "}":
            break
    if left := text.next():
        raise ValueError(f"must end after its object, but goes on with {left!r}")


def _list(text: _Text, section: str) -> Iterator[Entry]:
    text.take("[")
    if text.next() == "]":
        text.take("]")
        return
    index = 0
    while True:
        yield Entry(section, index, *text.value())
        index += 1
        if text.take(",]") == "]":
            return
