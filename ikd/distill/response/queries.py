"""Queries that two DETRs both decode, and the loss between what they say of them (KD-DETR)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ikd.distill.recording import around, expect_one_loss
from ikd.distill.response.terms import TERMS
from ikd.distill.views import Locations, unassigned
from ikd.errors import refuse

NAME = "kd_detr"
FIELD = f"distill.response.{NAME}"
FAMILIES = ("DETR", "ConditionalDETR", "DABDETR", "DeformableDETR", "DINO")
"""Detectors whose decoders take queries from outside; DDQ chooses its own within, Grounding DINO asks for text."""
_EMPTY_CONTENT = ("DETR", "ConditionalDETR", "DABDETR")
"""Those whose queries are places alone: what they hold at first is 0."""
_QUERIES = ("query", "query_pos", "reference_points")
Call = dict[str, Any]
"""Keyword arguments of a detector's `forward_decoder`."""


@dataclass
class SeenCalls:
    """What one forward of a detector left behind.

    Attributes:
        calls: of its `forward_decoder`.
    """

    calls: list[Call] = field(default_factory=list)


class QueryTerm:
    """KD-DETR: the student decodes queries of the teacher, and drawn ones, on its own memory, and learns to agree.

    *Specific* queries are the teacher's own of an image, *general* ones are drawn anew each step, the same for both.
    The student's own queries are trained by the labels as ever and get nothing from here. Holds both detectors without
    being a module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        seed: of the drawn queries, with the place of the training.
        specific: whether the teacher's own queries are compared.
        general: how many drawn ones are.
        hyperparameters: of the loss; see `terms.queries`.

    Raises:
        BadInput: the two cannot decode the same queries; names the field and says why.

    References:
        Wang et al., KD-DETR, CVPR 2024.
    """

    name = NAME

    def __init__(
        self, student: nn.Module, teacher: nn.Module, *, seed: int, specific: bool, general: int, **hyperparameters: Any
    ) -> None:
        _check(student, teacher, str(hyperparameters.get("layer", "last")))
        self._student: Any = student
        self._teacher: Any = teacher
        self._seed, self._specific, self._general = seed, specific, general
        self._loss = TERMS[NAME](**hyperparameters)

    @contextlib.contextmanager
    def capture(self) -> Iterator[SeenCalls]:
        """Collect one `student.loss(...)`, so that backbone and encoder need not run twice.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        with _recorded(self._student) as seen:
            yield seen
        expect_one_loss(len(seen.calls) == 1)

    def losses(
        self,
        seen: SeenCalls,
        teacher_features: Sequence[Tensor],
        samples: Sequence[Any],
        position: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Return the weighted losses by name, `loss_kd_detr_SET_PART`, float32 scalars.

        Args:
            seen: of a `capture`.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.
            samples: of the batch; where images end within it is read alone.
            position: epoch and step of the training, which the drawn queries are a function of.
        """
        (ours,) = seen.calls
        sizes = [tuple(sample.img_shape) for sample in samples]
        with torch.no_grad(), torch.autocast(teacher_features[0].device.type, enabled=False):
            theirs, decoded = self._taught(teacher_features, samples)
        found: dict[str, Tensor] = {}
        for name, queries in self._sets(theirs, position).items():
            student = _said(self._student, _decode(self._student, ours, queries), sizes)
            with torch.no_grad(), torch.autocast(teacher_features[0].device.type, enabled=False):
                own = decoded if name == "specific" else _decode(self._teacher, theirs, queries)
                teacher = _said(self._teacher, own, sizes)
            with torch.autocast(teacher_features[0].device.type, enabled=False):
                parts = self._loss(student, teacher, unassigned(teacher))
            found |= {f"loss_{NAME}_{name}_{part}": value for part, value in parts.items()}
        return found

    def _taught(self, features: Sequence[Tensor], samples: Sequence[Any]) -> tuple[Call, Call]:
        """Return how the teacher's decoder was called, and what the teacher's head is given."""
        from mmdet.structures import DetDataSample

        facts = [{name: getattr(one, name) for name in ("batch_input_shape", "img_shape")} for one in samples]
        bare = [DetDataSample(metainfo=one) for one in facts]
        with _recorded(self._teacher) as seen:
            decoded = self._teacher.forward_transformer(tuple(one.float() for one in features), bare)
        return seen.calls[0], decoded

    def _sets(self, theirs: Call, position: tuple[int, int]) -> dict[str, Call]:
        """Return the sets of queries that are compared, as arguments of `forward_decoder`."""
        own = {name: theirs[name].detach() for name in _QUERIES if name in theirs}
        sets = {"specific": own} if self._specific else {}
        if self._general:
            words = np.random.SeedSequence([self._seed, 0xDE7, *position]).generate_state(1)
            generator = torch.Generator().manual_seed(int(words[0]))
            sets["general"] = {name: self._drawn(name, like, generator) for name, like in own.items()}
        return sets

    def _drawn(self, name: str, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return drawn queries, [N, general, C], the same for all images: normal, references through a sigmoid.

        DETRs learn embeddings that begin so.
        """
        images, _, width = like.shape
        drawn = torch.randn(self._general, width, generator=generator)
        if name == "query" and type(self._teacher).__name__ in _EMPTY_CONTENT and not _patterns(self._teacher):
            drawn = torch.zeros_like(drawn)
        if name == "reference_points":
            drawn = drawn.sigmoid()
        return drawn.to(like.device, like.dtype).expand(images, -1, -1)


@contextlib.contextmanager
def _recorded(detector: Any) -> Iterator[SeenCalls]:
    """Note how the decoder of a detector is called inside the block."""
    seen = SeenCalls()

    def record(compute: Callable[..., Any], **kwargs: Any) -> Any:
        seen.calls.append(dict(kwargs))
        return compute(**kwargs)

    with around(detector, "forward_decoder", record):
        yield seen


def _decode(detector: Any, call: Call, queries: Mapping[str, Tensor]) -> Call:
    """Return what the head is given of some queries, on the memory of a call; denoising queries are none of them."""
    arguments = {**call, **queries}
    if "dn_mask" in arguments:
        arguments["dn_mask"] = None
    decoded: Call = detector.forward_decoder(**arguments)
    return decoded


def _said(detector: Any, decoded: Call, sizes: Sequence[tuple[int, int]]) -> Locations:
    """Return what a head says of decoded queries, a layer each, in float32."""
    from mmdet.structures.bbox import bbox_cxcywh_to_xyxy

    head = detector.bbox_head
    names = ("hidden_states", "references")
    logits, boxes = (one.float() for one in head(*(decoded[name] for name in names if name in decoded)))
    scales = boxes.new_empty(len(sizes), 4)
    for image, (height, width) in enumerate(sizes):
        scales[image, 0::2] = width  # a tensor of them would be copied to a GPU from pageable memory
        scales[image, 1::2] = height
    corners = bbox_cxcywh_to_xyxy(boxes) * scales[:, None]
    return Locations(logits, corners, softmax=not head.loss_cls.use_sigmoid, sizes=scales)


def _patterns(detector: Any) -> int:
    """Return how many contents a DAB-DETR has for each of its places; 0 is none."""
    return int(getattr(detector, "num_patterns", 0))


def _check(student: Any, teacher: Any, layer: str) -> None:
    """Check that two detectors can decode the same queries.

    Raises:
        BadInput: in which respect they cannot.
    """
    sides = (student, teacher)
    kinds = [type(one).__name__ for one in sides]
    for kind, role in zip(kinds, ("student", "teacher"), strict=True):
        if kind not in FAMILIES:
            why = _REASONS.get(kind, "it has no decoder that takes queries")
            refuse(FIELD, f"must be between two of {', '.join(FAMILIES)} (the {role})", kind, why)
    if kinds[0] != kinds[1]:
        refuse(FIELD, "must be between detectors of one class (student, teacher)", kinds)
    for what, read in _EQUAL.items():
        found = [read(one) for one in sides]
        if found[0] != found[1]:
            refuse(FIELD, f"must be between detectors of equal {what} (student, teacher)", found)
    layers = [int(one.decoder.num_layers) for one in sides]
    if layer == "same" and layers[0] != layers[1]:
        refuse(f"{FIELD}.layer", "must be last between decoders of unequal layers (student, teacher)", layers)


_REASONS = {
    "DDQDETR": "it chooses its queries inside the decoder",
    "GroundingDINO": "it asks for text",
}
_EQUAL: Mapping[str, Any] = {
    "embed_dims": lambda one: int(one.embed_dims),
    "classes": lambda one: int(one.bbox_head.num_classes),
    "query_dim": lambda one: getattr(one.decoder, "query_dim", None),
    "use_sigmoid": lambda one: bool(one.bbox_head.loss_cls.use_sigmoid),
}
"""What must be the same on both sides, and where it stands."""
