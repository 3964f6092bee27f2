"""How long does a command say nothing? The longest gap between two outputs, on a terminal and in a pipe.

    python -m benchmarks.silence [-- COMMAND ...]

Without a command a few short ones are tried. The first gap counts from the start of the process. A line that is written
over, or a dot, counts as output: it shows that something goes on. Run nothing beside it.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence

TRIED = (
    ("--help",),
    ("doctor",),
    ("sweep", "search_spaces/quickstart.yaml", "--dry-run"),
    ("attack", "drawn_r18"),
)
CHUNK = 65536


def longest_gap(command: Sequence[str], *, terminal: bool) -> tuple[float, str]:
    """Run a command; return the longest time without output, and the last line that was there before it.

    Args:
        command: program and arguments.
        terminal: give it a terminal, else a pipe.
    """
    read, write = pty.openpty() if terminal else os.pipe()
    last, longest, said, before = time.monotonic(), 0.0, "", ""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write, stderr=write) as process:
        os.close(write)
        while chunk := _read(read):
            now = time.monotonic()
            if now - last > longest:
                longest, before = now - last, said
            lines = chunk.decode(errors="replace").replace("\r", "\n").split("\n")
            last, said = now, next((line for line in reversed(lines) if line.strip()), said)
        process.wait()
    os.close(read)
    gap = time.monotonic() - last
    return (gap, said) if gap > longest else (longest, before)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError:  # a terminal whose other side is gone
        return b""


def main() -> None:
    """Measure one command, or those that are tried."""
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    for arguments in [tuple(given)] if given else TRIED:
        for terminal in (True, False):
            gap, before = longest_gap([sys.executable, "-m", "ikd.cli", *arguments], terminal=terminal)
            where = "terminal" if terminal else "pipe"
            print(f"ikd {' '.join(arguments):50} {where:8} {gap:5.1f} s of silence, after {before.strip()[:60]!r}")


if __name__ == "__main__":
    main()
