"""One small drawn data set for all tests of the package, and the registry scope of a runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from ikd.data import draw_dataset


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "drawn", num_train=20, num_val=10)


@pytest.fixture
def mmdet_scope() -> Iterator[None]:
    """Lets mmengine's registries find mmdet's transforms, as a runner does."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield
