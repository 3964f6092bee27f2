"""Pictures of a trained student: its errors beside its teacher's, charts, and what it was trained on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ikd.pictures.asked import anywhere, files_as_noted
from ikd.pictures.folder import files_of, read_measures, shows

if TYPE_CHECKING:
    from ikd.pictures.making import Painter, Pictured

_HOMES = {"Painter": "ikd.pictures.making", "Pictured": "ikd.pictures.making"}

__all__ = ["Painter", "Pictured", "anywhere", "files_as_noted", "files_of", "read_measures", "shows"]


def __getattr__(name: str) -> Any:
    """Import on first use: telling whether there are pictures must not load what makes them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ikd.pictures' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
