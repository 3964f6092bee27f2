"""Whole trials on a pretend accelerator, in a process of their own: torch counts devices at its first backward pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).with_name("accelerated_trials.py")


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_trials_mix_no_devices_and_wait_once_a_step(chosen: str) -> None:
    command = [sys.executable, "-m", "pytest", str(TRIALS), "-m", chosen, "-p", "no:xdist"]
    done = subprocess.run(command, cwd=TRIALS.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
