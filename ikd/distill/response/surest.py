"""How sure a teacher's dense head is of each cell, for losses of maps."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ikd.distill.response.places import SeenHead
from ikd.distill.views.heads import dense_view_of, said_by, surest_of


class SurestCells:
    r"""What score-weighted L2 asks of heads: :math:`a = \max_k \sigma(z_T)` of each cell, over anchors and classes.

    The teacher's own head says it, of any kind that can be read; the student's is not asked, and may be any. Nothing
    between predictions is compared.

    Args:
        student: mmdet detector, not asked.
        teacher: mmdet detector, frozen.

    Raises:
        BadInput: the teacher has no dense head that can be read, or one with a softmax.
    """

    name = "sl2"

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        del student
        self._teacher: Any = dense_view_of("distill.host sl2", teacher, "teacher")

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect nothing of one `student.loss(...)`."""
        return contextlib.nullcontext(SeenHead())

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return no loss, and leave the scores of cells in `seen`, [N, H, W] a level of the teacher's head."""
        seen.importance = surest_of(said_by(self._teacher, teacher_features))
        return {}
