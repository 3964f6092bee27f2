"""Anchors by the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ikd.errors import BadInput
from ikd.sweep import TrialRecord


def anchors_of(records: Sequence[TrialRecord]) -> dict[str, TrialRecord]:
    """Return the anchors of a sweep by name; one trial may be several."""
    return {name: record for record in records for name in record.anchors}


def anchor_of(anchors: Mapping[str, TrialRecord], name: str, sweep: str) -> TrialRecord:
    """Return an anchor by its name, with underscores or blanks.

    Raises:
        BadInput: the sweep has none of this name.
    """
    found = anchors.get(name.replace(" ", "_"))
    if found is None:
        have = ", ".join(anchors) or "none yet"
        raise BadInput(f"sweep {sweep}: anchor: must be one of its anchors ({have}), but got {name!r}")
    return found
