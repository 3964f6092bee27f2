"""CrossKD of two stages (Wang et al., CVPR 2024): the student's pyramid before the teacher's RoI head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.crosskd.compare import crosskd_mask, crosskd_roi
from ikd.distill.crosskd.heads import Connector
from ikd.distill.crosskd.region_fit import check_regions, widths
from ikd.distill.recording import around, expect_one_loss
from ikd.distill.views.locations import Assignment, Locations


@dataclass
class SeenRegions:
    """What one loss of a student of two stages left behind.

    Attributes:
        pyramids: of each call of the RoI head's loss what it looks at, [N, C, H, W] a level.
        sampled: of each box head in a row, mmdet's sampling results, one an image.
        importance: of cells, for losses of maps; CrossKD tells them nothing.
        instances: of images, likewise.
        labelled: boxes of the images are the truth, not the teacher's; what counts are regions all the same.
    """

    pyramids: list[Sequence[Tensor]] = field(default_factory=list)
    sampled: list[Sequence[Any]] = field(default_factory=list)
    importance: Sequence[Tensor] = ()
    instances: Sequence[Tensor] | None = None
    labelled: bool = True


class CrossRegions:
    r"""CrossKD's losses between the RoI heads of a student and a frozen teacher.

    The teacher's RoI head looks at the regions that the student samples, on its own pyramid and on the student's: the
    teacher's prediction and the cross prediction. No scales are aligned. Over R regions, with p the softmax of the
    teacher over classes and background:

    * classes: :math:`\tfrac1R \sum_r T^2 KL(p^T_r \| p^X_r)`;
    * boxes: the L1 distance of the coded box of the teacher's likeliest class, weighted by its probability, a mean over
      coordinates and weights;
    * masks, where both have them: quality focal loss of focus 1 of the mask logits of the regions with an object, a sum
      over pixels and classes, over R.

    A cascade is compared stage by stage: the teacher's head of a stage on the regions that the student samples there,
    weighted as the student weighs its own losses of that stage; both then have equally many.

    Only what the student has below its RoI head gets gradients, and the connector, a 1x1 convolution with bias that all
    levels share where the pyramids differ in width; its own heads learn from labels alone. All in float32.

    Holds both detectors without being a module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        connector: `auto` has one where the widths differ; `always` everywhere.
        w_cls: weight of the classes.
        w_reg: weight of the boxes.
        w_mask: weight of the masks; 0 leaves them out.
        temperature: T > 0.
        asked: what a person has set, for messages.

    Raises:
        BadInput: the heads do not fit; see `check_regions`.

    References:
        `jbwang1997/CrossKD:mmdet/models/detectors/crosskd_two_stage.py`.
    """

    name = "crosskd"

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        connector: Connector,
        w_cls: float,
        w_reg: float,
        w_mask: float,
        temperature: float,
        asked: str = "distill.host crosskd",
    ) -> None:
        check_regions(student, teacher, asked)
        assert not any(parameter.requires_grad for parameter in teacher.parameters()), "freeze the teacher first"
        self._student: Any = student.roi_head
        self._teacher: Any = teacher.roi_head
        self._settings: Mapping[str, float] = {"w_cls": w_cls, "w_reg": w_reg, "temperature": temperature}
        masked = all(getattr(head, "with_mask", False) for head in (self._student, self._teacher))
        self._w_mask = w_mask if masked else 0.0
        self._weights: Sequence[float] = getattr(self._student, "stage_loss_weights", [1.0])
        ours, theirs = (widths(head) for head in (self._student, self._teacher))
        apart = connector == "always" or ours != theirs
        self.connectors = nn.ModuleList([nn.Conv2d(ours, theirs, 1)]) if apart else None

    @contextlib.contextmanager
    def capture(self) -> Iterator[SeenRegions]:
        """Collect one `student.loss(...)`, so that the student's proposals need not be made twice.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        seen = SeenRegions()

        def keep_pyramid(compute: Any, pyramid: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
            seen.pyramids.append(pyramid)
            return compute(pyramid, *args, **kwargs)

        def keep_sampled(compute: Any, *args: Any) -> Any:
            seen.sampled.append(args[-1])
            return compute(*args)

        with around(self._student, "loss", keep_pyramid), around(self._student, "bbox_loss", keep_sampled):
            yield seen
        expect_one_loss(len(seen.pyramids) == 1)

    def losses(self, seen: SeenRegions, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name.

        Args:
            seen: of a `capture`.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.

        Returns:
            `loss_crosskd_cls`, `loss_crosskd_reg`, and where masks are compared `loss_crosskd_mask`; float32 scalars.
        """
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            pyramids = self._crossing(seen.pyramids[0]), tuple(one.float() for one in teacher_features)
            found: dict[str, Tensor] = {}
            for stage, (sampled, weight) in enumerate(zip(seen.sampled, self._weights, strict=False)):
                for part, value in self._of_stage(stage, pyramids, sampled).items():
                    name = f"loss_crosskd_{part}"
                    found[name] = found.get(name, 0) + weight * value
        return found

    def _crossing(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the student's pyramid in the teacher's width."""
        levels = tuple(one.float() for one in pyramid)
        if self.connectors is None:
            return levels
        return tuple(self.connectors[0](one) for one in levels)

    def _of_stage(
        self, stage: int, pyramids: tuple[Sequence[Tensor], Sequence[Tensor]], sampled: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Return the losses at the regions of one stage, crossing pyramid first."""
        from mmdet.structures.bbox import bbox2roi

        regions = bbox2roi([one.priors for one in sampled]).detach().float()
        crossed = self._boxes(stage, pyramids[0], regions)
        with torch.no_grad():
            taught = self._boxes(stage, pyramids[1], regions)
        found = crosskd_roi(crossed, taught, _every(regions), **self._settings)
        if self._w_mask:
            objects = bbox2roi([one.pos_priors for one in sampled]).detach().float()
            ours = self._masks(stage, pyramids[0], objects)
            with torch.no_grad():
                theirs = self._masks(stage, pyramids[1], objects)
            found["mask"] = self._w_mask * crosskd_mask(ours, theirs, len(regions))
        return found

    def _boxes(self, stage: int, pyramid: Sequence[Tensor], regions: Tensor) -> Locations:
        """Return what the teacher's box head of a stage says of regions, [R, 5]; the boxes of the view are these."""
        said = self._teacher._bbox_forward(*self._at(stage), pyramid, regions)
        deltas = said["bbox_pred"].float().view(1, len(regions), -1, 4)
        return Locations(said["cls_score"].float()[None], regions[None, :, 1:], softmax=True, deltas=deltas)

    def _masks(self, stage: int, pyramid: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Return what the teacher's mask head of a stage says of regions, [P, K, H, W] logits."""
        said: Tensor = self._teacher._mask_forward(*self._at(stage), pyramid, regions)["mask_preds"]
        return said.float()

    def _at(self, stage: int) -> tuple[int, ...]:
        """Return what mmdet's cascades are told before all else."""
        return (stage,) if hasattr(self._teacher, "stage_loss_weights") else ()


def _every(regions: Tensor) -> Assignment:
    """Return the assignment in which each region counts; which have an object is not read."""
    weight = regions.new_ones(1, len(regions))
    return Assignment(weight, weight.bool(), weight.sum().clamp(min=1))
