"""The number of classes, in every head that has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from ikd.errors import BadInput

# the RPN knows object or not; the semantic branch of HTC counts stuff classes of another annotation file
_OTHER_CLASSES = frozenset({"rpn_head", "semantic_head"})


def set_classes(model: ConfigDict, count: int) -> None:
    """Set `num_classes` in every head of `model`, in place: one- and two-stage, cascades, masks, point heads.

    Raises:
        BadInput: no head of this model counts classes, or there are none to set.
    """
    if count < 1:
        raise BadInput(f"a detector needs at least one class, got {count}")
    heads = [value for key, value in model.items() if key.endswith("_head") and key not in _OTHER_CLASSES]
    if not sum(_set(head, count, is_box_head=key == "bbox_head") for key, head in _named(model, heads)):
        raise BadInput(f"{model.get('type')}: found no head with num_classes in {', '.join(sorted(model))}")


def _named(model: ConfigDict, heads: list[Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in model.items() if any(value is head for head in heads)]


def _set(node: Any, count: int, *, is_box_head: bool) -> int:
    """Set the classes under `node` and return in how many places."""
    if isinstance(node, (list, tuple)):
        return sum(_set(item, count, is_box_head=is_box_head) for item in node)
    if not isinstance(node, Mapping):
        return 0
    number = 0
    # a box head that leaves num_classes out would silently take its class's 80
    if "num_classes" in node or (is_box_head and "type" in node):
        node["num_classes"] = count  # type: ignore[index]
        number += 1
    for key, value in node.items():
        if key not in _OTHER_CLASSES:
            number += _set(value, count, is_box_head=key == "bbox_head")
    return number
