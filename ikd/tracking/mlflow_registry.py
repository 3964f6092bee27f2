"""The exported student as a version of a registered model."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.errors import BadInput, JobError
from ikd.files import sha256
from ikd.tracking.mlflow_client import (
    ARTIFACTS,
    find_run,
    get_experiment,
    http_settings,
    load_mlflow,
    make_client,
    plain_reason,
)
from ikd.tracking.mlflow_sink import MlflowSink
from ikd.tracking.open import make_sink, refuse_uri
from ikd.tracking.tracker import sweep_identity

ALIAS = "champion"
_CONTENT = "ikd.content"


@dataclass(frozen=True)
class RegisteredStudent:
    """A version of a registered model.

    Attributes:
        model: name of the registered model.
        version: its version, from "1".
        uri: what `mlflow.artifacts.download_artifacts` takes.
    """

    model: str
    version: str
    uri: str


def register_best(
    directory: Path, *, uri: str, home: Path, sweep: Path, number: int, model: str, experiment: str = "ikd"
) -> RegisteredStudent:
    """Register an exported student; the newest registered one carries the alias `champion`.

    The files are stored as they are: no pickling, no tracing. The same files registered twice stay one version.

    Args:
        directory: what was exported.
        uri: the runner's `tracking.uri`.
        home: ikd's home directory.
        sweep: the sweep's folder.
        number: the trial that the student comes from.
        model: name of the registered model.
        experiment: name of the MLflow experiment.

    Raises:
        BadInput: the folder is empty, the name is refused by MLflow, or the tracker does not know the trial.
        JobError: MLflow does not answer.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else []
    if not files:
        raise BadInput(f"{directory}: must be a folder with an exported student, but got nothing there")
    if not re.fullmatch(r"[^/:.%\"'`]+", model):
        raise BadInput(f"model: a registered model's name has none of / : . % and quotes, but got {model!r}")
    sink = make_sink(uri, home, experiment)
    if not isinstance(sink, MlflowSink):
        refuse_uri(uri)
    try:
        with _everything_at(sink.uri):
            client = make_client(sink.uri, home / ARTIFACTS)
            run = _find_trial(client, get_experiment(client, experiment, None), sweep, number)
            version = _register(client, run, directory, model=model, content=_digest(directory, files))
            client.set_registered_model_alias(model, ALIAS, version)
    except importlib.import_module("mlflow.exceptions").MlflowException as error:
        raise JobError(f"{sink.place} did not register the student: {plain_reason(error)}") from error
    return RegisteredStudent(model, version, f"models:/{model}/{version}")


@contextlib.contextmanager
def _everything_at(uri: str) -> Iterator[None]:
    """Point all of MLflow at `uri` for a while: a database registry looks up `models:/` sources by the global URI."""
    mlflow = load_mlflow()
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        with http_settings(uri):
            yield
    finally:
        mlflow.set_tracking_uri(before)


def _find_trial(client: Any, experiment_id: str, sweep: Path, number: int) -> Any:
    identity = sweep_identity(sweep, create=False)
    run = find_run(client, experiment_id, identity, number) if identity else None
    if run is None:
        raise BadInput(
            f"trial {number} of the sweep in {sweep} is not in MLflow; register needs the tracking uri that the "
            "sweep ran with"
        )
    return run


def _register(client: Any, run: Any, directory: Path, *, model: str, content: str) -> str:
    errors = importlib.import_module("mlflow.exceptions")
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.tags.get(_CONTENT) == content and version.run_id == run.info.run_id:
            return str(version.version)
    logged = client.create_logged_model(
        run.info.experiment_id, model, run.info.run_id, None, dict(run.data.params), "detector"
    )
    client.log_model_artifacts(logged.model_id, str(directory))
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.create_registered_model(model)
    except errors.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {_CONTENT: content, **{key: run.data.tags[key] for key in ("ikd.sweep", "ikd.trial")}}
    source = f"models:/{logged.model_id}"
    made = client.create_model_version(model, source, run.info.run_id, tags, model_id=logged.model_id)
    return str(made.version)


def _digest(directory: Path, files: list[Path]) -> str:
    """Return a hash of names and contents, so that registering again is recognised."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(directory).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()
