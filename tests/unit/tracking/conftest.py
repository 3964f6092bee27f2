"""A ready database a test, and a server in a thread."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.tracking.mlflow_client import make_client
from ikd.tracking.writer import THREAD


@pytest.fixture(autouse=True)
def _no_writer_outlives_its_test() -> Iterator[None]:
    """Wait for the threads of the test's trackers: what one still says would be read as the next test's."""
    yield
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(60)
            assert not thread.is_alive(), "a tracker was not closed"


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    shutil.copy(template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


@pytest.fixture
def client(uri: str) -> Any:
    return make_client(uri)


class Server:
    """MLflow's own WSGI application on a loopback port; counts requests, can be stopped and started again."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self.requests: list[str] = []
        self._application = application
        self._server: Any = None
        self.port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", self.port, self._count, threaded=False)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _count(self, environment: dict[str, Any], start_response: Any) -> Any:
        self.requests.append(environment["PATH_INFO"])
        return self._application(environment, start_response)


@pytest.fixture
def server(home: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", (home / "mlartifacts").as_uri())
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, uri)  # MLflow sets them, and below its globals, for good
    for place in ("_tracking_service.utils._tracking_uri", "_model_registry.utils._registry_uri"):
        monkeypatch.setattr(f"mlflow.tracking.{place}", uri)
    from mlflow.server import app, handlers

    for name in ("_tracking_store", "_model_registry_store"):
        monkeypatch.setattr(handlers, name, None)
    handlers.initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    running = Server(app)
    yield running
    running.stop()
