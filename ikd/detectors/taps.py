"""Where the pyramid of a detector is read, and the reading.

Published distillers (FGD, MGD, IKD: `yzd-v/FGD:configs/distillers/fgd/*`) read the convolution inside each output
module of the neck, before its norm and activation. Where that is known of a neck it is done so; any other neck is read
at what it puts out, and a detector without one at what its backbone does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ikd.detectors.families import known
from ikd.detectors.kinds.text import Named
from ikd.errors import BadInput

TapWord = Literal["auto", "outputs", "encoder"]
TapChoice = TapWord | Sequence[str]
"""Where a detector is read: a word, or the names of modules that give one map each, one a level."""
Keep = Callable[[int, Any], None]


def tap_names(detector: nn.Module, choice: TapChoice = "auto") -> list[str]:
    """Return the names of the modules that are read.

    Args:
        detector: mmdet detector.
        choice: `auto` is the convolution inside each output of a neck that is known, finest level first (in two-stage
            detectors P6 is a pooled P5 and has none), and else `outputs`: the neck, or where there is
            none the backbone. `encoder` is that of a transformer, whose memory is cut into maps.

    Raises:
        BadInput: no such module; says what there is.
    """
    name = type(detector).__name__
    if not isinstance(choice, str):
        if not choice:
            raise BadInput(f"{name}: taps must name at least one module")
        return [_named(detector, one) for one in choice]
    if choice == "encoder":
        if not hasattr(detector, "pre_transformer") or getattr(detector, "encoder", None) is None:
            raise BadInput(f"{name} has no transformer with an encoder; take auto or outputs for its taps")
        return ["encoder"]
    neck: Any = getattr(detector, "neck", None)
    if neck is None:
        return ["backbone"]
    families = known()
    if choice == "auto" and type(neck).__name__ in families.necks and (found := families.convolutions(neck)):
        return [f"neck.{convolution}" for convolution in found]
    return ["neck"]


class NotReachedError(RuntimeError):
    """A module that is read did not run."""


class Taps:
    """Collects the pyramid of a detector during a forward, into a list that belongs to one block of code.

    Hooks exist only inside `capture`, so a detector is never changed: it can be copied, saved and trained at any
    time, and no feature outlives the step. Captures of two branches cannot mix: of nested ones only the innermost
    collects.

    Args:
        detector: the detector to read.
        choice: where, as for `tap_names`.

    Attributes:
        names: the modules that are read.
    """

    def __init__(self, detector: nn.Module, choice: TapChoice = "auto") -> None:
        self.names = tuple(tap_names(detector, choice))
        self.reads_encoder = choice == "encoder"
        self.reads_outputs = not self.reads_encoder and self.names in (("neck",), ("backbone",))
        self.listed = not isinstance(choice, str)
        self._detector: Any = detector
        self._modules = [_module(detector, name) for name in self.names]
        self._open: list[_Collected] = []

    def forward(self, batch: Tensor, sizes: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
        """Run the detector as far as it is read, and return what its neck puts out.

        Args:
            batch: normalised images, [N, 3, H, W].
            sizes: (height, width) of each within it; the rest is padding, which a transformer does not look at.
        """
        detector = self._detector
        outputs: Sequence[Tensor] = detector.extract_feat(batch)
        if self.reads_encoder:
            encoder_inputs, _ = detector.pre_transformer(outputs, _samples(batch, sizes))
            asked = detector.asked(len(batch)) if isinstance(detector, Named) else {}
            detector.forward_encoder(**encoder_inputs, **asked)
        return outputs

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Tensor]]:
        """Collect one forward; the list holds one map a level, in order, from the forward on and after the block.

        Raises:
            NotReachedError: no forward in the capture has reached a module.
            RuntimeError: a second forward in the same capture.
        """
        collected = _Collected(self.names, self.reads_outputs, self.reads_encoder, copies=self.listed)
        modules = list(self._modules)
        if self.reads_encoder:
            modules.append(_module(self._detector, "neck"))
        hooks = [module.register_forward_hook(self._hook(collected, place)) for place, module in enumerate(modules)]
        self._open.append(collected)
        try:
            yield collected.features
        finally:
            self._open.pop()
            for hook in hooks:
                hook.remove()
        if missing := collected.missing():
            raise NotReachedError(f"no forward reached {', '.join(missing)} inside the capture")

    def _hook(self, collected: _Collected, place: int) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            del inputs
            # a copy made inside the block carries the hook along, but is another module
            own = self._modules[place] if place < len(self._modules) else self._detector.neck
            if module is own and self._open[-1] is collected:
                collected.keep(place, _tested_branch(self._detector, output))

        return keep


class _Collected:
    """What one forward has given so far.

    Args:
        names: of the modules.
        pyramid: there is one, which gives all levels.
        memory: there is one, which gives the memory of an encoder.
        copies: what comes behind a module may change its map in place.
    """

    def __init__(self, names: Sequence[str], pyramid: bool, memory: bool, *, copies: bool) -> None:
        self.features: list[Any] = [] if pyramid or memory else [None] * len(names)
        self._names, self._pyramid, self._memory, self._copies = names, pyramid, memory, copies
        self._shapes: list[tuple[int, int]] = []

    def keep(self, place: int, output: Any) -> None:
        """Take what a module has put out."""
        if self._memory:
            self._cut(place, output)
            return
        taken = self.features if self._pyramid else self.features[place]
        if taken is not None and taken != []:
            raise RuntimeError(f"{self._names[place]} ran twice in one capture; open one capture for each branch")
        if self._pyramid:
            self.features.extend(_maps(self._names[place], output))
        else:
            (one,) = _maps(self._names[place], output)
            self.features[place] = one.clone() if self._copies else one

    def _cut(self, place: int, output: Any) -> None:
        """Take the sizes of the neck's maps, then cut the memory, [N, sum of H W, C], into maps of these."""
        if place:
            self._shapes = [(int(one.shape[2]), int(one.shape[3])) for one in _maps("neck", output)]
            return
        if self.features:
            raise RuntimeError("encoder ran twice in one capture; open one capture for each branch")
        memory = output[0] if isinstance(output, (tuple, list)) else output
        cells = [height * width for height, width in self._shapes]
        parts = memory.split(cells, dim=1)
        for part, (height, width) in zip(parts, self._shapes, strict=True):
            self.features.append(part.transpose(1, 2).unflatten(2, (height, width)))

    def missing(self) -> list[str]:
        if not self.features:
            return list(self._names)
        return [name for name, one in zip(self._names, self.features, strict=False) if one is None]


