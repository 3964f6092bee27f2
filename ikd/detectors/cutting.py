"""Weights of a detector of more classes, cut down to those of a data set."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ikd.errors import BadInput, refuse


def wanted_classes(field: str, class_map: Mapping[str, str], ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Return which of a checkpoint's classes stand for those of the data set, in the order of the data set.

    Args:
        field: of the recipe that holds the map, for messages.
        class_map: name in the data set to name there; classes that it leaves out are called the same there.
        ours: names of the data set's classes.
        theirs: those of the checkpoint's.

    Raises:
        BadInput: a name that one of them lacks, or one of theirs that would stand for two of ours.
    """
    for name in class_map:
        if name not in ours:
            refuse(field, f"must map classes of the data set ({_few(ours)})", name)
    found = [class_map.get(name, name) for name in ours]
    for name, there in zip(ours, found, strict=True):
        if there not in theirs:
            rule = f"must give each class of the data set one of the checkpoint ({_few(theirs)})"
            refuse(field, rule, f"{name}: {there}", _nearest(there, theirs))
        if found.count(there) > 1:
            refuse(field, f"must give each class of the data set ({_few(ours)}) another one of the checkpoint", there)
    return [list(theirs).index(name) for name in found]


@dataclass(frozen=True)
class ClassRows:
    """What tells how the rows of a layer belong to classes.

    Attributes:
        ours: the layers of a detector of `count` classes.
        other: those of the same detector of another number of classes, `other_count`.
    """

    ours: Mapping[str, Tensor]
    count: int
    other: Mapping[str, Tensor]
    other_count: int

    def cut(self, weights: Mapping[str, Tensor], total: int, chosen: Sequence[int], source: str) -> dict[str, Tensor]:
        """Return the weights of a detector of `total` classes with the rows of the chosen ones alone.

        Args:
            weights: all of that detector's.
            total: its number of classes.
            chosen: classes to keep, in the new order.
            source: of the weights, for messages.

        Raises:
            BadInput: a layer reads class scores, so that its input would have to be cut.
        """
        found = {}
        for key, own in self.ours.items():
            other = self.other[key]
            if own.shape == other.shape:
                found[key] = weights[key]
                continue
            if own.shape[1:] != other.shape[1:]:
                raise BadInput(f"class_map: {source!r} cannot be cut to other classes: {key} reads class scores")
            found[key] = weights[key][torch.tensor(self._rows(key, len(own), len(other), total, chosen, source))]
        return found

    def _rows(self, key: str, ours: int, others: int, total: int, chosen: Sequence[int], source: str) -> list[int]:
        """Return the rows of a layer that belong to the chosen classes, and to none: boxes, objectness, background."""
        groups, rest = divmod(others - ours, self.other_count - self.count)
        extra, uneven = divmod(ours, groups)
        extra -= self.count
        if rest or uneven or extra < 0:
            raise BadInput(f"class_map: {source!r} cannot be cut to other classes: how {key} is laid out is not known")
        if ".fc_reg." in f".{key}":  # of two stages: all numbers of a box stand together, class after class
            return [one * groups + number for one in chosen for number in range(groups)]
        first = "convs_pred" in key  # YOLOv3: box and objectness stand before the classes; others have theirs behind
        rows: list[int] = []
        for group in range(groups):
            start = group * (total + extra)
            beside = [start + (0 if first else total) + place for place in range(extra)]
            classes = [start + (extra if first else 0) + one for one in chosen]
            rows += beside + classes if first else classes + beside
        return rows


def _nearest(name: str, theirs: Sequence[str]) -> str:
    plain = {one.casefold(): one for one in theirs}
    near = difflib.get_close_matches(name.casefold(), plain, n=1)
    return f"did you mean {plain[near[0]]!r}?" if near else ""


def _few(names: Sequence[str]) -> str:
    more = f", and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
