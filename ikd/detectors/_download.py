"""Fetching a checkpoint once and keeping it under the hash of its content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ikd.errors import CheckpointError

_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20


def fetch(url: str, cache_dir: Path | None) -> Path:
    """Return the local copy of `url`, downloaded at most once: `cache_dir/<sha256>/<name>`.

    A copy whose content no longer has its hash is fetched again. A name that ends in `-<8 hex digits>`, as
    OpenMMLab's do, must match the content.

    Raises:
        CheckpointError: no cache folder, the download failed, was cut short, or has the wrong content.
    """
    if cache_dir is None:
        raise CheckpointError(f"cannot fetch {url!r}: no cache folder was given")
    name = PurePosixPath(urlsplit(url).path).name or "checkpoint.pth"
    note = cache_dir / "urls" / hashlib.sha256(url.encode()).hexdigest()
    if note.is_file():
        digest = note.read_text().strip()
        path = cache_dir / digest / name
        if path.is_file() and _sha256(path) == digest:
            return path
    return _download(url, cache_dir, name, note)


def _download(url: str, cache_dir: Path, name: str, note: Path) -> Path:
    note.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=cache_dir, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as target, urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            shutil.copyfileobj(answer, target, _CHUNK)
            expected = answer.headers.get("Content-Length")
        size = Path(partial).stat().st_size
        if expected is not None and size != int(expected):
            raise CheckpointError(f"the download of {url!r} was cut short: {size} of {expected} bytes")
        digest = _sha256(Path(partial))
        promised = re.search(r"-([0-9a-f]{8})\.\w+$", name)
        if promised and not digest.startswith(promised[1]):
            raise CheckpointError(f"{url!r} has the hash {digest[:8]}, its name promises {promised[1]}")
        path = cache_dir / digest / name
        path.parent.mkdir(exist_ok=True)
        os.replace(partial, path)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise CheckpointError(f"cannot fetch {url!r}: {error}") from error
    finally:
        Path(partial).unlink(missing_ok=True)
    _write_atomically(note, digest)
    return path


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text)
    os.replace(partial, path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
