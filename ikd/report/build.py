"""The elements of a report in the order of their importance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ikd.report.elements import course, detection, origin, parameters, result, space
from ikd.report.parts import Element
from ikd.report.source import Source

GROUPS: dict[str, tuple[Callable[[Source], Element], ...]] = {
    "Result": (
        result.chosen,
        result.gains,
        result.finalists,
        result.optimism,
        detection.by_class,
        detection.detections,
        detection.size,
        space.front,
    ),
    "Why": (
        parameters.importance,
        parameters.toggles,
        parameters.path,
        parameters.dependence,
        parameters.interactions,
        space.parallel,
    ),
    "Course": (course.history, course.curves, course.rungs, course.spent, course.failures),
    "Next, and where from": (space.left, origin.provenance),
}
"""By the heading that they stand under in the table of contents."""


def elements_of(source: Source) -> list[Element]:
    """Return all elements of a sweep's report; what has nothing to show says why."""
    return [replace(make(source), group=group) for group, makers in GROUPS.items() for make in makers]
