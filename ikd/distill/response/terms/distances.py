"""Localisation distillation (Zheng et al., CVPR 2022), between heads that predict distributions of distances."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ikd.distill.response.terms.regions import valuable_regions
from ikd.distill.views import Assignment, Locations
from ikd.distill.views.distances import divergence

_EPS = 1e-6
_SIDES = 4


def ld(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    w: float,
    temperature: float,
    w_vlr: float,
    vlr_gamma: float,
    vlr_weight: str,
    w_kd: float,
    kd_temperature: float,
    reduction: str,
    published: bool,
) -> dict[str, Tensor]:
    r"""Return `main` at positives, `vlr` in the valuable region around objects, and `kd` of classes at positives.

    Places count by v: the student's own highest score at positives, the overlap of anchor and object (`iou`) or 1
    (`mask`) in the valuable region. `mean` divides by the sum of v, `published` by 4 and 16 alone, and by the bins.
    `published` regions divide the overlap by the anchor's area rather than the union's. A weight of 0 leaves its loss
    out; without objects in the assignment, or bins in both heads, there is no region, or nothing.

    References:
        Zheng et al., Localization Distillation for Dense Object Detection, CVPR 2022; `HikariTJU/LD`.
    """
    assert student.bins is not None
    assert teacher.bins is not None
    surest = student.logits.detach().sigmoid().amax(dim=-1)
    weighted = partial(_weighted, student.bins, teacher.bins, temperature=temperature, mean=reduction == "mean")
    found = {"main": w * weighted(surest * assigned.positive, share=1.0)}
    if w_vlr and assigned.objects is not None:
        regions = valuable_regions(student, assigned.objects, gamma=vlr_gamma, published=published)
        value = (regions > 0).to(regions.dtype) if vlr_weight == "mask" else regions
        found["vlr"] = w_vlr * weighted(value, share=0.25)
    if w_kd:
        found["kd"] = w_kd * _class_loss(student, teacher, assigned, kd_temperature)
    return found


def _weighted(ours: Tensor, theirs: Tensor, value: Tensor, *, temperature: float, mean: float, share: float) -> Tensor:
    """Return the divergences of the places with a value, weighted by it; `share` of the published sum."""
    at = value > 0
    value = value[at]
    total = (divergence(ours[at], theirs[at], temperature).mean(dim=-1) * value).sum()
    if not mean:
        return total * share / ours.shape[-1]
    from mmdet.utils import reduce_mean

    return total / reduce_mean(value.sum()).clamp(min=_EPS)


def _class_loss(student: Locations, teacher: Locations, assigned: Assignment, temperature: float) -> Tensor:
    """Return the divergence of the classes, as softmaxes, averaged over the positives of each level and classes."""
    parts = []
    sizes = [level.places for level in student.levels]
    sides = [torch.split(side, sizes, dim=1) for side in (student.logits, teacher.logits)]
    marks = torch.split(assigned.positive, sizes, dim=1)
    for ours, theirs, at in zip(*sides, marks, strict=True):
        found = divergence(ours[at], theirs[at], temperature).sum() / student.logits.shape[-1]
        parts.append(found / at.sum().clamp(min=1))
    return torch.stack(parts).sum()
