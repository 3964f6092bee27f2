"""Relational Knowledge Distillation (Park et al., CVPR 2019), between the objects of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets, box_spans

EPS = 1e-12
"""Least length of a direction."""
LEAST_DISTANCE = 1e-6
"""Embeddings that are less apart are equal."""
LEAST = 3
"""Objects that have a relation: of two the one distance is its own mean."""
Partners = tuple[Tensor, Tensor]


class RKD(nn.Module):
    r"""RKD for one pyramid level: how the objects of a batch lie to each other, in student and teacher.

    .. math:: L = w_d \, \mathrm{mean}_{ij} \, h\big(\tfrac{|s_i - s_j|}{\mu_S}, \tfrac{|t_i - t_j|}{\mu_T}\big)
        + w_a \, \mathrm{mean}_{ijk} \, h\big(\cos(s_j, s_i, s_k), \cos(t_j, t_i, t_k)\big)

    with h the smooth L1 distance, :math:`\mu` the mean of the distances that are not 0, and the cosine that of the
    angle at i. An object's embedding is the mean of the cells that its box covers (those of FGD), of length 1 where
    `normalise` says so. Objects of all images of a batch are compared, so that its loss is not the mean of those of its
    images. Of two objects the one distance is its own mean, and there is no angle: below three the loss is 0.

    Where prototypes act within it, those of the level stand in the places j and k: an object is compared with
    prototypes and not with other objects. It takes one object and two prototypes then, at most `most` of either.

    Args:
        w_distance: w_d.
        w_angle: w_a.
        normalise: embeddings of length 1.
        most: objects that are compared, drawn at random where there are more; memory grows with their cube.

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, Eqs. 4-9; `lenscloth/RKD:metric/loss.py`. Between
        objects of detectors as in Tang et al., ECCV 2022.
    """

    def __init__(self, *, w_distance: float, w_angle: float, normalise: bool, most: int) -> None:
        super().__init__()
        self.w_distance, self.w_angle, self.normalise, self.most = w_distance, w_angle, normalise, most

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        ours, theirs = self._chosen(embeddings(student, targets), embeddings(teacher, targets))
        others = None if targets.partners is None else self._chosen(*targets.partners)
        enough = len(ours) >= LEAST if others is None else len(ours) > 0 and len(others[0]) >= LEAST - 1
        if not enough:
            return student.sum() * 0
        apart = distance_loss(ours, theirs, others)
        return self.w_distance * apart + self.w_angle * angle_loss(ours, theirs, others)

    def _chosen(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of both sides that are compared, drawn where there are too many."""
        if len(ours) > self.most:
            drawn = torch.randperm(len(ours), device=ours.device)[: self.most]
            ours, theirs = ours[drawn], theirs[drawn]
        if self.normalise:
            ours, theirs = (F.normalize(side, dim=1) for side in (ours, theirs))
        return ours, theirs


def embeddings(features: Tensor, targets: Targets) -> Tensor:
    """Return the mean of a map [N, C, H, W] over the cells of each box, [n, C], of boxes that lie on the map."""
    in_rows, in_columns, _ = box_spans(targets, (features.shape[2], features.shape[3]))
    on_map = (in_rows.sum(dim=2) * in_columns.sum(dim=2)).unsqueeze(2)  # [N, b, 1], cells
    sums = torch.einsum("nbh,nchw,nbw->nbc", in_rows.to(features.dtype), features, in_columns.to(features.dtype))
    return (sums / on_map.clamp(min=1).to(features.dtype))[on_map.squeeze(2) > 0]


def distance_loss(student: Tensor, teacher: Tensor, partners: Partners | None = None) -> Tensor:
    """Return the mean smooth L1 distance of the distances between embeddings [n, C] of each side, over their mean.

    Args:
        student: embeddings of objects.
        teacher: of the same.
        partners: what they are compared with, student's and teacher's [m, C]; None is one another.
    """
    ours, theirs = partners or (student, teacher)
    return F.smooth_l1_loss(_relative_distances(student, ours), _relative_distances(teacher, theirs))


def angle_loss(student: Tensor, teacher: Tensor, partners: Partners | None = None) -> Tensor:
    """Return the mean smooth L1 distance of the cosines at each embedding [n, C] between every two partners.

    Arguments are those of `distance_loss`.
    """
    ours, theirs = partners or (student, teacher)
    return F.smooth_l1_loss(_cosines(student, ours), _cosines(teacher, theirs))


def _relative_distances(embedded: Tensor, partners: Tensor) -> Tensor:
    # not by a product of matrices, which rounds; its gradient between equal ones is 0
    distances = torch.cdist(embedded, partners, compute_mode="donot_use_mm_for_euclid_dist")
    apart = distances > LEAST_DISTANCE
    distances = distances * apart
    mean = distances.sum() / apart.sum().clamp(min=1)
    return distances / mean.masked_fill(mean == 0, 1.0)


def _cosines(embedded: Tensor, partners: Tensor) -> Tensor:
    directions = F.normalize(partners[None] - embedded[:, None], dim=2, eps=EPS)  # [i, j, C]
    return directions @ directions.transpose(1, 2)
