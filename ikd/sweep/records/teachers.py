"""How well the teachers of a sweep see, beside the student that was trained without one."""

from __future__ import annotations

from collections.abc import Sequence

from ikd.sweep.records.trials import TrialRecord
from ikd.trial import NEAR_ZERO, TEACHER, said_of_teacher

LEAST_SHARE = 0.9
"""A teacher below this share of the mAP that the student reaches alone is warned of: there is little it could teach."""
METRIC = "bbox_mAP"


def said_of_teachers(records: Sequence[TrialRecord]) -> list[str]:
    """Return a line on each teacher whose mAP is known, a warning in it where that is low.

    Args:
        records: all trials; `student_alone` is compared with once it has ended.
    """
    scores = {
        name.removeprefix(TEACHER): value
        for record in records
        for name, value in (record.reports[-1].metrics.items() if record.reports else ())
        if name.startswith(TEACHER)
    }
    alone = next((one for one in records if "student_alone" in one.anchors and one.state == "finished"), None)
    reached = max((report.metrics.get(METRIC, 0.0) for report in alone.reports), default=0.0) if alone else 0.0
    return [_line(name, score, reached) for name, score in sorted(scores.items())]


def _line(name: str, score: float, alone: float) -> str:
    text = said_of_teacher(name, score)
    if NEAR_ZERO <= score < LEAST_SHARE * alone:
        text += f"; warning: below {LEAST_SHARE:g} of the {100 * alone:.1f} that the student reaches alone"
    return text
