"""What was found out about data sets before, kept in the ikd home: images are decoded once."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ikd.data.identity import settled_stamp
from ikd.data.images import THUMB, Facts, look
from ikd.data.report import DataReport
from ikd.files import parsed, write_text, write_whole
from ikd.home import digest, entry
from ikd.progress import mentioned

VERSION = 5
"""Raise it when a fact is found out in another way."""

MANY = 1000
"""Images that take seconds to decode, of which whoever waits is told."""

STAMP = 4
"""Numbers of a stamp."""

Stamp = tuple[int, ...]


def facts_about(folder: Path, paths: Sequence[Path]) -> list[Facts]:
    """Return what is known of image files; those that are new, have changed, or are about to, are decoded.

    Args:
        folder: image folder, under which the facts are kept.
        paths: of the files.
    """
    stamps = {path: settled_stamp(path) for path in paths}
    with entry("checks", f"{digest([VERSION, str(folder.absolute())])}.npz") as file:
        known = _load(file)
        new = [path for path, stamp in stamps.items() if stamp is None or (str(path), stamp) not in known]
        with mentioned(f"decoding {len(new)} images" if len(new) > MANY else ""):
            found = dict(zip(new, look(new), strict=True))
        lasting = {(str(path), stamp): found[path] for path in new if (stamp := stamps[path]) is not None}
        if lasting:
            present = {str(path): stamp for path, stamp in stamps.items()}
            kept = {one: fact for one, fact in known.items() if present.get(one[0], one[1]) == one[1]}
            _save(file, kept | lasting)
    return [found[path] if path in found else known[str(path), stamps[path] or ()] for path in paths]


def _save(file: Path, known: dict[tuple[str, Stamp], Facts]) -> None:
    facts = list(known.values())
    said = [[path, one.fault, one.complaint, one.seen_otherwise] for (path, _), one in zip(known, facts, strict=True)]
    texts = json.dumps(said).encode()
    numbers = [
        (*one.stored, one.width, one.height, one.tag, one.always_turned, one.bits, one.frames, one.unheeded)
        for one in facts
    ]
    arrays = {
        "texts": np.frombuffer(texts, np.uint8),
        "stats": np.array([stat for _, stat in known], np.int64).reshape(-1, STAMP),
        "numbers": np.array(numbers, np.int64).reshape(-1, 9),
        "brightest": np.array([one.brightest for one in facts], np.float64),
        "hashes": np.frombuffer(b"".join(bytes.fromhex(one.sha256 or "0" * 64) for one in facts), np.uint8),
        "thumbs": np.frombuffer(b"".join(one.thumb or bytes(THUMB**2) for one in facts), np.uint8),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_whole(file, lambda stream: stream.write(content.getbuffer()), durable=False)


def _load(file: Path) -> dict[tuple[str, Stamp], Facts]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        texts: list[list[str]] = parsed(arrays["texts"].tobytes())
        hashes, thumbs = arrays["hashes"].tobytes(), arrays["thumbs"].tobytes()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):  # none yet, or another version's
        return {}
    found: dict[tuple[str, Stamp], Facts] = {}
    rows = zip(texts, arrays["stats"].tolist(), arrays["numbers"].tolist(), arrays["brightest"].tolist(), strict=True)
    for index, ((path, fault, complaint, otherwise), stamp, numbers, brightest) in enumerate(rows):
        sha = hashes[32 * index : 32 * index + 32].hex()
        thumb = thumbs[THUMB**2 * index : THUMB**2 * (index + 1)]
        left, right, width, height, tag, always, bits, frames, unheeded = numbers
        seen = (fault, width, height, (left, right), tag, bool(always), bits, brightest)
        fact = Facts(*seen, "" if fault else sha, thumb, frames, unheeded, complaint, otherwise)
        found[path, tuple(stamp)] = fact
    return found


def kept_report(key: Any, make: Callable[[], DataReport]) -> DataReport:
    """Return the report that was made for a key before, else make it.

    Args:
        key: what the report depends on, the state of its files included (`ikd.data.identity.states_of`).
        make: makes it.
    """
    with entry("checks", f"{digest(key)}.json") as file:
        try:
            return DataReport.from_json(parsed(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or another version's
            pass
        report = make()
        if report.ok:  # what is wrong is mended, perhaps where no stamp shows it
            write_text(file, json.dumps(report.to_json()), durable=False)
        return report
