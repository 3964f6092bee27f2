"""Which kernels this process uses, and putting them where mmcv looks."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ikd.errors import BadInput
from ikd.ops import torchvision as _torchvision
from ikd.ops.mmcv_ext import HOW_TO_COMPILE, extension

Backend = Literal["compiled", "torchvision", "plain"]
BACKENDS: tuple[Backend, ...] = ("compiled", "torchvision", "plain")
"""Where kernels can come from, the preferred first."""

VARIABLE = "IKD_OPS"


@dataclass(frozen=True)
class Kernels:
    """The kernels in use.

    Attributes:
        backend: "compiled" (mmcv's own), "torchvision" (torchvision's where it has them, the rest plain) or "plain"
            (PyTorch alone).
        reason: why this backend, for people.
    """

    backend: Backend
    reason: str


_installed: Kernels | None = None


def install() -> Kernels:
    """Make `import mmcv.ops` and `import mmdet` work, and import them without their noise.

    The first call decides for the whole process; further calls return the same answer at once. The environment variable
    `IKD_OPS` picks a backend; without it the first of `BACKENDS` that works here is taken.

    Raises:
        BadInput: `IKD_OPS` names no backend, or one that does not work here or that comes too late.
    """
    global _installed
    wanted = _wanted()
    if _installed is None:
        with _quiet():
            kernels = _choose(wanted)
            if kernels.backend != "compiled":
                sys.modules["mmcv._ext"] = extension(kernels.backend)
            # all of mmdet at once, so that none of it is left to make noise when it is imported later on
            importlib.import_module("mmdet.utils").register_all_modules(init_default_scope=False)
        _installed = kernels
    elif wanted not in (None, _installed.backend):
        raise BadInput(
            f"{VARIABLE} must not change while a process runs: it uses the {_installed.backend} kernels already, "
            f"but got {VARIABLE}={wanted!r}; set it before the start"
        )
    return _installed


def _wanted() -> Backend | None:
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    if value not in BACKENDS:
        names = ", ".join(BACKENDS)
        raise BadInput(f"{VARIABLE} must be one of {names}, or unset for the best one here, but got {value!r}")
    return value


def _choose(wanted: Backend | None) -> Kernels:
    """Take the wanted backend, or the first that works."""
    problems: list[str] = []
    for backend in BACKENDS if wanted is None else (wanted,):
        problem = _why_not(backend, wanted)
        if problem is None:
            default = "; ".join(problems) or "mmcv was installed with its kernels"
            return Kernels(backend, f"chosen by {VARIABLE}" if wanted else default)
        problems.append(problem)
    raise BadInput(
        f"{VARIABLE} must name kernels that work here, but got {VARIABLE}={wanted}: {problems[-1]}; unset it for the "
        f"best ones here, or {_REMEDIES[wanted or 'plain']}"
    )


_REMEDIES: dict[Backend, str] = {
    "compiled": HOW_TO_COMPILE,
    "torchvision": "install the torchvision that was built for this torch",
    "plain": "call ikd.ops.install() before anything imports mmcv.ops",
}


def _why_not(backend: Backend, wanted: Backend | None) -> str | None:
    """Say why a backend cannot be used, or None if it can."""
    if backend == "compiled":
        return _why_not_compiled(wanted)
    if "mmcv.ops" in sys.modules:
        return "mmcv.ops was imported before ikd could provide its kernels"
    return _torchvision.why_not() if backend == "torchvision" else None


def _why_not_compiled(wanted: Backend | None) -> str | None:
    try:
        kernels = importlib.import_module("mmcv._ext")
    except ModuleNotFoundError as error:
        if error.name != "mmcv._ext":
            raise  # mmcv itself is broken or missing: no choice of kernels helps
        return "mmcv was installed without its kernels"
    except (ImportError, OSError) as error:  # built for another torch: symbols or libraries are missing
        return f"mmcv's compiled kernels do not load ({str(error).splitlines()[0]})"
    if wanted is None and torch.cuda.is_available() and kernels.get_compiling_cuda_version() == "not available":
        return "mmcv's kernels were compiled without CUDA, and this machine has a GPU"
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what mmcv and mmdet say at import: their own deprecations, and optional packages nobody asked for."""
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.simplefilter("ignore")
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if "Could not import OneDL" not in line:
                print(line)
