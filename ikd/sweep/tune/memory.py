"""A trial's share of the memory of its GPU: it is held to that, and what runs out is told apart from a neighbour's."""

from __future__ import annotations

import re
import sys
from typing import Any

from ikd.errors import first_line

OUTSIDE_BYTES = 768 * 2**20
"""About what CUDA, cuBLAS and cuDNN of one process take beside torch's allocator."""
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
ADVICE = "use a smaller schedule.batch_size"


def keep_to(share: float) -> None:
    """Hold this process to its share of its GPU's memory, so that it cannot take a neighbour's.

    Args:
        share: of one GPU, as Ray hands it out; from 1 on all of it, at 0 there is nothing to share.
    """
    if share <= 0 or (cuda := _cuda()) is None:
        return
    cuda.set_per_process_memory_fraction(_allowed(cuda, share) / _total(cuda))
    cuda.reset_peak_memory_stats()


def is_memory_fault(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: of torch, cuDNN, cuBLAS or the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "alloc_failed" in text


def own_fault(error: BaseException, share: float) -> str | None:
    """Return what to tell the person about a memory fault of the trial's own making.

    None where the trial has kept within its share and its GPU is full all the same: others have taken what is missing,
    and the same trial may fit when it is started again. A whole GPU has no neighbours.
    """
    said = f"out of memory: {first_line(error)}"
    cuda = _cuda() if 0 < share < 1 and not isinstance(error, MemoryError) else None
    if cuda is None:
        return f"{said}; {ADVICE}, or run fewer trials at once"
    allowed = _allowed(cuda, share)
    if cuda.max_memory_reserved() + _wanted(str(error)) <= allowed:
        return None
    size = f"{allowed / 2**30:.1f} GiB"
    return f"{said}; its share of the GPU is {share:g}, {size}: {ADVICE}, or raise trial.gpus in the runner"


def _cuda() -> Any:
    """Return torch.cuda where torch is loaded and there is a GPU: what trains may need neither."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _total(cuda: Any) -> int:
    return int(cuda.get_device_properties(cuda.current_device()).total_memory)


def _allowed(cuda: Any, share: float) -> float:
    """Return the bytes of torch's allocator: the share less what stands beside it, at least half of it."""
    total = _total(cuda)
    return total if share >= 1 else max(share * total / 2, share * total - OUTSIDE_BYTES)


def _wanted(text: str) -> float:
    """Return the bytes that torch tried to allocate, 0 where the message does not say."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (B|KiB|MiB|GiB)", text)
    return float(found[1]) * UNITS[found[2]] if found else 0.0
