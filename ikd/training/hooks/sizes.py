"""The size of a batch, where sizes vary by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ikd.config import BatchScale


class SizeHook(Hook):
    """Tells the model by which factor it resizes its batches.

    Args:
        section: a recipe's `input.batch_scale`.
        seed: of the trial.
    """

    def __init__(self, section: BatchScale, seed: int) -> None:
        self._section, self._seed = section, seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set it, by seed, epoch and step alone, so that all processes and every restart agree."""
        words = [self._seed, 0x512E, runner.epoch, batch_idx // self._section.every]
        low, high = self._section.ratio
        runner.model.resize = float(np.random.default_rng(words).uniform(low, high))
