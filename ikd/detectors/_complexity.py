"""Parameters and multiply-adds of a detector at the size of the images it sees."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.registry import DefaultScope

from ikd.detectors import quiet


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
    sizes = [(info["height"], info["width"]) for info in map(dataset.get_data_info, range(len(dataset)))]
    sample = dataset[sizes.index(Counter(sizes).most_common(1)[0][0])]
    with DefaultScope.overwrite_default_scope("mmdet"):
        batch = {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
        data = detector.data_preprocessor(batch, False)
        height, width = data["inputs"].shape[-2:]
        macs, reason = _count(detector, data)
    return Complexity(sum(tensor.numel() for tensor in detector.parameters()), macs, height, width, reason)


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
