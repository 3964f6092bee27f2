"""A disk that fills up: one clear message, nothing corrupt, and the same command finishes when there is space again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.attack import PerturbationStore
from ikd.errors import DiskFull
from ikd.tracking.tracker import SPOOL
from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, Sweep

pytestmark = pytest.mark.fault
SMALL_BYTES = 3 * 2**20


class SmallDisk:
    """A file system of few MiB in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mount()

    def _mount(self) -> None:
        self.path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "ikd-small", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)

    def move_into(self, folder: Path) -> None:
        """Lie in another folder from now on: the links of a sweep may not lead out of its home."""
        self.unmount()
        self.path = folder / "small"
        self._mount()

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            for size in (2**16, 2**12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give the space back."""
        (self.path / "filler").unlink()

    def unmount(self) -> None:
        """Undo the mount, also while a dying worker still has a file open."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small file system")
    try:
        disk = SmallDisk(tmp_path / "small")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small file system can be mounted here: {error.stderr!r}")
    yield disk
    disk.unmount()


def lay(sweep: Sweep, disk: SmallDisk, part: str) -> None:
    """Put one part of a sweep's folder on the small disk, the rest stays where it is."""
    disk.move_into(sweep.home)
    home = disk.path / "sweep"
    if part == "study.db":  # with the files that SQLite puts beside it
        shutil.move(sweep.folder.path, home)
        sweep.folder.path.symlink_to(home)
        (outside := sweep.home / "outside").mkdir()
        for name in ("trials", "fake.jsonl"):
            (outside / name).mkdir() if name == "trials" else shutil.move(home / name, outside / name)
            (home / name).symlink_to(outside / name)
    else:
        home.mkdir()
        (sweep.folder.path / part).symlink_to(home)


PARTS = {"study.db": "the study cannot be written", "trials": "disk full while writing"}


@pytest.mark.parametrize("part", PARTS)
def test_the_sweep_stops_and_goes_on(
    part: str, make_sweep: MakeSweep, small_disk: SmallDisk, note_fault: NoteFault
) -> None:
    sweep = make_sweep(tracked=False, knobs={"seconds": 0.3, "bytes": 5000}, runner={"concurrency": 2})
    lay(sweep, small_disk, part)
    with sweep.start() as process:
        sweep.wait_for(sweep.after("epoch", 5), process)
        small_disk.fill()
        process.wait(LIMIT_SECONDS)
    text = sweep.output.read_text()
    assert process.returncode == 1, text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    assert PARTS[part] in errors[0]
    assert "same command" in errors[0]
    assert "Traceback" not in text
    assert {record.state for record in sweep.records()} <= {"waiting", "running", "finished", "stopped"}, "none failed"
    small_disk.free()
    sweep.turn()
    sweep.run()
    note_fault(f"disk full under {part}", sweep.check())


def test_the_spool_of_tracking(make_sweep: MakeSweep, small_disk: SmallDisk, note_fault: NoteFault) -> None:
    """MLflow is away and its spool's disk is full: the sweep ends well, and a start with MLflow delivers all."""
    sweep = make_sweep(runner={"concurrency": 2, "tracking": {"uri": "http://127.0.0.1:9"}})
    small_disk.move_into(sweep.home)
    (sweep.folder.path / SPOOL).symlink_to(small_disk.path / SPOOL)
    small_disk.fill()
    text = sweep.run()
    assert "tracking: cannot write" in text
    assert "Traceback" not in text
    small_disk.free()
    sweep.settings["runner"] = {"concurrency": 2, "tracking": {"uri": "local"}}
    sweep.run()
    note_fault("disk full under the spool of tracking", sweep.check())


def write(store: PerturbationStore, images: Iterable[str], delta: Any) -> None:
    for image in images:
        store.write(image, delta)


def names(count: int) -> list[str]:
    """Stand for digests."""
    return [f"{number:064x}" for number in range(count)]


def test_perturbations_go_on_after_those_that_fitted(small_disk: SmallDisk) -> None:
    """What fitted is whole and read, the message says what to do, and the same call finishes when there is space."""
    delta = np.random.default_rng(0).integers(-8, 9, (200, 320, 3), dtype=np.int8)  # 90 kB each, 3 MiB in all
    store = PerturbationStore(small_disk.path, {"teacher": "one"})
    (small_disk.path / "filler").write_bytes(b"x" * 2**21)
    with pytest.raises(DiskFull, match="disk full while writing"):
        write(store, names(100), delta)
    written = len(store)
    assert 0 < written < 100
    assert len(store.missing(names(100))) == 100 - written
    assert all(np.array_equal(store.read(image), delta) for image in names(written))
    assert not list(store.folder.glob(".*"))
    small_disk.free()
    write(store, store.missing(names(written + 5)), delta)
    assert store.missing(names(written + 5)) == []
