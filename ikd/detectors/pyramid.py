"""Reading the pyramid of a detector: the convolution inside each FPN output module, before its norm and activation.

That is what FGD, MGD and IKD distil (`yzd-v/FGD:configs/distillers/fgd/*`); it differs from the neck's output where the
neck has norms (RepPoints).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ikd.detectors.families import known
from ikd.errors import BadInput

_PROBE_PX = 256


def tap_names(detector: nn.Module) -> list[str]:
    """Return the names of the tapped convolutions, finest level first.

    One-stage detectors have one a level; in two-stage ones P6 is a pooled P5 and has none.

    Raises:
        BadInput: the detector has no FPN of this kind; says why.
    """
    neck = getattr(detector, "neck", None)
    name = type(detector).__name__
    if neck is None:
        raise BadInput(f"{name} has no neck, so there is no feature pyramid to distil")
    kind, families = type(neck).__name__, known()
    if kind not in families.necks:
        raise BadInput(
            f"{name} has the neck {kind}, whose outputs are not those of one convolution a level; "
            f"distillation needs one of {', '.join(families.necks)}"
        )
    found = families.convolutions(neck)
    if not found:
        raise BadInput(f"{name}: its neck {kind} has an output without a convolution")
    return [f"neck.{convolution}" for convolution in found]


def tap_channels(detector: nn.Module) -> list[int]:
    """Return the number of channels at each tap.

    Raises:
        BadInput: as `tap_names`.
    """
    modules: list[Any] = [_module(detector, name) for name in tap_names(detector)]
    return [int(module.out_channels) for module in modules]


@torch.no_grad()
def tap_strides(detector: Any) -> list[int]:
    """Return the stride of each tap in input pixels, from one forward of an empty image; modes and statistics stay.

    Raises:
        BadInput: as `tap_names`.
    """
    taps = Taps(detector)
    modes = [(module, module.training) for module in detector.modules()]
    device = next(detector.parameters()).device
    try:
        for module, _ in modes:
            module.training = False  # train() may be overridden, as in a frozen teacher
        with taps.capture() as features:
            detector.extract_feat(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX, device=device))
    finally:
        for module, mode in modes:
            module.training = mode
    return [_PROBE_PX // feature.shape[-1] for feature in features]


@dataclass(frozen=True)
class SharedLevels:
    """The pyramid levels that are pairs, finest first.

    Attributes:
        student: their indices among the student's taps, which are also those of its neck outputs.
        teacher: their indices among the teacher's.
        strides: those of the teacher's levels in input pixels, which is where maps are compared.
        student_strides: of all the student's taps, shared or not.
        teacher_strides: of all the teacher's.
    """

    student: tuple[int, ...]
    teacher: tuple[int, ...]
    strides: tuple[int, ...]
    student_strides: tuple[int, ...]
    teacher_strides: tuple[int, ...]


def shared_levels(student: nn.Module, teacher: nn.Module, match: Literal["stride", "index"] = "stride") -> SharedLevels:
    """Pair the levels of two detectors.

    By stride, a one-stage detector (P3 to P7) and a two-stage one (P2 to P5) share three levels, and level l of one
    looks at the same cells as its partner. By index the finest of one goes with the finest of the other, and so on as
    far as both have a level: four here, P3 with P2 up to P6 with P5, whose maps differ in size. Channels may differ.

    Raises:
        BadInput: as `tap_names`, or no level of one has the stride of a level of the other.
    """
    ours, theirs = tuple(tap_strides(student)), tuple(tap_strides(teacher))
    if match == "index":
        both = tuple(range(min(len(ours), len(theirs))))
        return SharedLevels(both, both, theirs[: len(both)], ours, theirs)
    strides = tuple(sorted(set(ours) & set(theirs)))
    if not strides:
        raise BadInput(
            f"student and teacher share no level of their pyramids: {type(student).__name__} has strides {list(ours)}, "
            f"{type(teacher).__name__} has {list(theirs)}; distillation compares maps of equal stride, or with "
            f"distill.match: index those of equal index"
        )
    student_levels, teacher_levels = (tuple(map(levels.index, strides)) for levels in (ours, theirs))
    return SharedLevels(student_levels, teacher_levels, strides, ours, theirs)


class Taps:
    """Collects the outputs of named modules during a forward, into a list that belongs to one block of code.

    Hooks exist only inside `capture`, so a detector is never changed: it can be copied, saved and trained at any
    time, and no feature outlives the step. Captures of two branches cannot mix: of nested ones only the innermost
    collects.

    Args:
        detector: the detector to read.
        names: modules of it, as in `named_modules`; the default is `tap_names(detector)`.
    """

    def __init__(self, detector: nn.Module, names: Sequence[str] | None = None) -> None:
        self.names = tuple(tap_names(detector) if names is None else names)
        self._modules = [_module(detector, name) for name in self.names]
        self._open: list[list[Any]] = []

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Tensor]]:
        """Collect one forward; the list holds one tensor a tap, in order, from the forward on and after the block.

        Raises:
            RuntimeError: a second forward in the same capture, or none at all.
        """
        features: list[Any] = [None] * len(self.names)
        hooks = [
            module.register_forward_hook(self._hook(features, level)) for level, module in enumerate(self._modules)
        ]
        self._open.append(features)
        try:
            yield features
        finally:
            self._open.pop()
            for hook in hooks:
                hook.remove()
        if any(feature is None for feature in features):
            missing = [name for name, feature in zip(self.names, features, strict=True) if feature is None]
            raise RuntimeError(f"no forward reached {', '.join(missing)} inside the capture")

    def _hook(self, features: list[Any], level: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            del inputs
            # a copy made inside the block carries the hook along, but is another module
            if module is not self._modules[level] or self._open[-1] is not features:
                return
            if features[level] is not None:
                raise RuntimeError(f"{self.names[level]} ran twice in one capture; open one capture for each branch")
            features[level] = output

        return keep


def _module(detector: nn.Module, name: str) -> nn.Module:
    try:
        return detector.get_submodule(name)
    except AttributeError:
        raise BadInput(f"{type(detector).__name__} has no module called {name!r}") from None
