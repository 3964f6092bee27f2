"""An accelerator without hardware: its tensors say `pretend:0`, their numbers lie in main memory.

It refuses what CUDA refuses (operands on two devices, a tensor of its own as a NumPy array), and notes by the line of
code where the CPU would have to wait for the device, and where a Python list is copied to it. It knows nothing of
CUDA's kernels, memory, speed or autocast.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import mmengine.structures.instance_data as instances
import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing

NAME = "pretend"
_aten = torch.ops.aten
_ASKING = {
    _aten._local_scalar_dense.default,
    _aten.bincount.default,
    _aten.equal.default,
    _aten.masked_select.default,
    _aten.nonzero.default,
    _aten._unique2.default,
    _aten.unique_consecutive.default,
    _aten.unique_dim.default,
}
"""What cannot return before the device has answered."""
_BY_INDEX = ("aten.index.", "aten.index_put", "aten._index_put", "aten._unsafe_index")
_ROOT = Path(__file__).parents[2]
_LIBRARIES = ("/torch/", "/contextlib.py", "/unittest/", __file__)


class MixedDevices(RuntimeError):
    """Operands of one operation lie on two devices."""


@dataclass
class Notes:
    """What a run asked of the device, by line of code.

    Attributes:
        waits: how often the CPU waited for a value.
        lists: how often a tensor was made there from Python numbers, a pageable copy each.
        steps: training steps.
    """

    waits: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    steps: int = 0


class Away(torch.Tensor):
    """A tensor of the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Away:
        away = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device(),
        )
        away.held = held
        return away

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Away({self.held!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Go into a file as what it holds: a checkpoint is read without the device."""
        with _disable_current_modes():
            return self.held.detach().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _Call(func, args, kwargs or {}).done()


@cache
def device() -> torch.device:
    """Return the device; the first call registers it, for the life of the process."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.float16, torch.bfloat16]

        def synchronize(self, *_: Any) -> None:
            """Nothing is ever queued."""

    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    return torch.device(NAME, 0)


_notes: Notes | None = None


@contextlib.contextmanager
def accelerator() -> Iterator[None]:
    """Make everything that asks a recipe for its device get this one."""
    there = device()
    users = [one for name, one in sys.modules.items() if name.startswith("ikd.") and hasattr(one, "device_of")]
    index_types, bools, longs = _index_types()
    with contextlib.ExitStack() as stack:
        for user in users:
            stack.enter_context(mock.patch.object(user, "device_of", return_value=there))
        for owner, name, value in (
            (torch, "tensor", _tensor),
            (torch, "as_tensor", _as_tensor),
            (torch.Tensor, "new_tensor", _new_tensor),
            (torch.Tensor, "tolist", _tolist),
            (torch.Tensor, "numpy", _numpy),
            (torch.Tensor, "__getitem__", _getitem),
            (torch.Tensor, "__setitem__", _setitem),
            (instances, "IndexType", index_types),
            (instances, "BoolTypeTensor", bools),
            (instances, "LongTypeTensor", longs),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(_Mode())  # type: ignore[no-untyped-call]
        yield


@contextlib.contextmanager
def noted(notes: Notes) -> Iterator[None]:
    """Note what the body asks of the device."""
    global _notes
    before, _notes = _notes, notes
    try:
        yield
    finally:
        _notes = before


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees what no tensor of the device takes part in: `torch.zeros(3, device=...)`, copies to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _Call(func, args, kwargs or {}).done()


class _Call:
    """One operation."""

    def __init__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.func, self.args, self.kwargs, self.name = func, args, dict(kwargs), str(func)
        self.tensors = [one for one in pytree.tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        self.away = [one for one in self.tensors if isinstance(one, Away)]

    def done(self) -> Any:
        if self.func is _aten._to_copy.default:
            return self._copied()
        if self.func is _aten.copy_.default:
            return self._copied_into()
        if self.away and self.func in (_aten.detach.default, _aten.alias.default):
            return self._shared(Away(self.away[0].held.detach()))
        if self.away:
            self._check()
        return self._computed()

    def _copied(self) -> Any:
        wanted = self.kwargs.pop("device", None)
        goes = isinstance(self.args[0], Away) if wanted is None else _is_there(wanted)
        if self.away and not goes:
            _wait("copy to the CPU")
        for name in ("pin_memory", "non_blocking"):
            self.kwargs.pop(name, None)
        copy = self._plain()
        return Away(copy) if goes else copy

    def _copied_into(self) -> Any:
        into, source = self.args[:2]
        if isinstance(source, Away) and not isinstance(into, Away):
            _wait("copy to the CPU")
        self._plain()
        return into

    def _check(self) -> None:
        strangers = [one for one in self.tensors if not isinstance(one, Away) and one.dim()]
        indexed = self.name.startswith(_BY_INDEX)
        if strangers and indexed and strangers[0] is not self.tensors[0]:  # as CUDA: an index on the CPU is copied
            _wait("index on the CPU")
        elif strangers and "lift" not in self.name:
            shapes = [tuple(one.shape) for one in strangers]
            raise MixedDevices(f"{self.name}: {shapes} on the CPU, the rest not, at {_place()}")
        masks = any(one.dtype in (torch.bool, torch.uint8) for one in self.tensors[1:])
        repeats = "repeat_interleave.Tensor" in self.name and self.kwargs.get("output_size") is None
        if self.func in _ASKING or repeats or (indexed and masks):
            _wait(self.name)

    def _computed(self) -> Any:
        wanted = self.kwargs.get("device")
        made = wanted is not None and _is_there(wanted)
        if made:
            self.kwargs["device"] = torch.device("cpu")
        self.kwargs.pop("pin_memory", None)
        out = self._plain()
        stays = made or (bool(self.away) and wanted is None)
        if not stays or self.func is _aten._local_scalar_dense.default:
            return out
        out = pytree.tree_map(lambda one: Away(one) if isinstance(one, torch.Tensor) else one, out)
        return self._shared(out) if self.away else out

    def _plain(self) -> Any:
        args, kwargs = pytree.tree_map(_held, (tuple(self.args), self.kwargs))
        with _disable_current_modes():
            return self.func(*args, **kwargs)

    def _shared(self, out: Any) -> Any:
        """Let a view share memory with what it views, and an operation in place return what it changed."""
        try:
            return return_and_correct_aliasing(self.func, self.args, self.kwargs, out)  # type: ignore[no-untyped-call]
        except (AssertionError, NotImplementedError, RuntimeError):  # schemas that say nothing of memory
            return out


def _held(one: Any) -> Any:
    return one.held if isinstance(one, Away) else one


def _is_there(wanted: Any) -> bool:
    return torch.device(wanted).type == NAME


def _wait(what: str) -> None:
    if _notes is not None:
        _notes.waits[f"{_place()}  {what}"] += 1


def _list(data: Any) -> None:
    if _notes is not None and not isinstance(data, torch.Tensor):
        _notes.lists[_place()] += 1


def _place() -> str:
    """Return file and line of the code at work, libraries that only pass things on left out."""
    for frame in reversed(traceback.extract_stack()):
        if not any(part in frame.filename for part in _LIBRARIES):
            file = frame.filename.removeprefix(f"{_ROOT}/").split("site-packages/")[-1]
            return f"{file}:{frame.lineno}"
    return "backward"


# --- what torch does in C++, past the dispatcher ----------------------------------------------------------------------

_plain_tensor, _plain_as_tensor = torch.tensor, torch.as_tensor
_plain_tolist, _plain_numpy = torch.Tensor.tolist, torch.Tensor.numpy
_plain_getitem, _plain_setitem = torch.Tensor.__getitem__, torch.Tensor.__setitem__


def _sent(plain: torch.Tensor, data: Any, wanted: Any) -> torch.Tensor:
    if wanted is None or not _is_there(wanted):
        return plain
    _list(data)
    return plain.to(device())


def _tensor(data: Any, *, device: Any = None, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
    if isinstance(data, torch.Tensor):
        return data.detach().clone().to(kwargs.get("dtype") or data.dtype).to(device or data.device)
    return _sent(_plain_tensor(data, **kwargs), data, device).requires_grad_(requires_grad)


def _as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
    if isinstance(data, torch.Tensor):
        return data.to(dtype or data.dtype).to(device or data.device)
    return _sent(_plain_as_tensor(data, dtype=dtype), data, device)


def _new_tensor(self: torch.Tensor, data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> torch.Tensor:
    return _tensor(data, dtype=dtype or self.dtype, device=self.device if device is None else device, **kwargs)


def _tolist(self: torch.Tensor) -> Any:
    if isinstance(self, Away):
        _wait("tolist")
        return _plain_tolist(self.held.detach())
    return _plain_tolist(self)


def _numpy(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if isinstance(self, Away):
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy, at {_place()}")
    return _plain_numpy(self, *args, **kwargs)


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(one) for one in key)
    if isinstance(key, (list, range, np.ndarray)):
        _list(key)
        return _plain_tensor(list(key) if isinstance(key, range) else key).to(device())
    return key


def _getitem(self: torch.Tensor, key: Any) -> Any:
    return _plain_getitem(self, _index(key) if isinstance(self, Away) else key)


def _setitem(self: torch.Tensor, key: Any, value: Any) -> Any:
    return _plain_setitem(self, _index(key) if isinstance(self, Away) else key, value)


def _index_types() -> tuple[Any, Any, Any]:
    """Return mmengine's types of an index, tensors of the device among them: it asks a tensor's class for its kind."""

    def kind(dtype: torch.dtype) -> type:
        class Meta(type):
            def __instancecheck__(cls, one: Any) -> bool:
                return isinstance(one, Away) and one.dtype == dtype

        return Meta("OfThisKind", (), {})

    def among(known: Any, *others: type) -> Any:
        union = known
        for other in others:
            union = union | other
        return union

    of_bools, of_longs = kind(torch.bool), kind(torch.long)
    return (
        among(instances.IndexType, of_bools, of_longs),
        among(instances.BoolTypeTensor, of_bools),
        among(instances.LongTypeTensor, of_longs),
    )
