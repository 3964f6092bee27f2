"""From the runner file's `tracking.uri` to a tracker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ikd.errors import BadInput
from ikd.tracking.mlflow_client import ARTIFACTS, local_uri
from ikd.tracking.mlflow_sink import MlflowSink
from ikd.tracking.protocol import NullTracker, Tracker
from ikd.tracking.tracker import SpooledTracker
from ikd.tracking.writer import Sink

Make = Callable[[str, Path, str], Sink | None]
"""From `tracking.uri`, ikd's home directory and the name of the experiment to the sink, which nothing has reached yet;
None keeps no results."""


def _server(uri: str, home: Path, experiment: str) -> Sink:
    return MlflowSink(uri, experiment)


def _database(uri: str, home: Path, experiment: str) -> Sink:
    return MlflowSink(uri, experiment, home / ARTIFACTS)


TRACKERS: dict[str, Make] = {
    "none": lambda uri, home, experiment: None,
    "local": lambda uri, home, experiment: _database(local_uri(home), home, experiment),
    "http://": _server,
    "https://": _server,
    "sqlite:///": _database,
    "postgresql://": _database,
    "postgresql+psycopg2://": _database,
    "mysql+pymysql://": _database,
}
"""What makes the sink, by `tracking.uri`: all of it, or how it begins where a name here ends in a slash."""


def open_tracker(
    uri: str, *, home: Path, folder: Path | None = None, experiment: str = "ikd", spool: bool = True
) -> Tracker:
    """Make the tracker that a runner file asks for; nothing is written or contacted yet.

    Args:
        uri: `local` (a database in the home directory), `none`, the address of an MLflow server, or a database URI.
        home: ikd's home directory.
        folder: the sweep's folder; see `SpooledTracker`.
        experiment: name of the MLflow experiment.
        spool: keep what cannot be delivered in that folder; one tracker at a time may.

    Raises:
        BadInput: any other `uri`.
    """
    sink = make_sink(uri, home, experiment)
    return NullTracker() if sink is None else SpooledTracker(sink, folder=folder, spool=spool)


def make_sink(uri: str, home: Path, experiment: str) -> Sink | None:
    """Make the sink that `tracking.uri` stands for, None where nothing is kept.

    Raises:
        BadInput: it stands for none.
    """
    for name, make in TRACKERS.items():
        if (uri.startswith(name) and uri != name) if name.endswith("/") else uri == name:
            return make(uri, home, experiment)
    refuse_uri(uri)


def refuse_uri(uri: str) -> NoReturn:
    """Refuse a `tracking.uri`.

    Raises:
        BadInput: always.
    """
    raise BadInput(
        "tracking.uri: must be local, none, http(s)://HOST:PORT, or a database such as sqlite:///PATH or "
        f"postgresql://..., but got {uri!r}; MLflow's old file store is not supported"
    )
