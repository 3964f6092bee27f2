"""From the runner file's `tracking.uri` to a tracker."""

from __future__ import annotations

from pathlib import Path

from ikd.errors import BadInput
from ikd.tracking.mlflow_client import ARTIFACTS, local_uri
from ikd.tracking.protocol import NullTracker, Tracker
from ikd.tracking.tracker import MlflowTracker

_SERVERS = ("http://", "https://")
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg2://", "mysql+pymysql://")


def open_tracker(uri: str, *, home: Path, folder: Path | None = None, experiment: str = "ikd") -> Tracker:
    """Make the tracker that a runner file asks for; nothing is written or contacted yet.

    Args:
        uri: `local` (a database in the home directory), `none`, the address of an MLflow server, or a database URI.
        home: ikd's home directory.
        folder: the sweep's folder; see `MlflowTracker`.
        experiment: name of the MLflow experiment.

    Raises:
        BadInput: any other `uri`.
    """
    if uri == "none":
        return NullTracker()
    resolved = resolve_uri(uri, home)
    artifact_root = None if resolved.startswith(_SERVERS) else home / ARTIFACTS
    return MlflowTracker(resolved, experiment=experiment, artifact_root=artifact_root, folder=folder)


def resolve_uri(uri: str, home: Path) -> str:
    """Return the MLflow tracking URI that a runner file's `tracking.uri` stands for.

    Raises:
        BadInput: it stands for none.
    """
    if uri == "local":
        return local_uri(home)
    if any(uri.startswith(start) and len(uri) > len(start) for start in (*_SERVERS, *_DATABASES)):
        return uri
    raise BadInput(
        "tracking.uri: must be local, none, http(s)://HOST:PORT, or a database such as sqlite:///PATH or "
        f"postgresql://..., but got {uri!r}; MLflow's old file store is not supported"
    )
