"""The one way to an MLflow client."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shlex
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from ikd.errors import JobError
from ikd.masking import masked
from ikd.progress import Loudness, loudness
from ikd.tracking.mlflow_moved import follow
from ikd.world import reach_this_machine_directly

ARTIFACTS = "mlartifacts"
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on pages for chat traces
_SQLITE = "sqlite:///"
# MLflow's defaults keep one call 247 s on a dead server; the tracker's own queue repeats what fails.
_HTTP_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_held: Counter[str] = Counter()  # by how many blocks a setting of ours is needed
_holding = threading.Lock()


def local_uri(home: Path) -> str:
    """Return the tracking URI of the database in the home directory."""
    return f"{_SQLITE}{home.resolve() / 'mlflow.db'}"


def load_mlflow() -> Any:
    """Import mlflow, quietly.

    Raises:
        JobError: it is not installed. A folder named mlflow in the working directory makes `import mlflow` succeed all
            the same, so an attribute decides.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import
    if loudness() is not Loudness.VERBOSE:  # its bars write into the lines of our own
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        module = importlib.import_module("mlflow")
    except ImportError as error:
        raise JobError(f"mlflow cannot be imported ({error}); pip install mlflow, or set tracking uri: none") from error
    if not hasattr(module, "MlflowClient"):
        raise JobError("mlflow is not installed; pip install mlflow, or set tracking uri: none")
    for name in ("mlflow", "alembic"):  # the first use of a database is told line by line otherwise
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
    return module


def make_client(uri: str, artifacts: Path | None = None) -> Any:
    """Make a client for `uri`; a new SQLite database gets its tables here, which takes seconds.

    Two processes that meet a new database at once would both make the tables, and one would fail: hence the lock.

    Args:
        uri: tracking URI.
        artifacts: folder of artifacts in the home. Where `uri` is the home's own database, what it says of its
            artifacts is set right here when the home has been moved.
    """
    client_class = load_mlflow().MlflowClient
    reach_this_machine_directly(uri)
    if not uri.startswith(_SQLITE):
        return client_class(tracking_uri=uri, registry_uri=uri)
    database = Path(uri[len(_SQLITE) :])
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        client = client_class(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        if artifacts is not None and uri == local_uri(artifacts.parent):
            follow(database, artifacts)
    return client


@contextlib.contextmanager
def http_settings(uri: str) -> Iterator[None]:
    """Set the environment that MLflow's HTTP client reads, where a person has not, while any such block lasts."""
    if not uri.startswith("http"):
        yield
        return
    with _holding:
        names = [name for name in _HTTP_SETTINGS if _held[name] or name not in os.environ]
        for name in names:
            os.environ.setdefault(name, _HTTP_SETTINGS[name])
        _held.update(names)
    try:
        yield
    finally:
        with _holding:
            _held.subtract(names)
            for name in names:
                if not _held[name]:
                    os.environ.pop(name, None)


def plain_reason(error: Exception) -> str:
    """Say in one short line why MLflow cannot be used; its client wraps a refused connection in four layers."""
    text = " ".join(str(error).split())
    if "too many 5" in text:
        return "the server answers with an internal error; see its own log"
    if "Max retries exceeded" in text:
        return "the server times out" if "timed out" in text else "nothing answers at this address"
    return hide_password(text)[:300] or type(error).__name__


def hide_password(text: str) -> str:
    """Blank the password of any URL in `text`; see `masked`."""
    return masked(text)


def get_experiment(client: Any, name: str, artifact_root: Path | None) -> str:
    """Return the id of the experiment, made where there is none.

    Raises:
        JobError: it was deleted in MLflow; runs cannot be added before it is restored.
    """
    errors = importlib.import_module("mlflow.exceptions")
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = None if artifact_root is None else artifact_root.resolve().as_uri()
        try:
            return client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS)
        except errors.MlflowException:  # another sweep was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise JobError(
            f"the MLflow experiment {name!r} was deleted; {restoring(client.tracking_uri, experiment.experiment_id)}"
        )
    with contextlib.suppress(errors.MlflowException):  # another's experiment, that this user may only add runs to
        for tag, value in _EXPERIMENT_TAGS.items():
            if tag not in experiment.tags:
                client.set_experiment_tag(experiment.experiment_id, tag, value)
    return experiment.experiment_id


def restoring(uri: str, experiment_id: str) -> str:
    """Return the command that restores a deleted experiment of a server or store, whose password stays hidden."""
    place = shlex.quote(hide_password(uri))
    return f"MLFLOW_TRACKING_URI={place} mlflow experiments restore --experiment-id {experiment_id}"


def find_run(client: Any, experiment_id: str, sweep_id: str, number: int | None) -> Any | None:
    """Find the run of a trial (or of the sweep, `number` None) by its tags; None when there is none."""
    trial = "sweep" if number is None else str(number)
    where = f"tags.`ikd.sweep_id` = '{sweep_id}' and tags.`ikd.trial` = '{trial}'"
    runs = client.search_runs([experiment_id], where, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def find_runs(client: Any, experiment_id: str, sweep_id: str) -> dict[str, Any]:
    """Find all runs of a sweep; by the tag of their trial, the earliest where there are several."""
    found: dict[str, Any] = {}
    where, token = f"tags.`ikd.sweep_id` = '{sweep_id}'", None
    while True:
        page = client.search_runs(
            [experiment_id], where, max_results=1000, order_by=["attributes.start_time ASC"], page_token=token
        )
        for run in page:
            found.setdefault(run.data.tags["ikd.trial"], run)
        if not (token := page.token):
            return found
