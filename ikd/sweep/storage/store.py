"""Where the files of trials lie: in the sweep's folder, or in an object store that every node reaches.

With a folder nothing is ever copied: trials train in it, and all nodes must share it. With an object store (an address
as pyarrow takes them, `s3://bucket/path?endpoint_override=...`) a trial trains in a folder of its node, and its files
are copied to the store before each report, so that a retry goes on anywhere.

Every file has two places in the store, `last.pth.0` and `last.pth.1`. A new version goes to the one that the current
manifest does not name; then the next manifest, with sizes and hashes, takes the place of the last but one. Whatever an
upload leaves when its worker dies, the manifest before it and all it names are untouched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

from ikd.files import parsed, remove_left_over, sha256, whole
from ikd.sweep.storage.objects import (
    any_below,
    delete,
    download,
    is_address,
    open_address,
    read,
    upload,
    write,
)
from ikd.trial import TrialFolder

FORMAT = 1
THREADS = 4


class _CutShort(Exception):
    """What was downloaded is not what the manifest says."""


NEVER_STORED = TrialFolder.PREVIOUS
"""A trial keeps it beside last.pth in case that is cut short; the store keeps the version before by itself."""


class TrialStore(Protocol):
    """Keeps the files of trials."""

    def training(self, number: int) -> AbstractContextManager[Path]:
        """Hold the folder that a trial trains in, with what it has so far."""

    def push(self, number: int, directory: Path) -> None:
        """Keep what a trial's folder holds now.

        Raises:
            OSError: the store cannot be written.
        """

    def single(self, number: int, name: str, aside: Path) -> Path | None:
        """Return one file of another trial, None when there is none; `aside` may receive it."""

    def fetch(self, number: int, *names: str) -> Path:
        """Return a trial's folder under the sweep's, with these files in it where the trial has them; none is all."""

    def remove(self, number: int, *names: str) -> None:
        """Delete these files of a trial, fetched copies too; none is all its checkpoints."""

    @property
    def used(self) -> bool:
        """Whether any trial has left something."""


def open_store(storage: str | None, folder: Path) -> TrialStore:
    """Return where the trials of a sweep are.

    Args:
        storage: of the runner.
        folder: of the sweep; its name is the sweep's.

    Raises:
        BadInput: the address is none that pyarrow knows.
    """
    if storage is None or not is_address(storage):
        return FolderStore(folder)
    filesystem, path = open_address(storage)
    return ObjectStore(filesystem, f"{path}/sweeps/{folder.name}", folder)


def _directory(folder: Path, number: int) -> Path:
    return folder / "trials" / str(number)


def _remove(directory: Path, names: Sequence[str]) -> None:
    for file in [directory / name for name in names] or list(directory.glob("*.pth")):
        file.unlink(missing_ok=True)


@final
class FolderStore:
    """Trials in the sweep's folder, which all nodes share.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def training(self, number: int) -> Iterator[Path]:
        """Hold the trial's own folder."""
        yield _directory(self._folder, number)

    def push(self, number: int, directory: Path) -> None:
        """Copy nothing: the trial has written it in its place."""

    def single(self, number: int, name: str, aside: Path) -> Path | None:
        """Return one file of another trial, None when there is none."""
        file = _directory(self._folder, number) / name
        return file if file.is_file() else None

    def fetch(self, number: int, *names: str) -> Path:
        """Return the trial's own folder."""
        return _directory(self._folder, number)

    def remove(self, number: int, *names: str) -> None:
        """Delete these files of a trial; none is all its checkpoints."""
        _remove(_directory(self._folder, number), names)

    @property
    def used(self) -> bool:
        """Whether any trial has left something."""
        return any((self._folder / "trials").glob("*/*"))


