"""What a detector costs, against counting by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ikd.detectors import complexity, latency_ms


class Toy(nn.Module):
    """One convolution behind a preprocessor, called as mmdet's detectors are."""

    def __init__(self, channels: int, seconds: float = 0.0) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, kernel_size=3, padding=1)
        self.seconds, self.calls = seconds, 0

    def data_preprocessor(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        return {"inputs": torch.stack(data["inputs"]).float(), "data_samples": data["data_samples"]}

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Tensor:
        assert (mode, len(data_samples)) == ("tensor", 1)
        self.calls += 1
        time.sleep(self.seconds * (5 if self.calls % 7 == 0 else 1))  # now and then something else runs
        found: Tensor = self.convolution(inputs)
        return found


class Images:
    """Three images, two of them of 16 x 20 pixels."""

    sizes = ((8, 8), (16, 20), (16, 20))

    def __len__(self) -> int:
        return len(self.sizes)

    def get_data_info(self, index: int) -> dict[str, int]:
        return dict(zip(("height", "width"), self.sizes[index], strict=True))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"inputs": torch.zeros(3, *self.sizes[index], dtype=torch.uint8), "data_samples": object()}


@pytest.mark.parametrize("channels", [4, 8])
def test_counts_are_those_by_hand(channels: int) -> None:
    found = complexity(Toy(channels).eval(), Images())
    assert found.parameters == channels * (3 * 9 + 1)
    assert found.macs == channels * 3 * 9 * 16 * 20
    assert (found.height, found.width) == (16, 20)


def test_latency_is_the_median() -> None:
    """Sleeps of 4 ms with some of 20 ms between: the mean would be 6 ms."""
    toy = Toy(4, seconds=0.004)
    assert 4.0 <= latency_ms(toy.eval(), Images()) < 20.0
    assert toy.calls == 33, "3 of warm-up, 30 that count"
    assert latency_ms(Toy(4, seconds=0.012).eval(), Images()) >= 12.0
