"""Trials one after the other in one process leave nothing behind."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import random
import statistics
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from mmengine import registry
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, Registry
from mmengine.visualization import Visualizer

from ikd.config import Recipe
from ikd.errors import NonFiniteLoss
from ikd.training import EpochReport, StopTrial, prepare, run_trial
from ikd.trial import TrialOptions

Build = Callable[..., Recipe]
State = dict[str, Any]
MEBIBYTE = 2**20
SET_ON_IMPORT = {"PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR"}
"""What pytest and torch set when it suits them."""


def process_state() -> State:
    """Return what belongs to the process and not to what was imported into it."""
    return {
        "threads of torch": torch.get_num_threads(),
        "threads of OpenCV": cv2.getNumThreads(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "default type": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "gradients": torch.is_grad_enabled(),
        "warnings": len(warnings.filters),
        "path": list(sys.path),
        "environment": {name: value for name, value in os.environ.items() if name not in SET_ON_IMPORT},
        "folder": Path.cwd(),
    }


def kept_state() -> State:
    """Return how much of everything a trial could leave there is."""
    gc.collect()
    tracked = gc.get_objects()
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asking a lazy object of torch what it is wakes it up
        tensors = sum(isinstance(one, torch.Tensor) for one in tracked)
    return {
        "tensors": tensors,
        "modules": sum(issubclass(type(one), torch.nn.Module) for one in tracked),
        "managed": [len(kind._instance_dict) for kind in (DefaultScope, MMLogger, MessageHub, Visualizer)],
        "registered": {name: size(one) for name, one in vars(registry).items() if isinstance(one, Registry)},
        "loggers": len(loggers),
        "handlers": sum(len(one.handlers) for one in (logging.root, *loggers)),
        "open handlers": len(logging._handlerList),  # type: ignore[attr-defined]
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": len(multiprocessing.active_children()),
        "files": len(os.listdir("/proc/self/fd")),
        "device memory": torch.cuda.memory_allocated() if torch.cuda.is_available() else 0,
    }


def size(one: Registry) -> int:
    return len(one._module_dict) + sum(size(child) for child in one._children.values())


def memory() -> int:
    """Return the bytes this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Worker:
    """Runs trials of all kinds and ends, and notes what each leaves.

    Args:
        build: of recipes of one epoch.
        folder: of the trials.
    """

    def __init__(self, build: Build, folder: Path) -> None:
        self.folder, self.kept, self.sizes = folder, list[State](), list[int]()
        available = build().teachers.available["big"].model_dump(mode="json")
        staged = {"teachers.available": {"big": available, "again": available}, "teachers.sequence": ["big", "again"]}
        self._recipes = [
            build(),
            build(schedule__workers=1),
            build(distill__host="mgd", adversarial__enabled=False),
            build(distill__fgd__alpha=3e38, distill__fgd__beta=3e38),  # diverges
            build().with_values({**staged, "schedule.epochs": 2, "adversarial.enabled": False}),
            build(schedule__epochs=2),  # stopped after the first
        ]

    def train(self, number: int) -> None:
        recipe = self._recipes[number % len(self._recipes)]
        recipe = recipe.with_values({"schedule.optimizer.lr": random.Random(number).uniform(1e-4, 1e-3)})
        try:
            run_trial(
                recipe,
                self._stop,
                directory=self.folder / str(number),
                threads=1,
                prepared=prepare(recipe),
                options=TrialOptions(costs=("gflops",) if number % 4 == 0 else ()),
            )
        except NonFiniteLoss:
            assert number % len(self._recipes) == 3
        self.kept.append(kept_state())
        self.sizes.append(memory())

    @staticmethod
    def _stop(report: EpochReport) -> None:
        if "stage" not in report.metrics:
            raise StopTrial


@pytest.mark.slow
def test_six_trials_leave_nothing(tiny_recipe: Build, tmp_path: Path) -> None:
    check(tiny_recipe, tmp_path, trials=6)


@pytest.mark.slow
def test_fifty_trials_leave_nothing(tiny_recipe: Build, tmp_path: Path) -> None:
    worker = check(tiny_recipe, tmp_path, trials=50)
    second, last = (statistics.median(worker.sizes[part]) for part in (slice(12, 24), slice(38, 50)))
    print(f"\nmemory of a process from trial 18 to trial 44: {(last - second) / MEBIBYTE:+.1f} MiB")
    assert last - second < 0.25 * MEBIBYTE * 26, "a quarter of a mebibyte a trial is the allocator's"


def check(build: Build, folder: Path, *, trials: int) -> Worker:
    """Run trials after one of each kind that imports what it needs; each must leave what the first did."""

    def brief(**changes: Any) -> Recipe:
        recipe: Recipe = build(**{"schedule__epochs": 1, **changes})
        return recipe

    worker = Worker(brief, folder)
    before = process_state()
    for number in range(6 if trials > 6 else 1):
        worker.train(-6 + number)
    for noted in (worker.kept, worker.sizes):
        noted.clear()
    for number in range(trials):
        worker.train(number)
    for number, kept in enumerate(worker.kept):
        assert kept == worker.kept[0], f"after trial {number}"
    assert process_state() == before
    return worker
