"""Whether a tracker takes what a sweep will send, asked before it begins and without a trace."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ikd.errors import BadInput, JobError
from ikd.tracking.mlflow_client import hide_password, http_settings, load_mlflow, plain_reason, restoring
from ikd.tracking.open import make_sink

REFUSED = (401, 403)
NOT_THERE = 404
API = "/api/2.0/mlflow/experiments"


def check_tracking(uri: str, *, home: Path, experiment: str) -> str:
    """Refuse a tracker that would refuse every trial.

    Args:
        uri: of the runner.
        home: ikd's home directory.
        experiment: name of the MLflow experiment.

    Returns:
        What to tell a person; empty when all is well. A server that does not answer is no reason to wait with a sweep,
        whose results are kept and sent later.

    Raises:
        BadInput: no such tracker, MLflow is not installed, the password is missing or wrong, the experiment is somebody
            else's or was deleted, or the database cannot be opened.
    """
    if make_sink(uri, home, experiment) is None:
        return ""
    try:
        load_mlflow()
    except JobError as error:
        raise BadInput(f"runner: tracking.uri: {error}") from error
    if uri.startswith("http"):
        with http_settings(uri):
            return _check_server(uri, experiment)
    if uri != "local":
        _check_database(uri)
    return ""


def _check_server(uri: str, experiment: str) -> str:
    rest = importlib.import_module("mlflow.utils.rest_utils")
    host = importlib.import_module("mlflow.utils.credentials").get_default_host_creds(uri)

    def status_of(path: str, method: str, **content: Any) -> tuple[int, dict[str, Any]]:
        where = {"params": content} if method == "GET" else {"json": content}
        answer = rest.http_request(host, f"{API}/{path}", method, **where)
        plain = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.status_code, answer.json() if plain else {}

    try:
        code, found = status_of("get-by-name", "GET", experiment_name=experiment)
        _refuse(code, uri, f"read experiment {experiment!r}")
        if code == NOT_THERE:  # it is made at the first start, which everybody may
            return ""
        there = found.get("experiment", {})
        if there.get("lifecycle_stage") == "deleted":
            cure = f"{restoring(uri, there['experiment_id'])}, or use another name"
            raise BadInput(f"runner: tracking.experiment: must not be deleted, but got {experiment!r}; {cure}")
        # Who may not write is told so before the server looks at what is to be written: a tag without a name, which
        # it refuses to everybody else
        code, _ = status_of("set-experiment-tag", "POST", experiment_id=there.get("experiment_id", ""), value="")
        _refuse(code, uri, f"write into experiment {experiment!r}")
    except BadInput:
        raise
    except Exception as error:  # MLflow's client wraps what it met in many kinds
        place = f"MLflow at {hide_password(uri)}"
        return f"{place} cannot be asked: {plain_reason(error)}; a sweep keeps its results and sends them later"
    return ""


def _refuse(code: int, uri: str, what: str) -> None:
    place = hide_password(uri)
    if code not in REFUSED:
        return
    if code == REFUSED[0]:
        cure = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise BadInput(f"runner: tracking.uri: {place} wants a name and a password that it knows (HTTP 401); {cure}")
    cure = "name one of your own (runner: tracking.experiment), or have its owner grant EDIT"
    raise BadInput(f"runner: tracking.experiment: {place} does not let this user {what} (HTTP 403); {cure}")


def _check_database(uri: str) -> None:
    sqlalchemy = importlib.import_module("sqlalchemy")
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).absolute().parent
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"runner: tracking.uri: must lie in a folder, but {folder} is none")
        return  # opening it would make it
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect():
            pass
        engine.dispose()
    except Exception as error:  # SQLAlchemy and the drivers raise many kinds
        reason = hide_password(str(error).splitlines()[0])
        raise BadInput(f"runner: tracking.uri: {hide_password(uri)} cannot be opened: {reason}") from error
