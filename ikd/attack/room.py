"""Room for perturbations: which stores are in use, and which go when there are too many.

A store that somebody uses has a file `used`, touched by the user every minute. The time of that file is its last use:
it orders the stores, and one that is younger than `HELD_SECONDS` keeps the store from being deleted. So nothing has to
be given back, a killed user holds a store for minutes at most, and it works across machines that share a folder, since
all times are those of the file system.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from ikd.attack.store import SUMMARY
from ikd.files import parsed
from ikd.home import cache, lock_of, store_bound

HELD_SECONDS = 900.0
"""How long after its last touch a store counts as in use."""
TOUCH_SECONDS = 60.0
_USED = "used"


def touch(folder: Path) -> None:
    """Note that a store is being used now; where it cannot be noted, its use is not to fail for that."""
    with contextlib.suppress(OSError):
        (folder / _USED).touch()


class Hold:
    """Keeps stores from being deleted, as long as its `keep` is called at least every few minutes.

    Args:
        folders: of the stores.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(folders)
        self._touched = -math.inf

    def keep(self) -> None:
        """Touch the stores when the last time is a minute ago; cheap enough for every training step."""
        now = time.monotonic()
        if self._folders and now - self._touched >= TOUCH_SECONDS:
            self._touched = now
            for folder in self._folders:
                touch(folder)


def make_room(needed: int) -> list[Path]:
    """Delete the stores that were not used for longest, until `needed` bytes more are within the bound.

    Stores in use stay, also where the bound is exceeded for that.

    Args:
        needed: bytes of the store that is about to be made; stores that are being made are locked, and stay too.

    Returns:
        The folders deleted.

    Raises:
        BadInput: see `ikd.home.store_bound`.
    """
    root, bound, deleted = cache("perturbations"), store_bound(), []
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "room.lock"):
        now = _time_there(root)
        _clear_left_over(root)
        stores = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
        sizes = {folder: size_of(folder) for folder in stores}
        total = sum(sizes.values()) + needed
        for folder in sorted(stores, key=_last_use):
            if total <= bound:
                break
            if _delete(folder, now):
                total -= sizes[folder]
                deleted.append(folder)
    return deleted


def size_of(folder: Path) -> int:
    """Return the bytes of a store: a finished one says it, as asking for each file takes long on a network."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(parsed((folder / SUMMARY).read_text())["bytes"])
    return bytes_in(folder)


def bytes_in(folder: Path) -> int:
    """Return the sum of the sizes of the files in a folder."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as files:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
    return total


def _last_use(folder: Path) -> float:
    """Return when a store was last used; one from before that was noted, when it was finished or begun."""
    for path in (folder / _USED, folder / SUMMARY, folder):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


def _delete(folder: Path, now: float) -> bool:
    """Delete a store unless it is in use or in the making; tell whether it is gone."""
    try:
        with FileLock(lock_of(folder), timeout=0):
            used = folder / _USED
            if used.exists() and now - used.stat().st_mtime < HELD_SECONDS:
                return False
            away = folder.with_name(f".{folder.name}.gone")  # nobody opens a half of it
            os.rename(folder, away)
    except (Timeout, FileNotFoundError):
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _clear_left_over(root: Path) -> None:
    """Finish the deletions of killed processes; the caller holds the lock."""
    for folder in root.glob(".*.gone"):
        shutil.rmtree(folder, ignore_errors=True)


def _time_there(root: Path) -> float:
    """Return the time of the file system, which other machines' files bear too."""
    with tempfile.NamedTemporaryFile(dir=root, prefix=".now") as file:
        return os.stat(file.name).st_mtime