@dataclass(frozen=True)
class Stored:
    """One file in the store.

    Attributes:
        place: 0 or 1, which of its two objects.
        size: bytes.
        sha256: of the content.
    """

    place: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the store holds of a trial.

    Attributes:
        serial: counts the uploads of the trial; its manifest lies in place `serial % 2`.
        files: by name.
    """

    serial: int = 0
    files: Mapping[str, Stored] = field(default_factory=dict)

    def dumps(self) -> str:
        """Return the text that `loads` reads."""
        files = {name: vars(one) for name, one in sorted(self.files.items())}
        return json.dumps({"format": FORMAT, "serial": self.serial, "files": files})

    @staticmethod
    def loads(text: bytes) -> Manifest | None:
        """Read a manifest; None when it is cut short or none of ours."""
        try:
            content = parsed(text)
            files = {str(name): Stored(**one) for name, one in content["files"].items()}
            return Manifest(int(content["serial"]), files) if content["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@final
class ObjectStore:
    """Trials in an object store; the sweep's folder receives only what the driver fetches.

    Args:
        filesystem: pyarrow's.
        base: path of the sweep in it.
        folder: of the sweep, on the driver's machine.
    """

    def __init__(self, filesystem: Any, base: str, folder: Path) -> None:
        self._files, self._base, self._folder = filesystem, base, folder
        self._hashes: dict[tuple[Path, int, int], str] = {}
        self._current: dict[int, Manifest] = {}

    @contextlib.contextmanager
    def training(self, number: int) -> Iterator[Path]:
        """Hold a folder of this machine, filled from the store; removed afterwards."""
        remove_left_over(Path(tempfile.gettempdir()), "ikd-trials")
        with tempfile.TemporaryDirectory(prefix=f"ikd-trials-{os.getpid()}-") as aside:
            directory = Path(aside) / "trials" / str(number)
            self.pull(number, directory)
            yield directory

    def push(self, number: int, directory: Path) -> None:
        """Upload what has changed, then the manifest that names it.

        Raises:
            OSError: the store cannot be written.
        """
        if number not in self._current:
            self._current[number] = next(iter(self._manifests(number)), Manifest())
        current = self._current[number]
        found = [one for one in sorted(directory.iterdir()) if one.is_file() and not one.name.startswith(".")]
        files = [file for file in found if file.name != NEVER_STORED]
        with ThreadPoolExecutor(THREADS) as pool:
            stored = pool.map(lambda file: self._store(number, file, current.files.get(file.name)), files)
            manifest = Manifest(current.serial + 1, {file.name: one for file, one in zip(files, stored, strict=True)})
        if manifest.files != current.files:
            self._write_manifest(number, manifest)

    def pull(self, number: int, directory: Path) -> None:
        """Fill a folder with the latest upload that is whole; with nothing where there is none."""
        for manifest in [*self._manifests(number), Manifest()]:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            if self._download_all(number, manifest, directory):
                self._current[number] = manifest
                return

    def _download_all(self, number: int, manifest: Manifest, directory: Path) -> bool:
        def one(name: str) -> bool:
            return self._download(number, name, manifest.files[name], directory / name)

        with ThreadPoolExecutor(THREADS) as pool:
            return all(pool.map(one, manifest.files))

    def single(self, number: int, name: str, aside: Path) -> Path | None:
        """Download one file of another trial into `aside`."""
        file = aside / f"{number}-{name}"
        manifests = [one for one in self._manifests(number) if name in one.files]
        return file if any(self._download(number, name, one.files[name], file) for one in manifests) else None

    def fetch(self, number: int, *names: str) -> Path:
        """Download files into the trial's folder under the sweep's, those only that are not there already."""
        directory = _directory(self._folder, number)
        directory.mkdir(parents=True, exist_ok=True)
        manifest = next(iter(self._manifests(number)), Manifest())
        for name in names or manifest.files:
            file, stored = directory / name, manifest.files.get(name)
            if stored is None or (file.is_file() and self._sha256(file) == stored.sha256):
                continue
            with contextlib.suppress(_CutShort), whole(file, needed=lambda size=stored.size: size) as partial:  # type: ignore[misc]
                if not self._download(number, name, stored, partial):
                    raise _CutShort
        return directory

    def remove(self, number: int, *names: str) -> None:
        """Delete files of a trial, the manifest's mention first; fetched copies too."""
        _remove(_directory(self._folder, number), names)
        manifests = self._manifests(number)
        known = {name for one in manifests for name in one.files}
        gone = set(names) & known if names else {name for name in known if name.endswith(".pth")}
        if gone:
            kept = {name: one for name, one in manifests[0].files.items() if name not in gone}
            self._write_manifest(number, Manifest(manifests[0].serial + 1, kept))
        for name in gone:
            for place in {one.files[name].place for one in manifests if name in one.files}:
                delete(self._files, self._key(number, name, place))

    @property
    def used(self) -> bool:
        """Whether any trial has left something."""
        return any_below(self._files, f"{self._base}/trials")

    def _key(self, number: int, name: str, place: int) -> str:
        return f"{self._base}/trials/{number}/{name}.{place}"

    def _manifests(self, number: int) -> list[Manifest]:
        """Return the manifests that can be read, the latest first."""
        found = []
        for place in (0, 1):
            with contextlib.suppress(FileNotFoundError):
                text = read(self._files, self._key(number, "manifest.json", place))
                found += [one for one in [Manifest.loads(text)] if one is not None]
        return sorted(found, key=lambda one: one.serial, reverse=True)

    def _write_manifest(self, number: int, manifest: Manifest) -> None:
        write(self._files, self._key(number, "manifest.json", manifest.serial % 2), manifest.dumps().encode())
        self._current[number] = manifest

    def _store(self, number: int, file: Path, before: Stored | None) -> Stored:
        """Upload a file unless the version before is the same."""
        digest = self._sha256(file)
        if before is not None and before.sha256 == digest:
            return before
        place = 1 - before.place if before is not None else 0
        upload(self._files, file, self._key(number, file.name, place))
        return Stored(place, file.stat().st_size, digest)

    def _download(self, number: int, name: str, stored: Stored, file: Path) -> bool:
        """Write a file of the store to `file`; return whether it is whole."""
        with contextlib.suppress(FileNotFoundError):
            download(self._files, self._key(number, name, stored.place), file)
            return file.stat().st_size == stored.size and self._sha256(file) == stored.sha256
        return False

    def _sha256(self, file: Path) -> str:
        status = file.stat()
        version = (file, status.st_size, status.st_mtime_ns)
        if version not in self._hashes:
            self._hashes = {old: one for old, one in self._hashes.items() if old[0] != file}
            self._hashes[version] = sha256(file)
        return self._hashes[version]
