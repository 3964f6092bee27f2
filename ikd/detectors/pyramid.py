"""The pyramid of a detector as it is read: channels and strides of its levels, and how those of two are paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from ikd.detectors.taps import NotReachedError, TapChoice, Taps
from ikd.errors import BadInput, within

PROBES_PX = (256, 512)
"""Sides of the images that are tried: the smaller where the detector can look at it."""


@dataclass(frozen=True)
class Level:
    """A level as it is read.

    Attributes:
        channels: of its map.
        stride: in input pixels; 0 where cells do not lie at whole strides (the unpadded levels of SSD).
        output: which of the neck's outputs it belongs to, None where to none.
    """

    channels: int
    stride: int
    output: int | None


def tap_channels(detector: nn.Module, choice: TapChoice = "auto") -> list[int]:
    """Return the number of channels of each level; raises as `tap_levels`."""
    return [level.channels for level in tap_levels(detector, choice)]


def tap_strides(detector: nn.Module, choice: TapChoice = "auto") -> list[int]:
    """Return the stride of each level in input pixels; raises as `tap_levels`."""
    return [level.stride for level in tap_levels(detector, choice)]


@torch.no_grad()
def tap_levels(detector: Any, choice: TapChoice = "auto") -> list[Level]:
    """Return what the levels of a detector are, by a forward of an empty image; modes and statistics stay.

    Raises:
        BadInput: as `tap_names`, or a module that gives no maps.
    """
    taps = Taps(detector, choice)
    modes = [(module, module.training) for module in detector.modules()]
    try:
        for module, _ in modes:
            module.training = False  # train() may be overridden, as in a frozen teacher
        side, maps, outputs = _probed(detector, taps)
    finally:
        for module, mode in modes:
            module.training = mode
    strides = _strides(side, maps)
    places: list[int | None] = list(range(len(maps)))
    if taps.listed:
        theirs = _strides(side, outputs)
        places = [theirs.index(stride) if stride in theirs else None for stride in strides]
    return [Level(int(one.shape[1]), stride, place) for one, stride, place in zip(maps, strides, places, strict=True)]


def _probed(detector: Any, taps: Taps) -> tuple[int, list[torch.Tensor], Sequence[torch.Tensor]]:
    """Return the side of the first image that the detector can look at, its maps there, and its neck's outputs."""
    device = next(detector.parameters()).device
    for side in PROBES_PX:
        try:
            with taps.capture() as maps:
                outputs = taps.forward(torch.zeros(1, 3, side, side, device=device), [(side, side)])
        except BadInput:
            raise
        except NotReachedError as error:
            rule = "only what runs when maps are made, which is backbone and neck, can be named as a tap"
            raise BadInput(f"{type(detector).__name__} {_read_at(taps)}: {rule}") from error
        except Exception as error:  # levels may want more cells than a small image has
            if side == PROBES_PX[-1]:
                said = str(error).partition("\n")[0]
                raise BadInput(f"{type(detector).__name__} {_read_at(taps)}: {type(error).__name__}: {said}") from error
            continue
        break
    return side, maps, outputs


def _read_at(taps: Taps) -> str:
    return f"cannot be read at {', '.join(taps.names)}"


def _strides(side: int, maps: Sequence[torch.Tensor]) -> list[int]:
    strides: list[int] = []
    for one in maps:
        whole = side % one.shape[-1] == 0 and 0 not in strides
        strides.append(side // one.shape[-1] if whole else 0)
    return strides


@dataclass(frozen=True)
class SharedLevels:
    """The pyramid levels that are pairs, finest first.

    Attributes:
        student: their indices among the student's levels.
        teacher: their indices among the teacher's.
        strides: those of the teacher's levels in input pixels, which is where maps are compared.
        ours: all the student's levels, shared or not.
        theirs: all the teacher's.
    """

    student: tuple[int, ...]
    teacher: tuple[int, ...]
    strides: tuple[int, ...]
    ours: tuple[Level, ...]
    theirs: tuple[Level, ...]

    @property
    def of_student(self) -> list[Level]:
        """The student's levels of the pairs."""
        return [self.ours[level] for level in self.student]

    @property
    def of_teacher(self) -> list[Level]:
        """The teacher's levels of the pairs."""
        return [self.theirs[level] for level in self.teacher]

    @property
    def student_strides(self) -> tuple[int, ...]:
        """Of all the student's levels."""
        return tuple(level.stride for level in self.ours)

    @property
    def teacher_strides(self) -> tuple[int, ...]:
        """Of all the teacher's levels."""
        return tuple(level.stride for level in self.theirs)


def shared_levels(
    student: nn.Module,
    teacher: nn.Module,
    match: Literal["stride", "index"] = "stride",
    taps: tuple[TapChoice, TapChoice] = ("auto", "auto"),
) -> SharedLevels:
    """Pair the levels of two detectors.

    By stride, a one-stage detector (P3 to P7) and a two-stage one (P2 to P5) share three levels, and level l of one
    looks at the same cells as its partner. By index the finest of one goes with the finest of the other, and so on as
    far as both have a level: four here, P3 with P2 up to P6 with P5, whose maps differ in size. Channels may differ.

    Args:
        student: mmdet detector.
        teacher: mmdet detector.
        match: how levels are paired.
        taps: where student and teacher are read.

    Raises:
        BadInput: as `tap_levels`, or no level of one has the stride of a level of the other.
    """
    sides = []
    for who, detector, choice in zip(("student", "teacher"), (student, teacher), taps, strict=True):
        with within(f"distill.taps.{who}"):
            sides.append(tap_levels(detector, choice))
    return paired_levels(sides[0], sides[1], match, (type(student).__name__, type(teacher).__name__))


def paired_levels(
    ours: Sequence[Level], theirs: Sequence[Level], match: Literal["stride", "index"], names: tuple[str, str]
) -> SharedLevels:
    """Pair levels that were measured before; see `shared_levels`.

    Args:
        ours: the student's.
        theirs: the teacher's.
        match: how levels are paired.
        names: of both, for messages.
    """
    strides = tuple(tuple(level.stride for level in side) for side in (ours, theirs))
    if match == "index":
        pairs = [_finest_first(side) for side in strides]
        both = min(map(len, pairs))
        student, teacher = (side[:both] for side in pairs)
        at = tuple(strides[1][level] for level in teacher)
    else:
        at = tuple(sorted(set(strides[0]) & set(strides[1]) - {0}))
        student, teacher = (tuple(_last(side, stride) for stride in at) for side in strides)
    if not at:
        raise BadInput(
            f"student and teacher share no level of their pyramids: {names[0]} has strides {list(strides[0])}, "
            f"{names[1]} has {list(strides[1])}; distillation compares maps of equal stride, or with "
            f"distill.match: index those of equal index"
        )
    return SharedLevels(student, teacher, at, tuple(ours), tuple(theirs))


def _finest_first(strides: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(strides)), key=lambda level: strides[level] or math.inf))


def _last(strides: Sequence[int], stride: int) -> int:
    """Return the last level of a stride: of stacked networks it is the one that predictions are made from."""
    return len(strides) - 1 - list(reversed(strides)).index(stride)
