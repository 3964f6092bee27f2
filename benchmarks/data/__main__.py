"""What a data set of COCO's size costs, in time and memory: its check, a trial's data set, its loader's processes.

A set is drawn at random with as many images and boxes as COCO train2017 and val2017 (600 MB, minutes); each row is
measured in a process of its own, beside plain mmdet's CocoDataset::

    python -m benchmarks.data /tmp/coco_size             # the set stays there and is used again
    python -m benchmarks.data /tmp/small --quick         # a few hundred images
    python -m benchmarks.data /tmp/coco_size --json figures.json

Seconds are wall clock and processor time of a process, without its imports; memory is the peak above what the imports
take. The index of ikd goes to a home of its own, which is deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data.generated import FULL, QUICK, generate
from benchmarks.data.measuring import STEPS

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the set is, or is drawn")
    parser.add_argument("--quick", action="store_true", help="a small set")
    parser.add_argument("--only", nargs="*", choices=list(STEPS), default=list(STEPS), help="rows to measure")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    generate(options.folder, QUICK if options.quick else FULL)
    with tempfile.TemporaryDirectory() as home:
        print(f"{'':24}{'seconds':>9}{'processor':>11}{'memory MB':>11}", flush=True)
        found = {}
        for step in options.only:
            found[step] = measure(step, options.folder, Path(home))
            print(row(step, found[step]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


def measure(step: str, folder: Path, home: Path) -> dict[str, float]:
    """Measure one step in a new process."""
    environment = os.environ | {"IKD_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.data.measuring", step, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(step: str, found: dict[str, float]) -> str:
    line = f"{step:24}{found['seconds']:9.1f}{found['cpu_seconds']:11.1f}{found['memory_mb']:11.0f}"
    if "pss_mb" in found:
        line += f"   each {found['pss_mb']:.0f} MB, {found['own_mb']:.0f} its own; {found['entry_us']:.0f} us an entry"
    return line


if __name__ == "__main__":
    main(sys.argv[1:])
