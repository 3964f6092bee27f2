"""A diagnosis in a process of its own.

What is looked at may hold a whole Python for seconds (importing torch from a cold disk does), or end it: neither may
keep the command from saying what it does, and what it found.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict

from ikd.doctor import Check, diagnose
from ikd.world import python_code

CODE = "from ikd.doctor_apart import tell_diagnosis\ntell_diagnosis()"
COMMAND: Sequence[str] | None = None
"""What a test runs in place of it."""


def diagnose_apart(looking: Callable[[str], None]) -> list[Check]:
    """Look at everything ikd depends on; see `diagnose`.

    Args:
        looking: is told what is looked at now.

    Returns:
        What was found. A process that ends in the middle becomes a failed check, after those that were made.
    """
    checks: list[Check] = []
    look = "this Python"
    pipe = subprocess.PIPE
    command = COMMAND or python_code(CODE)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = _read(line)
            if isinstance(found, str):
                look = found
                looking(look)
            elif found is not None:
                checks.append(found)
        said = process.stderr.read() if process.stderr is not None else ""
    if process.returncode:
        detail = (said.strip().splitlines() or [_ending(process.returncode)])[-1]
        checks.append(Check(look, "fail", f"looking ended the process: {detail}", "set up again: make clean .venv"))
    return checks


def tell_diagnosis() -> None:
    """Print what is looked at and each check, as lines of JSON."""

    def say(content: object) -> None:
        print(json.dumps(content), flush=True)

    for check in diagnose(say):
        say(asdict(check))


def _read(line: str) -> str | Check | None:
    """Return what a line says; None for what a library printed between."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if isinstance(content, dict) and content.keys() == asdict(Check("", "ok", "")).keys():
        return Check(**content)
    return content if isinstance(content, str) else None


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
