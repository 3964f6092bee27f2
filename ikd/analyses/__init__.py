"""What distillation has made of a student, beside its teacher: the analyses of Liang et al. (IKD, ACM MM 2023)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ikd.analyses.finding import Finding
from ikd.analyses.pair import Pair, find_pair

if TYPE_CHECKING:
    from ikd.analyses.agreement import analyze_confusion
    from ikd.analyses.attention import analyze_heatmaps
    from ikd.analyses.backdoor.detection import analyze_trigger
    from ikd.analyses.backdoor.experiment import analyze_backdoor
    from ikd.analyses.fidelity import analyze_fidelity
    from ikd.analyses.fourier import analyze_fourier
    from ikd.analyses.frequency import analyze_frequency
    from ikd.analyses.robustness import analyze_robustness
    from ikd.analyses.spectra import split_frequencies

_HOMES = {
    "analyze_backdoor": "ikd.analyses.backdoor.experiment",
    "analyze_confusion": "ikd.analyses.agreement",
    "analyze_fidelity": "ikd.analyses.fidelity",
    "analyze_fourier": "ikd.analyses.fourier",
    "analyze_frequency": "ikd.analyses.frequency",
    "analyze_heatmaps": "ikd.analyses.attention",
    "analyze_robustness": "ikd.analyses.robustness",
    "analyze_trigger": "ikd.analyses.backdoor.detection",
    "split_frequencies": "ikd.analyses.spectra",
}

__all__ = [
    "Finding",
    "Pair",
    "analyze_backdoor",
    "analyze_confusion",
    "analyze_fidelity",
    "analyze_fourier",
    "analyze_frequency",
    "analyze_heatmaps",
    "analyze_robustness",
    "analyze_trigger",
    "find_pair",
    "split_frequencies",
]


def __getattr__(name: str) -> Any:
    """Import on first use: that there is no such student is told before what analyzes is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ikd.analyses' has no attribute {name!r}")
    from ikd.ops import install

    install()  # before mmdet, which looks for kernels and chatters when it is imported
    return getattr(importlib.import_module(_HOMES[name]), name)
