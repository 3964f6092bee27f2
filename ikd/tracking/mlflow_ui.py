"""The MLflow UI over the local database."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ikd.errors import BadInput, JobError
from ikd.files import remove_left_over
from ikd.progress import Loudness, loudness, working
from ikd.tracking.mlflow_client import ARTIFACTS, hide_password, load_mlflow, local_uri, make_client
from ikd.tracking.mlflow_pages import SweepPages, newest_page
from ikd.world import import_path

EMPTY = "ikd-ui"
_START_SECONDS = 120.0
_LINES = 15
"""Of what a server said that ended in error."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy, whatever the environment says
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else 15 processes and 2 GB instead of 2 and 0.4 GB
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",  # its deprecations are not for the person who looks at results
}


def serve_ui(
    home: Path,
    *,
    port: int = 5000,
    host: str = "127.0.0.1",
    pages: Callable[[], SweepPages] | None = None,
    store: str | None = None,
    browser: bool = False,
    announce: Callable[[str], None] = print,
) -> int:
    """Serve the MLflow UI over the home directory's database until interrupted; returns the exit status.

    Args:
        home: ikd's home directory; the database is made if there is none.
        port: TCP port, 1 to 65535.
        host: address to listen on. Anything but this machine's own lets others read and write without a password.
        pages: finds the pages of the sweep to show; None shows the newest.
        store: URI of another database than the home's.
        browser: open the page in the person's browser, too.
        announce: takes the lines for the person: the address, once it answers.

    Raises:
        BadInput: the port or the host cannot be used.
        JobError: the server ends, or does not answer within two minutes; with the last that it said.
    """
    check_port(host, port)
    load_mlflow()
    store = store or local_uri(home)
    announce(f"starting the MLflow UI over {hide_password(store.removeprefix('sqlite:///'))} ...")
    shown = pages() if pages is not None else None
    address = f"http://{host}:{port}"
    page = f"{address}/{newest_page(make_client(store, home / ARTIFACTS)) if shown is None else shown.runs}"
    command = ui_command(home, port=port, host=host, store=store)
    with _server(command, store) as (server, said), _terminated_with(server):
        try:
            with working("waiting for its answer"):
                _wait_until_ready(server, f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}", said)
            announce(f"MLflow UI: {page}  (Ctrl-C stops it)")
            for line in [] if shown is None else shown.lines(address)[1:]:
                announce(line)
            if browser:
                webbrowser.open(page)
            status = _status(server.wait())
        except KeyboardInterrupt:
            status = _status(server.wait())  # it got the same signal
        if status != 0:
            raise JobError(f"the MLflow server ended with status {server.returncode}{said()}")
        return status


@contextlib.contextmanager
def _server(command: list[str], store: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Start MLflow in an empty folder: the Pythons that it starts take modules of their folder for real ones.

    Yields:
        The process, and what returns the end of what it has said: a log that nobody reads unless it ends in error, or
        the terminal with `-v`.
    """
    path = {"PYTHONPATH": os.pathsep.join(import_path())}
    path |= {"MLFLOW_BACKEND_STORE_URI": store}  # which may hold a password; a command line is for everybody to read
    remove_left_over(Path(tempfile.gettempdir()), EMPTY)
    with (
        tempfile.TemporaryDirectory(prefix=f"{EMPTY}-{os.getpid()}-") as empty,
        (Path(empty) / "server.log").open("w+b") as log,
        subprocess.Popen(
            command,
            cwd=empty,
            env={**os.environ, **_SETTINGS, **path},
            stdout=None if loudness() is Loudness.VERBOSE else log,
            stderr=None if loudness() is Loudness.VERBOSE else log,
        ) as server,
    ):
        yield server, lambda: _end_of(Path(log.name))


def _end_of(log: Path) -> str:
    lines = hide_password(log.read_text(errors="replace")).splitlines()[-_LINES:]
    return "; its message is above" if not lines else ":\n" + "\n".join(lines)


def ui_command(home: Path, *, port: int, host: str, store: str | None = None) -> list[str]:
    """Return the command line of the server: one worker, artifacts in the home directory.

    Another store than the home's is for `MLFLOW_BACKEND_STORE_URI` to say.
    """
    options = {"--backend-store-uri": local_uri(home)} if store in (None, local_uri(home)) else {}
    options |= {
        "--artifacts-destination": (home.resolve() / ARTIFACTS).as_uri(),
        "--host": host,
        "--port": str(port),
        "--workers": "1",
        "--uvicorn-opts": "--log-level warning",
    }
    return [sys.executable, "-m", "mlflow", "server", *itertools.chain.from_iterable(options.items())]


def check_port(host: str, port: int) -> None:
    """Refuse a port or host that cannot be listened on, naming a port that can.

    Raises:
        BadInput: it cannot.
    """
    if not 1 <= port <= 65535:
        raise BadInput(f"port: must be 1 to 65535, but got {port}")
    reason = _why_not(host, port)
    if reason is None:
        return
    free = next((other for other in range(port + 1, min(port + 100, 65536)) if _why_not(host, other) is None), None)
    if free is None:
        raise BadInput(f"host: must be an address of this machine such as 127.0.0.1, but got {host!r} ({reason})")
    raise BadInput(f"port {port} on {host} cannot be used ({reason}); port {free} is free: --port {free}")


def _why_not(host: str, port: int) -> str | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


@contextlib.contextmanager
def _terminated_with(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let SIGTERM to this process, and leaving by an error, end the server too."""

    def forward(number: int, frame: FrameType | None) -> None:
        server.terminate()

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if server.poll() is None:
            server.terminate()


def _wait_until_ready(server: subprocess.Popen[bytes], address: str, said: Callable[[], str]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise JobError(f"the MLflow server ended with status {server.returncode}{said()}")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            _DIRECT.open(f"{address}/health", timeout=2),
        ):
            return
        time.sleep(0.2)
    raise JobError(f"the MLflow server at {address} does not answer after {_START_SECONDS:.0f} s{said()}")


def _status(code: int) -> int:
    """Return the exit status; a stop by a signal is what a person asked for."""
    return 0 if code in (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM) else 1
