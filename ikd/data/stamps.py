"""What was found out about data sets before, kept in the ikd home: images are decoded once."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ikd.data.images import THUMB, Facts, look
from ikd.data.report import DataReport
from ikd.files import write_text, write_whole
from ikd.home import cache, digest, entry

VERSION = 2
"""Raise it when a fact is found out in another way."""

Stat = tuple[int, int]


def stat_of(path: Path) -> Stat:
    """Return size and time of change (ns) of a file, by which a change is noticed; zeros where there is none.

    The time is that of its entry: tools that copy a file onto another one may set that of its content back.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return (0, 0)
    return found.st_size, found.st_ctime_ns


def facts_about(folder: Path, paths: Sequence[Path]) -> list[Facts]:
    """Return what is known of image files; those that are new or have changed are decoded.

    Args:
        folder: image folder, under which the facts are kept.
        paths: of the files.
    """
    stats = [stat_of(path) for path in paths]
    with entry("checks", _name_of(folder)) as file:
        known = _load(file)
        asked = list(dict.fromkeys(zip(map(str, paths), stats, strict=True)))
        new = [one for one in asked if one not in known]
        known |= dict(zip(new, look([Path(path) for path, _ in new]), strict=True))
        if new:
            present = dict(asked)
            kept = {one: fact for one, fact in known.items() if present.get(one[0], one[1]) == one[1]}
            _save(file, kept)
    return [known[str(path), stat] for path, stat in zip(paths, stats, strict=True)]


def _save(file: Path, known: dict[tuple[str, Stat], Facts]) -> None:
    facts = list(known.values())
    texts = json.dumps([[path, one.fault] for (path, _), one in zip(known, facts, strict=True)]).encode()
    numbers = [(*one.stored, one.width, one.height, one.tag, one.bits, one.frames, one.unheeded) for one in facts]
    arrays = {
        "texts": np.frombuffer(texts, np.uint8),
        "stats": np.array([stat for _, stat in known], np.int64).reshape(-1, 2),
        "numbers": np.array(numbers, np.int64).reshape(-1, 8),
        "brightest": np.array([one.brightest for one in facts], np.float64),
        "hashes": np.frombuffer(b"".join(bytes.fromhex(one.sha256 or "0" * 64) for one in facts), np.uint8),
        "thumbs": np.frombuffer(b"".join(one.thumb or bytes(THUMB**2) for one in facts), np.uint8),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_whole(file, lambda stream: stream.write(content.getbuffer()), durable=False)


def _load(file: Path) -> dict[tuple[str, Stat], Facts]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        texts: list[list[str]] = json.loads(arrays["texts"].tobytes())
        hashes, thumbs = arrays["hashes"].tobytes(), arrays["thumbs"].tobytes()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):  # none yet, or another version's
        return {}
    found: dict[tuple[str, Stat], Facts] = {}
    rows = zip(texts, arrays["stats"].tolist(), arrays["numbers"].tolist(), arrays["brightest"].tolist(), strict=True)
    for index, ((path, fault), (size, time), numbers, brightest) in enumerate(rows):
        sha = hashes[32 * index : 32 * index + 32].hex()
        thumb = thumbs[THUMB**2 * index : THUMB**2 * (index + 1)]
        left, right, width, height, tag, bits, frames, unheeded = numbers
        seen = (fault, width, height, (left, right), tag, bits, brightest)
        fact = Facts(*seen, "" if fault else sha, thumb, frames, unheeded)
        found[path, (size, time)] = fact
    return found


def kept_report(key: Any, folders: tuple[Path, ...], make: Callable[[], DataReport]) -> DataReport:
    """Return the report that was made for a key before, as long as no image has changed since, else make it anew.

    Args:
        key: what the report depends on besides the images.
        folders: of the images.
        make: makes it; it looks at the images through `facts_about`.
    """
    with entry("checks", f"{digest(key)}.json") as file:
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["images"] == _looks(folders):
                return DataReport.from_json(kept["report"])
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or another version's
            pass
        report = make()
        if report.ok:  # what is wrong is mended, perhaps where no stamp shows it
            text = json.dumps({"images": _looks(folders), "report": report.to_json()})
            write_text(file, text, durable=False)
        return report


def _name_of(folder: Path) -> str:
    return f"{digest([VERSION, str(folder.absolute())])}.npz"


def _looks(folders: tuple[Path, ...]) -> list[str]:
    """Return a hash of the present stamps of all images that were looked at in folders."""
    found = []
    for folder in dict.fromkeys(folders):
        try:
            with np.load(cache("checks") / _name_of(folder), allow_pickle=False) as stored:
                texts: list[list[str]] = json.loads(stored["texts"].tobytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            texts = []
        found.append(digest([[path, *stat_of(Path(path))] for path, _ in texts]))
    return found
