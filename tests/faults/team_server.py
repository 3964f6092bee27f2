"""An MLflow server as mlflow/compose.yaml describes it: the same command, settings and environment, without Docker."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240.0
ADMIN_PASSWORD = "a password of the test"
FILLED = {
    "POSTGRES_PASSWORD": "secret",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost:*,127.0.0.1:*",
}


def service() -> dict[str, Any]:
    """Return the server's part of the compose file."""
    content = yaml.safe_load((ROOT / "mlflow" / "compose.yaml").read_text(encoding="utf-8"))
    part: dict[str, Any] = content["services"]["mlflow"]
    return part


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that nobody else signed; return it and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout {key} -out {cert}"
    extension = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*shlex.split(request), *extension], check=True, capture_output=True)
    return cert, key


def environment(folder: Path, database: str, tls: tuple[Path, Path]) -> dict[str, str]:
    """Return the environment of the compose file, filled in, with the database and paths of this machine."""
    filled = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: FILLED.get(found[1], ""), str(value))
        for name, value in service()["environment"].items()
    }
    settings = (ROOT / "mlflow" / "basic_auth.ini").read_text(encoding="utf-8")
    place = "sqlite:////home/mlflow/users/basic_auth.db"
    assert place in settings
    (folder / "basic_auth.ini").write_text(settings.replace(place, f"sqlite:///{folder / 'users.db'}"))
    example = (ROOT / "mlflow" / "server.env").read_text(encoding="utf-8")
    (options,) = re.findall(r"^#   (--ssl-certfile=.*)$", example, flags=re.M)
    for name, path in zip(("/settings/tls/cert.pem", "/settings/tls/key.pem"), tls, strict=True):
        assert name in options
        options = options.replace(name, str(path))
    changed = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_UVICORN_OPTS": options,
    }
    assert changed.keys() <= filled.keys()
    return {**os.environ, **filled, **changed, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


def check_health(port: int, env: dict[str, str]) -> int:
    """Run the health check of the compose file against a port; return its exit status."""
    code = str(service()["healthcheck"]["test"][-1])
    assert ":5000/" in code
    command = [sys.executable, "-c", code.replace(":5000/", f":{port}/")]
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode


@contextlib.contextmanager
def team_server(folder: Path, database: str, tls: tuple[Path, Path]) -> Iterator[str]:
    """Run the server with one worker; yield its address, once it answers."""
    env = environment(folder, database, tls)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    changed = {"--host": "127.0.0.1", "--port": port, "--workers": 1, "--artifacts-destination": folder / "artifacts"}
    command = [sys.executable, "-m"]
    for part in service()["command"]:
        option, sign, value = part.partition("=")
        command.append(f"{option}={changed.get(option, value)}" if sign else part)
    log = (folder / "server.log").open("ab")
    with log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as server:
        try:
            _wait(server, f"https://127.0.0.1:{port}/health", folder / "server.log")
            assert check_health(port, env) == 0
            assert check_health(port, {**env, "MLFLOW_UVICORN_OPTS": ""}) != 0, "plain HTTP is no answer here"
            yield f"https://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    unchecked = ssl._create_unverified_context()
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(address, timeout=5, context=unchecked).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
