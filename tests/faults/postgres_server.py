"""A PostgreSQL server of a test's own, on loopback and without a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


def binaries() -> Path | None:
    """Return the folder with initdb and postgres, None when there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    usual = shutil.which("initdb")
    folders += [Path(usual).parent] if usual else []
    return next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server; yield the URL of its empty database."""
    folder = binaries()
    assert folder is not None
    with tempfile.TemporaryDirectory(prefix="ikd-postgres-", dir="/tmp") as data:
        other: dict[str, Any] = {}
        if os.getuid() == 0:  # the server refuses to be root
            other["user"] = other["group"] = pwd.getpwnam("nobody").pw_uid
            os.chown(data, other["user"], -1)
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **other}
        subprocess.run([folder / "initdb", "-D", data, "-A", "trust", "-U", "ikd", "--no-sync"], check=True, **quiet)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-p", str(port), "-k", data, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with subprocess.Popen([folder / "postgres", "-D", data, *options], **quiet) as server:
            try:
                wait_for_port(port)
                yield f"postgresql://ikd@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.1)
