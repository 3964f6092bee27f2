"""A sweep in a process of its own: `python -m tests.faults.elsewhere_driver NAME RUNNER SPACE`, the last two JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ikd.config import load_recipe
from ikd.errors import IkdError
from ikd.sweep import run_sweep
from tests.unit.sweep.conftest import make_runner, make_space

LIMIT_SECONDS = 240.0
ROOT = Path(__file__).resolve().parents[2]


def start(
    name: str, runner: dict[str, Any], space: dict[str, Any], environment: dict[str, str]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.elsewhere_driver", name, json.dumps(runner), json.dumps(space)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened in a sweep that still runs."""

    def happened() -> bool:
        if condition():
            return True
        assert process.poll() is None, process.communicate()[0]
        return False

    wait_until(happened, "the sweep gets there")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


def main(name: str, runner: str, space: str) -> int:
    recipe = load_recipe("drawn_r18")
    try:
        result = run_sweep(
            make_space(**json.loads(space)), recipe=recipe, runner=make_runner(**json.loads(runner)), name=name,
            training="tests.faults.placed_training",
        )  # fmt: skip
    except IkdError as error:
        print(error)
        return error.exit_status
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