def _tested_branch(detector: Any, output: Any) -> Any:
    """Leave of TridentNet's three branches, which in training lie behind one another, the one that predicts."""
    backbone: Any = getattr(detector, "backbone", None)
    count, tested = getattr(backbone, "num_branch", 1), getattr(backbone, "test_branch_idx", 0)
    if count == 1 or not (backbone.training or tested == -1):
        return output
    if isinstance(output, (tuple, list)):
        return [one.chunk(count)[tested] for one in output]
    return output.chunk(count)[tested]


def _maps(name: str, output: Any) -> list[Tensor]:
    """Return the maps, [N, C, H, W], in what a module has put out.

    Raises:
        BadInput: it holds none.
    """
    items = output if isinstance(output, (tuple, list)) else [output]
    found = [one for one in items if isinstance(one, Tensor) and one.ndim == 4]
    if not found or (len(found) > 1 and name not in ("neck", "backbone")):
        raise BadInput(f"{name} must give one map [N, C, H, W] a level, but it gives {_told(output)}")
    return found


def _told(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of {output.ndim} dimensions"
    return f"{len(output)} of them" if isinstance(output, (tuple, list)) else f"a {type(output).__name__}"


def _samples(batch: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Any]:
    """Return what a transformer asks of its images: where they end within the batch."""
    from mmdet.structures import DetDataSample

    facts = {"batch_input_shape": tuple(batch.shape[-2:])}
    return [DetDataSample(metainfo={**facts, "img_shape": size}) for size in sizes]


def _named(detector: nn.Module, name: str) -> str:
    _module(detector, name)
    return name


def _module(detector: nn.Module, name: str) -> nn.Module:
    try:
        return detector.get_submodule(name)
    except AttributeError:
        import difflib

        there = [one for one, _ in detector.named_modules() if one]
        near = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or list(dict(detector.named_children()))
        kind = type(detector).__name__
        raise BadInput(f"{kind} has no module called {name!r}; nearest: {', '.join(near)}") from None
