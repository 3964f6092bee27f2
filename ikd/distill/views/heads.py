"""How each dense head of mmdet is read: a row each, by the name of its class; subclasses only where listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from ikd.distill.losses.imitation.frs import richness_of
from ikd.distill.recording import Call
from ikd.distill.views import labelled
from ikd.distill.views.locations import Assignment, Level, Locations, place_logits, unassigned
from ikd.distill.views.priors import decoded, middles, priors_of, strides_at
from ikd.errors import refuse

_SURE = 1e-6
"""Probabilities of TOOD are kept this far from 0 and 1 before they become logits."""
Maps = Sequence[Tensor]


@dataclass(frozen=True)
class DenseRow:
    """What is particular to a dense head.

    Attributes:
        read: of the head, its outputs and its levels, gives the view.
        targets: the method whose calls say what the student's loss makes of its places.
        labelled: of the head, these calls, and the number of images, gives labels and weights, [N, M].
        told: of the head, these calls, and the view, gives what tells objects of one class and image apart, [N, M, D]:
            the box that each place has to predict, in input pixels, or the number of its object.
        one_each: an image without positives counts as one, as in the head's own loss.
        coded: what it says of boxes are offsets from anchors, the second of its outputs.
    """

    read: Callable[[Any, Sequence[Maps], Sequence[Level]], Locations]
    labelled: Callable[[Any, Sequence[Call], int], tuple[Tensor, Tensor]]
    told: Callable[[Any, Sequence[Call], Locations], Tensor]
    targets: str = "get_targets"
    one_each: bool = True
    coded: bool = False


def strides_of(head: Any) -> list[float]:
    """Return the stride of each level of a dense head, in input pixels."""
    return [float(one[0] if isinstance(one, (tuple, list)) else one) for one in head.prior_generator.strides]


def levels_of(head: Any, maps: Maps) -> list[Level]:
    """Return the levels of a dense head whose class outputs these are."""
    found = []
    for stride, one in zip(strides_of(head), maps, strict=True):
        height, width = one.shape[2:]
        found.append(Level(stride, height, width, one.shape[1] // head.cls_out_channels))
    return found


def flat(maps: Maps, size: int) -> Tensor:
    """Bring levels of [N, A size, H, W] to [N, M, size], in the order level, row, column, anchor, float32 or above."""
    parts = [one.permute(0, 2, 3, 1).reshape(len(one), -1, size) for one in maps]
    joined = torch.cat(parts, dim=1)
    return joined if joined.dtype == torch.float64 else joined.float()


def maps_of(values: Tensor, levels: Sequence[Level]) -> list[Tensor]:
    """Bring [N, M, size] to levels of [N, A size, H, W], as `flat` had them."""
    parts = torch.split(values, [level.places for level in levels], dim=1)
    return [
        one.reshape(len(one), level.height, level.width, -1).permute(0, 3, 1, 2)
        for one, level in zip(parts, levels, strict=True)
    ]


def locations(head: Any, outputs: Sequence[Maps]) -> Locations:
    """Return what a dense head says.

    Args:
        head: of a class in `ROWS`, or an RPN's.
        outputs: of its forward: maps a level of each kind.
    """
    return row_of(head).read(head, outputs, levels_of(head, outputs[0]))


def regressed(head: Any, outputs: Sequence[Maps], said: Locations) -> Tensor:
    """Return what a dense head says of boxes in units of its own, [N, M, 4]: an anchor's offsets, or strides.

    Args:
        head: of a class in `ROWS`, or an RPN's.
        outputs: of its forward.
        said: what `locations` makes of them.
    """
    if row_of(head).coded:
        return flat(outputs[1], 4)
    assert said.centres is not None
    sides = [said.centres - said.boxes[..., :2], said.boxes[..., 2:] - said.centres]
    return torch.cat(sides, dim=-1) / strides_at(said.levels, said.boxes)


def assignment(head: Any, calls: Sequence[Call], images: int, objects: Sequence[Tensor] | None = None) -> Assignment:
    """Return what a student's loss made of its places.

    Args:
        head: of a class in `ROWS`, or an RPN's.
        calls: of its row's `targets` during one loss.
        images: N.
        objects: boxes of the truth, [G, 4] an image.
    """
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    row = row_of(head)
    labels, weights = row.labelled(head, calls, images)
    weight = (weights != 0).float()
    positive = (labels >= 0) & (labels < head.num_classes) & (weight > 0)
    counts = positive.sum(dim=1).float()
    count = counts.clamp(min=1).sum() if row.one_each else counts.sum()
    return Assignment(weight, positive, reduce_mean(count).clamp(min=1), objects)


class Labelling(Protocol):
    """What one loss of the student left behind of how it labels places."""

    @property
    def calls(self) -> Sequence[Call]: ...  # noqa: D102

    @property
    def labelled(self) -> bool: ...  # noqa: D102


def counted(
    head: Any, seen: Labelling, images: int, theirs: Locations, objects: Sequence[Tensor] | None = None
) -> Assignment:
    """Return what a student's loss made of its places, with a count that suits sums over all of them.

    Of images with the teacher's boxes that is what its scores add up to. How many of its boxes are sure enough to be
    labels is a threshold's choice: divided by their places, a sum would be as large as these are few.

    Args:
        head: of a class in `ROWS`, or an RPN's.
        seen: its `targets` calls, and whether boxes of the images are the truth.
        images: N.
        theirs: what the teacher says of the images.
        objects: boxes of the truth, [G, 4] an image.
    """
    found = assignment(head, seen.calls, images, objects)
    return found if seen.labelled else found._replace(count=unassigned(theirs).count)


def labels_of(head: Any, calls: Sequence[Call], images: int) -> Tensor:
    """Return the class that each place has to predict, [N, M]; arguments as of `assignment`."""
    return row_of(head).labelled(head, calls, images)[0]


def row_of(head: Any) -> DenseRow:
    """Return the row of a head; an RPN speaks and labels its places as a RetinaNet does."""
    name = type(head).__name__
    return ROWS["RetinaHead" if name == "RPNHead" else name]


def _by_anchors(head: Any, outputs: Sequence[Maps], levels: Sequence[Level], *, quality: bool) -> Locations:
    coded = flat(outputs[1], 4)
    priors = priors_of(head.prior_generator, levels, coded)
    return Locations(
        flat(outputs[0], head.cls_out_channels),
        decoded(head, priors, coded),
        quality=flat(outputs[2], 1).squeeze(2) if quality else None,
        levels=levels,
        centres=middles(priors),
        softmax=not head.use_sigmoid_cls,
    )


def _by_points(
    head: Any, outputs: Sequence[Maps], levels: Sequence[Level], *, quality: bool, generator: str = "prior_generator"
) -> Locations:
    """Read distances in pixels; FCOS says them in strides while it trains with `norm_on_bbox`."""
    coded = flat(outputs[-1] if generator == "fcos_prior_generator" else outputs[1], 4)
    if type(head).__name__ == "FCOSHead" and head.norm_on_bbox and head.training:
        coded = coded * strides_at(levels, coded)
    points = priors_of(getattr(head, generator), levels, coded)
    return Locations(
        flat(outputs[0], head.cls_out_channels),
        decoded(head, points, coded),
        quality=flat(outputs[2], 1).squeeze(2) if quality else None,
        levels=levels,
        centres=points,
    )


def _by_bins(head: Any, outputs: Sequence[Maps], levels: Sequence[Level]) -> Locations:
    bins = flat(outputs[1], 4 * (head.reg_max + 1)).view(len(outputs[1][0]), -1, 4, head.reg_max + 1)
    reach = (bins.softmax(dim=3) * torch.arange(bins.shape[3], device=bins.device)).sum(dim=3)
    centres = middles(priors_of(head.prior_generator, levels, bins))
    return Locations(
        flat(outputs[0], head.cls_out_channels),
        decoded(head, centres, reach * strides_at(levels, reach)),
        bins=bins,
        levels=levels,
        centres=centres,
        softmax=not head.use_sigmoid_cls,
    )


def _aligned(head: Any, outputs: Sequence[Maps], levels: Sequence[Level]) -> Locations:
    """Read TOOD, which says probabilities, and boxes in strides."""
    boxes = flat(outputs[1], 4)
    sure = flat(outputs[0], head.cls_out_channels).clamp(_SURE, 1 - _SURE)
    centres = middles(priors_of(head.prior_generator, levels, boxes))
    return Locations(sure.logit(), boxes * strides_at(levels, boxes), levels=levels, centres=centres)


def _by_objectness(head: Any, outputs: Sequence[Maps], levels: Sequence[Level]) -> Locations:
    coded = flat(outputs[1], 4)
    priors = priors_of(head.prior_generator, levels, coded, with_stride=True)
    return Locations(
        flat(outputs[0], head.cls_out_channels),
        head._bbox_decode(priors, coded),
        quality=flat(outputs[2], 1).squeeze(2),
        levels=levels,
        centres=priors[:, :2],
        conditional=True,
    )


_DISTANCES = partial(_by_points, quality=False)
_SECOND = partial(labelled.at, first=1)
_BOXES = partial(labelled.boxes_at, place=3)
ROWS: Mapping[str, DenseRow] = MappingProxyType(
    {
        "ATSSHead": DenseRow(
            partial(_by_anchors, quality=True), _SECOND, partial(labelled.boxes_or_coded, place=3), coded=True
        ),
        "DDODHead": DenseRow(
            partial(_by_anchors, quality=True),
            _SECOND,
            partial(labelled.coded_boxes, place=3),
            targets="get_cls_targets",
            coded=True,
        ),
        "FCOSHead": DenseRow(
            partial(_by_points, quality=True),
            labelled.labels_alone,
            partial(labelled.reached_boxes, place=1),
            one_each=False,
        ),
        "GFLHead": DenseRow(_by_bins, _SECOND, _BOXES),
        "LDHead": DenseRow(_by_bins, _SECOND, _BOXES),
        "PAAHead": DenseRow(
            partial(_by_anchors, quality=True),
            labelled.reassigned,
            labelled.numbers,
            targets="paa_reassign",
            coded=True,
        ),
        "RTMDetHead": DenseRow(_DISTANCES, _SECOND, _BOXES),
        "RTMDetSepBNHead": DenseRow(_DISTANCES, _SECOND, _BOXES),
        "RetinaHead": DenseRow(
            partial(_by_anchors, quality=False),
            partial(labelled.at, first=0),
            partial(labelled.boxes_or_coded, place=2),
            coded=True,
        ),
        "TOODHead": DenseRow(_aligned, _SECOND, _BOXES),
        "VFNetHead": DenseRow(
            partial(_DISTANCES, generator="fcos_prior_generator"),
            labelled.labels_alone,
            partial(labelled.reached_boxes, place=2),
        ),
        "YOLOXHead": DenseRow(
            _by_objectness,
            labelled.foreground,
            labelled.foreground_boxes,
            targets="_get_targets_single",
            one_each=False,
        ),
    }
)
"""The dense heads that losses between heads can read."""


def dense_view_of(where: str, detector: Any, role: str, rule: str = "must be between one-stage detectors") -> Any:
    """Return the dense head of a detector, one that can be read.

    Args:
        where: field that a person is told of.
        detector: mmdet detector.
        role: student or teacher.
        rule: what the field must be, of which detectors.

    Raises:
        BadInput: it has none, or one with a softmax.
    """
    head = None if getattr(detector, "roi_head", None) is not None else getattr(detector, "bbox_head", None)
    found, name = type(head).__name__, type(detector).__name__
    if found not in ROWS:
        what = f"{name} without a dense head" if head is None else f"{name} with a {found}"
        refuse(where, f"{rule} with one of {', '.join(ROWS)} (the {role})", what)
    if not getattr(head, "use_sigmoid_cls", True):
        refuse(where, f"{rule} that score with sigmoids (the {role})", f"{found} with a softmax")
    return head


def surest_of(said: Locations) -> list[Tensor]:
    """Return how sure a head is of each cell, the highest score over its anchors and classes, [N, H, W] a level."""
    return [richness_of(level) for level in maps_of(place_logits(said), said.levels)]


@torch.no_grad()
def said_by(teacher: Any, features: Sequence[Tensor]) -> Locations:
    """Return what the frozen dense head of a teacher says, in float32.

    Args:
        teacher: head of a class in `ROWS`, or an RPN's.
        features: outputs of its neck; see `outputs_for`.
    """
    with torch.autocast(features[0].device.type, enabled=False):
        return locations(teacher, outputs_for(teacher, features))


@torch.no_grad()
def outputs_for(teacher: Any, features: Sequence[Tensor]) -> Sequence[Maps]:
    """Return what the forward of a teacher's frozen dense head returns, in float32.

    Args:
        teacher: head of a class in `ROWS`, or an RPN's.
        features: outputs of its neck, [N, C, H, W] a level; those after the levels of the head are not looked at.
    """
    levels = len(teacher.prior_generator.strides)
    with torch.autocast(features[0].device.type, enabled=False):
        outputs: Sequence[Maps] = teacher(tuple(one.float() for one in features[:levels]))
    return outputs
