"""One trained student for all tests of the package, and its export; never written to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.export import Exported, SearchContext, export_student

CONTEXT = SearchContext("night", 7, "7 host=mgd", {"distill.host": "mgd", "adversarial.weight": 1e-5}, "finished", 12)


@pytest.fixture(scope="session")
def best(by_heart: Path) -> Path:
    return by_heart / "trial" / "best.pth"


@pytest.fixture(scope="session")
def exported(best: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_student(best, tmp_path_factory.mktemp("exported") / "by heart", context=CONTEXT)


@pytest.fixture
def altered(best: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Gives a copy of best.pth whose content a function has changed."""

    def alter(change: Callable[[dict[str, Any]], None]) -> Path:
        content = torch.load(best, weights_only=True)
        change(content)
        path = tmp_path / "altered.pth"
        torch.save(content, path)
        return path

    return alter


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """Gives a copy of the export that a test may spoil."""
    return Path(shutil.copytree(exported.directory, tmp_path / "copied"))
