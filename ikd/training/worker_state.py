"""Forgetting a trial, so that a worker process can run the next one as if it were fresh."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
from collections.abc import Iterator
from functools import lru_cache

import cv2
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from ikd.config import Recipe
from ikd.errors import BadInput, first_line

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@lru_cache(maxsize=1)
def settle() -> None:
    """Take everything imported so far out of the garbage collector's sight, once a process.

    mmengine collects twice per data set, and `reset` once per trial; walking the half million objects of torch and
    mmdet each time took longer than a short epoch.
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def borrowed_process(threads: int) -> Iterator[None]:
    """Run a trial with so many torch threads, and give the process back as it was.

    mmengine sets OpenCV's threads and how processes are started, for good.
    """
    before = torch.get_num_threads(), cv2.getNumThreads(), multiprocessing.get_start_method(allow_none=True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        multiprocessing.set_start_method(before[2], force=True)
        reset()


@contextlib.contextmanager
def determinism(recipe: Recipe) -> Iterator[None]:
    """Have torch compute the same bits every time where the recipe asks for it, and leave the process as it was.

    Raises:
        BadInput: an operation of the detectors or losses has no deterministic form on this device.
    """
    if not recipe.deterministic:
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    workspace = os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")  # torch refuses cuBLAS without it
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        rule = f"must be false: torch has no deterministic form of what it trains ({first_line(error)})"
        raise BadInput(f"recipe {recipe.name}: deterministic: {rule}") from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


def reset() -> None:
    """Drop every process-wide state that mmengine, mmdet and torch keep of a trial.

    mmengine keeps loggers, message hubs, visualisers and scopes by experiment name for the life of the process, with
    references to files and models; a second trial would find the first one's.
    """
    for manager in (MessageHub, Visualizer, DefaultScope, MMLogger):
        for instance in manager._instance_dict.values():
            for handler in list(instance.handlers) if isinstance(instance, MMLogger) else ():
                handler.close()
                instance.removeHandler(handler)
        manager._instance_dict.clear()
    if (compiler := sys.modules.get("torch._dynamo")) is not None:
        compiler.reset()  # what was compiled for a trial's backbones
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
