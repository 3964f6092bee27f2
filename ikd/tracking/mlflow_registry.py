"""The exported student as a version of a registered model."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from ikd.tracking.mlflow_pyfunc import write_model
from ikd.tracking.mlflow_sink import MlflowSink
from ikd.tracking.open import make_sink, refuse_uri
from ikd.tracking.tracker import sweep_identity

CONTENT, WORTH = "ikd.content", "ikd.worth"
"""Tags of a version: hash of the student's files, and its `Worth` as JSON."""
EXPORTED = "exported/"
"""Begins the names of a version's metrics: those of the exported student, measured again in plain mmdet."""
MODEL_NAME = r"[^/:.%\"'`]+"
ALIAS_NAME = r"(?!v\d+$)(?!latest$)[\w-]+"


@dataclass(frozen=True)
class Worth:
    """What a version is compared with others by.

    Attributes:
        metric: name of it.
        rising: the largest is the best.
        value: of the validation part, which chose it (AP in 0..1).
        test: of the test part, which chose nothing; None where there is none.
        data: fingerprint of what it was measured on.
    """

    metric: str
    rising: bool
    value: float
    test: float | None
    data: str

    def worse_than(self, other: Worth) -> str:
        """Say why this one must not take the place of another; empty where it may."""
        if (self.metric, self.rising) != (other.metric, other.rising):
            return f"it is judged by {self.metric}, and that by {other.metric}"
        if self.data != other.data:
            return "the two were measured on different data"
        both = self.test is not None and other.test is not None
        own, theirs = (self.test, other.test) if both else (self.value, other.value)
        part = " on the test part" if both else ""
        if own >= theirs if self.rising else own <= theirs:  # type: ignore[operator]
            return ""
        return f"its {self.metric}{part} is {100 * own:.1f}, and that of the other {100 * theirs:.1f} (x100)"  # type: ignore[operator]


@dataclass(frozen=True)
class StudentFacts:
    """What a registry is told of an exported student.

    Attributes:
        worth: see `Worth`.
        metrics: of plain mmdet, by name (AP in 0..1).
        description: Markdown.
    """

    worth: Worth
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class RegisteredStudent:
    """A version of a registered model.

    Attributes:
        model: name of the registered model.
        version: its version, from "1".
        uri: what `mlflow.pyfunc.load_model` takes.
        alias: that leads to it now, where one was asked for.
    """

    model: str
    version: str
    uri: str
    alias: str | None = None


def check_names(model: str, alias: str | None) -> None:
    """Refuse names that MLflow would refuse, before anything is made.

    Raises:
        BadInput: says what they may hold.
    """
    if not re.fullmatch(MODEL_NAME, model):
        raise BadInput(f"model: a registered model's name has none of / : . % and quotes, but got {model!r}")
    if alias is not None and not re.fullmatch(ALIAS_NAME, alias):
        rule = "must be letters, digits, dashes and underscores, and neither latest nor v and a number"
        raise BadInput(f"--alias: {rule}, but got {alias!r}")


def register_best(  # noqa: PLR0913 - one keyword for each thing that is told
    directory: Path,
    *,
    uri: str,
    home: Path,
    sweep: Path,
    number: int,
    model: str,
    facts: StudentFacts,
    alias: str | None = None,
    force: bool = False,
    experiment: str = "ikd",
) -> RegisteredStudent:
    """Register an exported student; an alias goes on to it where it is no worse than the version that has it.

    The version is an MLflow model that needs no ikd; the student's files lie in it as they are. The same files
    registered twice stay one version.

    Args:
        directory: what was exported.
        uri: the runner's `tracking.uri`.
        home: ikd's home directory.
        sweep: the sweep's folder.
        number: the trial that the student comes from.
        model: name of the registered model.
        facts: of the student.
        alias: that shall lead to it; None leaves all aliases.
        force: move the alias though the student is worse, or cannot be compared.
        experiment: name of the MLflow experiment.

    Raises:
        BadInput: the folder is empty, a name is refused by MLflow, the tracker does not know the trial, or the alias is
            at a better version. Nothing was registered.
        JobError: MLflow does not answer, or does not let this user write.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else []
    if not files:
        raise BadInput(f"{directory}: must be a folder with an exported student, but got nothing there")
    check_names(model, alias)
    sink = make_sink(uri, home, experiment)
    if not isinstance(sink, MlflowSink):
        refuse_uri(uri)
    try:
        with _everything_at(sink.uri):
            client = make_client(sink.uri, home / ARTIFACTS)
            run = _find_trial(client, get_experiment(client, experiment, None), sweep, number)
            if alias is not None and not force:
                _refuse_worse(client, model, alias, facts.worth)
            version = _register(client, run, directory, model=model, facts=facts, content=_digest(directory, files))
            if alias is not None:
                client.set_registered_model_alias(model, alias, version)
    except importlib.import_module("mlflow.exceptions").MlflowException as error:
        raise JobError(f"{sink.place} did not register the student: {plain_reason(error)}") from error
    return RegisteredStudent(model, version, f"models:/{model}/{version}", alias)


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


def _refuse_worse(client: Any, model: str, alias: str, worth: Worth) -> None:
    """Refuse to move an alias to a student that is worse than the version that has it, or cannot be compared."""
    errors = importlib.import_module("mlflow.exceptions")
    try:
        there = client.get_model_version_by_alias(model, alias)
    except errors.MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return
        raise
    try:
        other = Worth(**json.loads(there.tags[WORTH]))
    except (KeyError, TypeError, ValueError):
        why = "of that version nothing is noted to compare"
    else:
        why = worth.worse_than(other)
    if why:
        cure = "register it without --alias, or move the alias all the same with --force"
        raise BadInput(f"--alias: {alias} of {model} stays at version {there.version}, as {why}; {cure}")


def _register(
    client: Any, run: Any, directory: Path, *, model: str, facts: StudentFacts, content: str
) -> str:  # fmt: skip
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.tags.get(CONTENT) == content and version.run_id == run.info.run_id:
            return str(version.version)
    logged = client.create_logged_model(
        run.info.experiment_id, model, run.info.run_id, None, dict(run.data.params), "detector"
    )
    with tempfile.TemporaryDirectory() as scratch:
        write_model(directory, Path(scratch) / "model")
        client.log_model_artifacts(logged.model_id, str(Path(scratch) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    for name, value in facts.metrics.items():
        if math.isfinite(value):
            client.log_metric(run.info.run_id, EXPORTED + name, value, model_id=logged.model_id)
    _make_model(client, model, facts.worth)
    tags = {CONTENT: content, **{key: run.data.tags[key] for key in ("ikd.sweep", "ikd.trial")}}
    tags |= {WORTH: json.dumps(vars(facts.worth)), f"{EXPORTED}{facts.worth.metric}": f"{facts.worth.value:.4f}"}
    source = f"models:/{logged.model_id}"
    made = client.create_model_version(
        model, source, run.info.run_id, tags, description=facts.description, model_id=logged.model_id
    )
    return str(made.version)


def _make_model(client: Any, model: str, worth: Worth) -> None:
    errors = importlib.import_module("mlflow.exceptions")
    said = f"Students by ikd; versions are compared by {worth.metric} (0 to 1, in plain mmdet)."
    try:
        client.create_registered_model(model, description=said)
    except errors.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _digest(directory: Path, files: list[Path]) -> str:
    """Return a hash of names and contents, so that registering again is recognised."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(directory).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()
