"""Batch norms of several processes that train one model."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from mmengine.model.utils import convert_sync_batchnorm, revert_sync_batchnorm
from torch import nn

from ikd.config import Recipe


def shared_norms(recipe: Recipe, student: nn.Module) -> nn.Module:
    """Return the student with its batch norms as a recipe wants them: over all processes, or each for itself.

    A detector may bring norms over all processes of its own (RTMDet). A CPU has none, so that there each is for itself.
    Names and shapes of weights stay.
    """
    if get_world_size() == 1:
        return student
    if recipe.device == "cpu" or not torch.cuda.is_available():
        each: nn.Module = revert_sync_batchnorm(student)
        return each
    whole: nn.Module = convert_sync_batchnorm(student) if recipe.schedule.sync_norm else student
    return whole
