from __future__ import annotations

from collections.abc import Iterator

import pytest

from ikd.ops import extension
from tests.assets import ops_cases


@pytest.fixture(autouse=True)
def _plain_kernels() -> Iterator[None]:
    """The tests here are about the plain kernels, whichever ones this machine would use."""
    with ops_cases.kernels(extension("plain")):
        yield
