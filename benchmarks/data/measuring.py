"""One thing measured in a process of its own: `python -m benchmarks.data.measuring STEP FOLDER` prints JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ikd.data import check_dataset, indexed
from ikd.evaluation import read_ahead  # puts the kernels in their place before mmdet is imported

WORKERS = 2
LOOKED_AT = 20000
"""Entries that the loader's processes read."""


def memory(field: str, file: str = "status") -> float:
    """Return a line of what Linux says of this process, MB."""
    lines = Path("/proc/self", file).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1e3


def plain(folder: Path) -> Any:
    """Build mmdet's own data set."""
    from mmdet.datasets import CocoDataset

    with contextlib.redirect_stdout(io.StringIO()):
        return CocoDataset(**_given(folder))


def served(folder: Path) -> Any:
    """Build ikd's, from the index in the cache; made there where it is not yet."""
    from ikd.data.reader.dataset import IndexedCocoDataset

    return IndexedCocoDataset(**_given(folder))


def _given(folder: Path) -> dict[str, Any]:
    return {
        "ann_file": str(folder / "train.json"),
        "data_prefix": {"img": str(folder / "images")},
        "metainfo": {"classes": indexed(folder / "val.json").classes},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 1},
        "pipeline": [],
    }


class _Probe(Dataset[tuple[float, float]]):
    """Reads an entry and says what memory this process has, all and its own alone, MB."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> tuple[float, float]:
        self._dataset.get_data_info(index)
        if index % 100:
            return 0.0, 0.0
        return memory("Pss", "smaps_rollup"), sum(
            memory(f"Private_{kind}", "smaps_rollup") for kind in ("Dirty", "Clean")
        )


def workers(build: Callable[[Path], Any]) -> Callable[[Path], dict[str, float]]:
    """Return a step that measures what the loader's processes take beside this one."""

    def step(folder: Path) -> dict[str, float]:
        dataset = build(folder)
        wanted = range(min(len(dataset), LOOKED_AT))
        began = time.perf_counter()
        found = list(read_ahead(_Probe(dataset), wanted, workers=WORKERS))
        seconds = time.perf_counter() - began
        pss, own = (max(column) for column in zip(*found, strict=True))
        return {"pss_mb": pss, "own_mb": own, "entry_us": 1e6 * seconds / len(wanted)}

    return step


def check(folder: Path) -> dict[str, float]:
    """Check both parts, every image decoded."""
    report = check_dataset(folder)
    return {"errors": len(report.errors)}


def _built(build: Callable[[Path], Any]) -> Callable[[Path], dict[str, float]]:
    return lambda folder: {"images": len(build(folder))}


STEPS: dict[str, Callable[[Path], dict[str, float]]] = {
    "plain mmdet": _built(plain),
    "ikd, first trial": _built(served),
    "ikd, second trial": _built(served),
    "check": check,
    "workers of plain mmdet": workers(plain),
    "workers of ikd": workers(served),
}


def main() -> None:
    step, folder = STEPS[sys.argv[1]], Path(sys.argv[2])
    import mmdet.datasets  # noqa: F401, not counted: every trial imports it

    before, began, spent = memory("VmHWM"), time.perf_counter(), time.process_time()
    found = step(folder)
    times = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent}
    print(
        json.dumps({**times, "memory_mb": memory("VmHWM") - before, "imports_mb": before, "pid": os.getpid(), **found})
    )


if __name__ == "__main__":
    main()
