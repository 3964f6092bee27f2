"""One small drawn data set for all tests of the package; never written to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ikd.data import draw_dataset


@pytest.fixture(autouse=True)
def kept_at_home(session_home: Path) -> Path:
    """What a check finds out is kept in a home of the tests' own."""
    return session_home


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "drawn", num_train=20, num_val=10)


@pytest.fixture
def copied(drawn: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Gives a fresh copy that a test may spoil."""

    def copy(name: str = "copy") -> Path:
        return Path(shutil.copytree(drawn, tmp_path / name))

    return copy
