"""Which instances of a class become its prototypes: Global Knowledge's own choice and those of its Table 6."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ikd.distill.prototypes.selection import dense, density, greedy, unit

Method = Literal["greedy", "kmeans", "dbscan", "random", "ambiguous"]
Space = Literal["teacher", "student"]
CORE = 5
"""Neighbours, itself counted, that make an instance a core of DBSCAN; scikit-learn's own default."""


@dataclass(frozen=True)
class Choice:
    """How prototypes are chosen.

    Attributes:
        method: `greedy` is PGM. `kmeans` takes the instance nearest to each centre, `dbscan` that nearest to the mean
            of each of the largest clusters, `random` any, `ambiguous` those whose likeness to the mean of their class
            differs most between the spaces. The paper names these four without saying how: they are reconstructions.
        count: K, largest number of prototypes of a class and level.
        strength: lambda of Eq. 2, for `greedy`.
        bandwidth: of the density for `greedy`, in units of 1 - cosine; for `dbscan` the reach of a neighbour.
        quantile: share of instances, by density, that are no candidates of `greedy`.
        space: whose features `kmeans` and `dbscan` look at.
        seed: for what is drawn.
    """

    method: Method
    count: int
    strength: float
    bandwidth: float
    quantile: float
    space: Space
    seed: int = 0


def choose(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    """Return the indices of the instances chosen, [k] (long), k at most `count` and at most n; none twice.

    Args:
        teacher: features of the instances of one class on one level, [n, d].
        student: of the same, [n, e].
        choice: how.
    """
    if not len(teacher):
        return torch.zeros(0, dtype=torch.long, device=teacher.device)
    return _METHODS[choice.method](teacher, student, choice)


def _greedy(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    candidates = dense(teacher, student, bandwidth=choice.bandwidth, quantile=choice.quantile)
    return greedy(teacher, student, candidates, count=choice.count, strength=choice.strength).indices


def _kmeans(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = unit(teacher if choice.space == "teacher" else student)
    known = rows.double().cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct instances than centres
        found = KMeans(min(choice.count, len(known)), n_init=1, random_state=choice.seed).fit(known)
    return _nearest(rows, [rows.new_tensor(centre) for centre in found.cluster_centers_])


def _dbscan(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    from sklearn.cluster import DBSCAN

    rows = unit(teacher if choice.space == "teacher" else student)
    groups = DBSCAN(eps=choice.bandwidth, min_samples=CORE, metric="cosine").fit(rows.double().cpu().numpy()).labels_
    sizes = np.bincount(groups[groups >= 0]) if (groups >= 0).any() else np.zeros(0, dtype=int)
    largest = np.argsort(-sizes, kind="stable")[: choice.count]
    if not len(largest):  # everything is noise: the one with most neighbours
        return density(rows, choice.bandwidth).argmax()[None]
    members = [torch.as_tensor(np.flatnonzero(groups == group), device=rows.device) for group in largest]
    return torch.stack([of[(rows[of] @ rows[of].mean(dim=0)).argmax()] for of in members])


def _random(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    drawn = np.random.default_rng(choice.seed).permutation(len(teacher))[: choice.count]
    return torch.as_tensor(np.sort(drawn), device=teacher.device)


def _ambiguous(teacher: Tensor, student: Tensor, choice: Choice) -> Tensor:
    theirs, ours = (unit(side) @ unit(unit(side).mean(dim=0, keepdim=True))[0] for side in (teacher, student))
    return (theirs - ours).abs().sort(descending=True, stable=True).indices[: choice.count]


def _nearest(rows: Tensor, centres: list[Tensor]) -> Tensor:
    """Return the row nearest to each centre that no earlier one has taken."""
    free = torch.zeros(len(rows), dtype=rows.dtype, device=rows.device)
    chosen = []
    for centre in centres:
        best = ((rows - centre).square().sum(dim=1) + free).argmin()
        free[best] = torch.inf
        chosen.append(best)
    return torch.stack(chosen)


_METHODS: Mapping[Method, Callable[[Tensor, Tensor, Choice], Tensor]] = {
    "greedy": _greedy,
    "kmeans": _kmeans,
    "dbscan": _dbscan,
    "random": _random,
    "ambiguous": _ambiguous,
}


def hyperparameters(section: Any) -> Choice:
    """Return the choice that a recipe's `distill.prototypes` says; its seed is for the caller to set."""
    return Choice(**{one.name: getattr(section, one.name) for one in fields(Choice) if one.name != "seed"})
