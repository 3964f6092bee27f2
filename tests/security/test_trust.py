"""Saying that the code of detector configs may run: on the command line, and for the workers of a cluster."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from ikd.cli.commands import app
from ikd.sweep.tune.environment import workers_environment
from ikd.trust import VARIABLE, code_is_trusted


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is put back afterwards


def test_the_command_says_so_to_itself_and_to_its_workers() -> None:
    assert not code_is_trusted()
    assert CliRunner().invoke(app, ["recipe", "list"]).exit_code == 0
    assert not code_is_trusted()
    assert CliRunner().invoke(app, ["--trust-code", "recipe", "list"]).exit_code == 0
    assert code_is_trusted()
    assert workers_environment()[VARIABLE] == "1"


@pytest.mark.parametrize(("value", "trusted"), [("1", True), ("true", True), ("", False), ("0", False), ("no", False)])
def test_the_variable_says_yes_or_no(value: str, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert code_is_trusted() is trusted


def test_workers_are_told_nothing_where_nothing_was_said() -> None:
    del os.environ[VARIABLE]
    assert VARIABLE not in workers_environment()
