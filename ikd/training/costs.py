"""What a student costs in use, as an objective of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ikd.detectors import complexity, latency_ms
from ikd.errors import BadInput
from ikd.trial import COST, Metrics

COSTS = ("gflops", "mparameters", "latency_ms")


def check_costs(names: Sequence[str]) -> None:
    """Refuse a cost that is none.

    Raises:
        BadInput: names it.
    """
    for name in names:
        if name not in COSTS:
            raise BadInput(f"costs: must be among {', '.join(COSTS)}, but got {name!r}")


def measure_costs(names: Sequence[str], student: Any, dataset: Any, known: Metrics) -> Metrics:
    """Return `cost/<name>` for each name; what is known already is taken from there, so that a trial has one figure.

    Args:
        names: among `COSTS`: 1e9 multiply-adds (what mmdet prints as GFLOPs) and 1e6 weights, both exact; milliseconds
            of the network for a batch of one, the median of 30 after warm-up.
        student: on its device; left in the mode it was in.
        dataset: the validation data, which gives the size of the image.
        known: metrics of an earlier part of this trial.

    Raises:
        BadInput: the multiply-adds of this detector cannot be counted.
    """
    wanted = [name for name in names if f"{COST}{name}" not in known]
    mode = student.training
    student.eval()
    try:
        found = _measure(wanted, student, dataset) if wanted else {}
    finally:
        student.train(mode)
    return {f"{COST}{name}": found[name] if name in found else known[f"{COST}{name}"] for name in names}


def _measure(names: Sequence[str], student: Any, dataset: Any) -> Metrics:
    found = {}
    if "latency_ms" in names:
        found["latency_ms"] = latency_ms(student, dataset)
    if "gflops" in names or "mparameters" in names:
        counted = complexity(student, dataset)
        found["mparameters"] = counted.parameters / 1e6
        if "gflops" in names:
            if counted.macs is None:
                raise BadInput(f"costs: gflops of a {type(student).__name__} cannot be counted: {counted.reason}")
            found["gflops"] = counted.macs / 1e9
    return found
