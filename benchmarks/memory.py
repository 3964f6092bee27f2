"""Memory of a piece of work, measured alike in every benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def peak_mib(work: Callable[[], Any], device: torch.device) -> float:
    """Return the most memory that the tensors made by `work` hold at one time, in MiB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda item: item.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 2**20
