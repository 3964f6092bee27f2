"""A recording whose curves are known: a smooth function of the values, the same noise for all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.search.recording import Recording, Training

SPACE: dict[str, Any] = {
    "recipe": "drawn_r18",
    "objective": {"metric": "bbox_mAP", "mode": "max"},
    "parameters": {
        "distill.host": {"choice": ["fgd", "mgd"]},
        "distill.mgd.alpha": {"log_uniform": [1e-7, 1e-3], "when": {"distill.host": "mgd"}},
        "distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2], "when": {"distill.host": "fgd"}},
        "augment.area_threshold": {"choice": [1024, 2304, 4096]},
    },
}
EPOCHS = 3


def curve_of(values: dict[str, Any]) -> tuple[float, ...]:
    host = values["distill.host"]
    far = abs(math.log10(values[f"distill.{host}.alpha"]) + (5 if host == "mgd" else 3))
    best = 0.3 + 0.02 * (host == "mgd") - 0.02 * far + 1e-5 * values["augment.area_threshold"]
    return tuple(best * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1))


def made(count: int = 24, repeated: int = 4, noise: float = 0.002, seed: int = 0) -> Recording:
    rng = np.random.default_rng(seed)
    found: list[Training] = []
    for index in range(count):
        host = ("fgd", "mgd")[int(rng.integers(2))]
        low, high = SPACE["parameters"][f"distill.{host}.alpha"]["log_uniform"]
        alpha = math.exp(rng.uniform(math.log(low), math.log(high)))
        threshold = int(rng.choice([1024, 2304, 4096]))
        values = {"distill.host": host, f"distill.{host}.alpha": alpha, "augment.area_threshold": threshold}
        for repeat in range(3 if index < repeated else 1):
            curve = tuple(value + noise * rng.standard_normal() for value in curve_of(values))
            found.append(Training(values, repeat, True, curve, (1.0,) * EPOCHS))
    return Recording("made", SPACE, {"schedule.epochs": EPOCHS}, tuple(found))
