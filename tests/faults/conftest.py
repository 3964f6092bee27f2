"""Homes with a ready MLflow database, and the table of faults."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikd.tracking.mlflow_client import local_uri, make_client
from tests.faults.sweeps import Sweep

MakeSweep = Callable[..., Sweep]
NoteFault = Callable[[str, dict[str, Any]], None]


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose MLflow database has its tables: they take seconds."""
    home = tmp_path_factory.mktemp("mlflow")
    make_client(local_uri(home))
    return home


@pytest.fixture(scope="session")
def make_sweep(tmp_path_factory: pytest.TempPathFactory, mlflow_home: Path) -> MakeSweep:
    def made(*, tracked: bool = True, runner: dict[str, Any] | None = None, **settings: Any) -> Sweep:
        home = tmp_path_factory.mktemp("home")
        shutil.copy(mlflow_home / "mlflow.db", home / "mlflow.db")
        tracking = {"tracking": {"uri": "local" if tracked else "none"}}
        return Sweep(home, runner={**tracking, **(runner or {})}, **settings)

    return made


@pytest.fixture(scope="session")
def note_fault() -> NoteFault:
    """Add a row to the table of faults, which goes to the file that IKD_FAULT_TABLE names; see fault_table.py."""
    file = os.environ.get("IKD_FAULT_TABLE")
    rows: dict[str, dict[str, Any]] = json.loads(Path(file).read_text()) if file and Path(file).is_file() else {}

    def noted(fault: str, figures: dict[str, Any]) -> None:
        rows[fault] = figures
        if file:
            Path(file).write_text(json.dumps(rows, indent=1) + "\n")

    return noted
