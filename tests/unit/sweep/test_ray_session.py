"""The private Ray of a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from ikd.config import Runner
from ikd.sweep._environment import prepare_environment
prepare_environment("local")
from ikd.sweep._execution import ray_session
import ray
with ray_session(Runner()):
    # Tune gives every trial a runtime environment, which sends the start of its worker through a shell
    task = ray.remote(lambda: __import__("sys").executable).options(runtime_env={"env_vars": {"A": "1"}})
    print(ray.get(task.remote(), timeout=60))
"""


def test_workers_start_from_an_interpreter_with_a_space_in_its_path(tmp_path: Path) -> None:
    environment = tmp_path / "with space"
    environment.symlink_to(sys.prefix)
    python = environment / "bin" / "python"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [python, "-W", "ignore", "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(python)
