"""Dotted keys into a model config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict

from ikd.detectors._names import nearest
from ikd.errors import BadInput


def apply_overrides(model: ConfigDict, overrides: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Set each dotted key of `overrides` in `model`, in place.

    The last part of a key may be new (an argument the config leaves at its default); all before it must exist.

    Raises:
        BadInput: unknown parent, index outside its list, or a `num_classes` other than the data set's.
    """
    for key, value in overrides.items():
        *parents, last = key.split(".")
        if last == "num_classes" and "rpn_head" not in parents and value != len(classes):
            raise BadInput(f"override {key}={value!r}: the data set has {len(classes)} classes; leave num_classes out")
        node: Any = model
        for depth, part in enumerate(parents):
            node = node[_place(node, part, key, ".".join(parents[:depth]))]
        if isinstance(node, dict):
            node[last] = _config(value)
        else:
            node[_place(node, last, key, ".".join(parents))] = _config(value)


def _config(value: Any) -> Any:
    return ConfigDict(value) if isinstance(value, Mapping) else value


def _place(node: Any, part: str, key: str, where: str) -> str | int:
    """Return the key or index under which `part` lies in `node`."""
    inside = where or "the model"
    if isinstance(node, Mapping):
        if part in node:
            return part
        known = ", ".join(sorted(node))
        raise BadInput(f"override {key!r}: {inside} has no {part!r}{nearest(part, node)}; it has {known}")
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            return int(part)
        last = len(node) - 1
        raise BadInput(f"override {key!r}: {inside} is a list; wanted an index 0..{last}, got {part!r}")
    raise BadInput(f"override {key!r}: {inside} is {node!r} and holds no {part!r}")
