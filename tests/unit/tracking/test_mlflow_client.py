"""The way to a client: quiet, guarded against a folder named mlflow, one maker of tables at a time."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from ikd.errors import JobError
from ikd.tracking.mlflow_client import get_experiment, hide_password, load_mlflow, local_uri, make_client, plain_reason


def test_a_folder_named_mlflow_is_not_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    with pytest.raises(JobError, match="mlflow is not installed; pip install mlflow"):
        load_mlflow()


def test_a_missing_mlflow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(JobError, match="set tracking uri: none"):
        load_mlflow()


def test_the_loggers_are_quiet() -> None:
    load_mlflow()
    assert all(logging.getLogger(name).level >= logging.WARNING for name in ("mlflow", "alembic"))


def test_a_new_database_has_its_tables_in_a_new_folder(template: Path) -> None:
    assert template.parent.name == "a new folder"
    names = [experiment.name for experiment in make_client(f"sqlite:///{template}").search_experiments()]
    assert names == ["Default"]


@pytest.mark.parametrize(
    ("kind", "kept"), [(None, "custom_model_development"), ("genai_development", "genai_development")]
)
def test_an_experiment_that_was_there_opens_on_its_runs(client: Any, kind: str | None, kept: str) -> None:
    tags = {} if kind is None else {"mlflow.experimentKind": kind}
    number = client.create_experiment("ours", tags=tags)
    assert get_experiment(client, "ours", None) == number
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == kept


def test_an_experiment_that_one_may_not_tag_is_taken_as_it_is(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    number = client.create_experiment("theirs")

    def refuse(*_: Any) -> None:
        raise MlflowException("Permission denied")

    monkeypatch.setattr(client, "set_experiment_tag", refuse)
    assert get_experiment(client, "theirs", None) == number


@pytest.mark.slow
def test_two_processes_meet_a_new_database(tmp_path: Path) -> None:
    code = f"from ikd.tracking.mlflow_client import make_client; make_client({local_uri(tmp_path)!r})"
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://u:secret@db/x", "postgresql://u:***@db/x"),
        ("http://host:5000", "http://host:5000"),
        ("see http://u:p@h:1/ and sqlite:////a", "see http://u:***@h:1/ and sqlite:////a"),
    ],
)
def test_passwords_are_hidden(text: str, hidden: str) -> None:
    assert hide_password(text) == hidden


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("... Max retries exceeded with url: /x (NewConnectionError(refused))", "nothing answers at this address"),
        ("... Max retries exceeded with url: /x (ConnectTimeoutError: timed out)", "the server times out"),
        (
            "Max retries exceeded (ResponseError('too many 500 error responses'))",
            "the server answers with an internal error; see its own log",
        ),
        ("401:\n You are not authenticated", "401: You are not authenticated"),
        ("", "RuntimeError"),
    ],
)
def test_plain_reason(message: str, reason: str) -> None:
    assert plain_reason(RuntimeError(message)) == reason
