"""What is said of a teacher: its mAP once it is known, a warning when it sees nothing or less than the student."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.sweep.records.teachers import LEAST_SHARE, said_of_teachers
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.trial import NEAR_ZERO


def record(number: int, reached: float, *anchors: str, **teachers: float) -> TrialRecord:
    metrics = {"bbox_mAP": reached} | {f"teacher/{name}": value for name, value in teachers.items()}
    reports = (Report(1, metrics, 1.0, number),)
    return TrialRecord(number, "", anchors, {}, True, "", Path(), state="finished", reports=reports)


@pytest.mark.parametrize(
    ("score", "alone", "warned"),
    [
        (0.4, None, ""),
        (0.4, 0.4, ""),
        (LEAST_SHARE * 0.4 - 1e-6, 0.4, "below 0.9 of the 40.0 that the student reaches alone"),
        (NEAR_ZERO - 1e-6, None, "it sees next to nothing"),
        (0.0, 0.4, "it sees next to nothing"),
    ],
)
def test_a_teacher_is_shown_and_warned_of(score: float, alone: float | None, warned: str) -> None:
    records = [record(0, 0.3, "paper", big=score)]
    if alone is not None:
        records.append(record(1, alone, "student_alone"))
    (line,) = said_of_teachers(records)
    assert line.startswith(f"teacher big: mAP {100 * score:.1f} on the validation part")
    assert (warned in line) if warned else ("warning" not in line)


def test_nothing_is_said_without_a_teacher() -> None:
    assert said_of_teachers([record(0, 0.3, "student_alone")]) == []
