"""The stored loss curve holds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("golden", Path(__file__).parents[1] / "assets" / "golden.py")
assert _SPEC is not None
assert _SPEC.loader is not None
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)


@pytest.mark.parametrize("variant", golden.VARIANTS)
def test_the_loss_curve_is_unchanged(variant: str, session_home: Path) -> None:
    stored = json.loads(golden.FILE.read_text())[variant]
    now = golden.curve(variant, session_home)
    assert len(now) == len(stored) == 20
    assert [sorted(step) for step in now] == [sorted(step) for step in stored]
    for step, (expected, got) in enumerate(zip(stored, now, strict=True), start=1):
        # other processors round differently, and 20 steps of training amplify it
        assert got == pytest.approx(expected, rel=2e-3), f"step {step}"
