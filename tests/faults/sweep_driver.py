"""A sweep in a process of its own, to be killed: `python -m tests.faults.sweep_driver SECONDS_PER_EPOCH`."""

from __future__ import annotations

import json
import sys

from ikd.config import load_recipe
from ikd.sweep import run_sweep
from ikd.sweep._folder import sweep_folder
from tests.unit.sweep.conftest import make_runner, make_space


def main() -> int:
    folder = sweep_folder("s").path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fake.json").write_text(json.dumps({"seconds": float(sys.argv[1])}))
    result = run_sweep(
        make_space(), recipe=load_recipe("drawn_r18"), runner=make_runner(), name="s",
        training="tests.unit.sweep.fake_training",
    )  # fmt: skip
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main())
