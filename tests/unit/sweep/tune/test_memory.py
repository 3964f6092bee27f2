"""A trial is held to its share of a GPU, and only what exceeds that is its own fault."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import JobError
from ikd.sweep.tune.memory import OUTSIDE_BYTES, is_memory_fault, keep_to, own_fault
from tests.unit.sweep.tune.test_worker_starts import Training, train

GIB = 2**30
TORCH = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 1 MiB is free."
)
CUDNN = "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"
CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


class Gpu:
    """80 GiB, of which this process has had `reserved` bytes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reserved, self.fraction, self.resets = 0.0, 0.0, 0
        for name, value in {
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "get_device_properties": lambda _: SimpleNamespace(total_memory=80 * GIB),
            "max_memory_reserved": lambda: int(self.reserved),
            "set_per_process_memory_fraction": lambda value: setattr(self, "fraction", value),
            "reset_peak_memory_stats": lambda: setattr(self, "resets", self.resets + 1),
        }.items():
            patch.setattr(torch.cuda, name, value)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch)


@pytest.mark.parametrize(
    ("share", "fraction"),
    [(0.5, 0.5 - OUTSIDE_BYTES / (80 * GIB)), (0.01, 0.005), (1.0, 1.0), (2.0, 1.0), (0.0, 0.0)],
)
def test_a_share_is_enforced(gpu: Gpu, share: float, fraction: float) -> None:
    keep_to(share)
    assert gpu.fraction == pytest.approx(fraction)
    assert gpu.resets == (share > 0)


@pytest.mark.parametrize("text", [TORCH, CUDNN, CUBLAS])
def test_what_says_that_memory_ran_out(text: str) -> None:
    assert is_memory_fault(RuntimeError(text))
    assert is_memory_fault(MemoryError())
    assert not is_memory_fault(RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"))


@pytest.mark.parametrize(
    ("text", "share", "reserved", "own"),
    [
        (TORCH, 0.5, 38.0, True),  # 38 + 2 GiB are more than 39.25
        (TORCH, 0.5, 30.0, False),
        (CUDNN, 0.5, 39.5, True),
        (CUDNN, 0.5, 30.0, False),
        (CUBLAS, 0.25, 10.0, False),
        (TORCH, 1.0, 30.0, True),  # nobody shares a whole GPU
        (TORCH, 0.0, 30.0, True),
    ],
)
def test_whose_fault_it_is(gpu: Gpu, text: str, share: float, reserved: float, *, own: bool) -> None:
    gpu.reserved = reserved * GIB
    reason = own_fault(torch.OutOfMemoryError(text), share)
    assert (reason is not None) == own
    assert reason is None or text.splitlines()[0] in reason


def test_the_trials_own_fault_ends_it_with_advice(gpu: Gpu, tmp_path: Path, recipe: Recipe) -> None:
    gpu.reserved = 38 * GIB
    told = train(Training(torch.OutOfMemoryError(TORCH)), recipe, tmp_path, gpus=0.5)
    assert told[-1]["state"] == "failed"
    assert "its share of the GPU is 0.5, 39.2 GiB: use a smaller schedule.batch_size" in told[-1]["reason"]
    assert "raise trial.gpus in the runner" in told[-1]["reason"]


@pytest.mark.parametrize("text", [TORCH, CUDNN])
def test_a_neighbours_fault_is_raised_so_that_ray_tries_again(
    gpu: Gpu, tmp_path: Path, recipe: Recipe, text: str
) -> None:
    gpu.reserved = 10 * GIB
    with pytest.raises(JobError, match=r"the GPU is full though this trial keeps within its share"):
        train(Training(RuntimeError(text)), recipe, tmp_path, gpus=0.5)
    assert "within its share" not in (tmp_path / "trials" / "3" / "train.log").read_text()


def test_main_memory_is_nobodys_share(gpu: Gpu, tmp_path: Path, recipe: Recipe) -> None:
    told = train(Training(MemoryError("no more")), recipe, tmp_path, gpus=0.5)
    assert "out of memory: no more; use a smaller schedule.batch_size, or run fewer trials" in told[-1]["reason"]
