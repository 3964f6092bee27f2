"""What a detector costs at the size of the images it sees: parameters, multiply-adds, time."""

from __future__ import annotations

import functools
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.registry import DefaultScope

from ikd.detectors.build import quiet

WARM_UP, REPEATS, LIMIT_SECONDS = 3, 30, 5.0


@dataclass(frozen=True)
class Complexity:
    """What a detector costs.

    Attributes:
        parameters: number of weights, buffers not counted.
        macs: multiply-adds of one image, which mmdet's get_flops prints as FLOPs: one for each weight that a value of a
            convolution takes, two for a value of a norm, none for activations; None where they cannot be counted.
        height: of the padded input, px.
        width: of the padded input, px.
        reason: why there are no `macs`.
    """

    parameters: int
    macs: int | None
    height: int
    width: int
    reason: str = ""


@torch.no_grad()
def complexity(detector: Any, dataset: Any) -> Complexity:
    """Count a detector's cost on one image of the most frequent size of a data set (its first one, as padded).

    Args:
        detector: in eval mode.
        dataset: mmdet's test data set with its pipeline.
    """
    with DefaultScope.overwrite_default_scope("mmdet"):
        data = _typical(detector, dataset)
        height, width = data["inputs"].shape[-2:]
        macs, reason = _count(detector, data)
    return Complexity(sum(tensor.numel() for tensor in detector.parameters()), macs, height, width, reason)


@torch.no_grad()
def latency_ms(detector: Any, dataset: Any) -> float:
    """Return the median time of the network on the same one image, in milliseconds, on the detector's device.

    What follows the network (decoding, non-maximum suppression) depends on the weights and is left out where the
    detector's plain forward pass leaves it out, as one-stage detectors do.

    Args:
        detector: in eval mode.
        dataset: mmdet's test data set with its pipeline.
    """
    found: list[float] = []
    with DefaultScope.overwrite_default_scope("mmdet"):
        data = _typical(detector, dataset)
        wait: Callable[[], None] = torch.cuda.synchronize if data["inputs"].is_cuda else lambda: None
        began = time.perf_counter()
        while len(found) < WARM_UP + REPEATS:
            start = time.perf_counter()
            detector.forward(**data, mode="tensor")
            wait()
            found.append(time.perf_counter() - start)
            if start - began > LIMIT_SECONDS and len(found) > WARM_UP:
                break
    return 1e3 * statistics.median(found[WARM_UP:])


def _typical(detector: Any, dataset: Any) -> dict[str, Any]:
    """Return one preprocessed image of the most frequent size, as a batch."""
    sizes = [(info["height"], info["width"]) for info in map(dataset.get_data_info, range(len(dataset)))]
    sample = dataset[sizes.index(Counter(sizes).most_common(1)[0][0])]
    batch = {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
    data: dict[str, Any] = detector.data_preprocessor(batch, False)
    return data


def _count(detector: Any, data: Any) -> tuple[int | None, str]:
    original = detector.forward
    # a two-stage detector's forward needs the samples, and the counter passes tensors only
    detector.forward = functools.partial(original, data_samples=data["data_samples"])
    try:
        with quiet(""):  # it lists every operation that it takes for free
            found = get_model_complexity_info(detector, inputs=data["inputs"], show_table=False, show_arch=False)
        return int(found["flops"]), ""
    except Exception as error:  # tracing fails in many ways, and a cost that is not known stops no export
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    finally:
        del detector.forward
