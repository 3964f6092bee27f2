"""What a person decides by: a sweep as Python objects, and as a page of charts and tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.report.compare import write_comparison
    from ikd.report.notebook import Believed, Chosen, Sweep
    from ikd.report.write import after_sweep, write_report

_HOMES = {
    "Believed": "ikd.report.notebook",
    "Chosen": "ikd.report.notebook",
    "Sweep": "ikd.report.notebook",
    "after_sweep": "ikd.report.write",
    "write_comparison": "ikd.report.compare",
    "write_report": "ikd.report.write",
}

__all__ = ["Believed", "Chosen", "Sweep", "after_sweep", "write_comparison", "write_report"]


def __getattr__(name: str) -> Any:
    """Import on first use: plotly and pandas are loaded only where they draw."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ikd.report' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
