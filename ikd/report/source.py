"""What the elements of a report are made from, each thing worked out once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ikd.config import Recipe, SearchSpace
from ikd.sweep import (
    ANCHOR_NAMES,
    Gain,
    Insight,
    MainEffect,
    Pair,
    Standing,
    SweepStatus,
    TrialRecord,
    described,
    gains_of,
    measured,
    objective,
    readable,
    short_names,
    short_value,
)

MOST_PAIRS = 7
"""Parameters of which pairs are looked at: those that do most."""


@dataclass(frozen=True)
class Source:
    """A sweep, and what is derived of it for several elements.

    Attributes:
        status: of the sweep.
        asked: the trial whose detections, AP and size are shown, where a person asks for one.
        room: bytes that pictures may take in the page.
    """

    status: SweepStatus
    asked: TrialRecord | None = None
    room: int = 2_500_000

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.status.files.space

    @property
    def recipe(self) -> Recipe:
        """The base."""
        return self.status.files.recipe

    @property
    def records(self) -> Sequence[TrialRecord]:
        """Every trial by number."""
        return self.status.trials

    @property
    def known(self) -> Standing | None:
        """What is believed of the configurations."""
        return self.status.standing

    @property
    def subject(self) -> TrialRecord | None:
        """The trial whose detections, AP and size are shown: the exported one, unless another is asked for."""
        return self.asked or self.status.best

    @property
    def metric(self) -> str:
        """What is optimised."""
        return self.space.objective.metric

    @property
    def title(self) -> str:
        """Of an axis that has the objective."""
        return f"{self.metric.removeprefix('bbox_')} x100"

    @property
    def sign(self) -> float:
        """1 where the larger is the better, else -1."""
        return 1.0 if self.space.objective.mode == "max" else -1.0

    def shown(self, points: float) -> float:
        """Return an objective in points, the larger the better, as it is measured, times 100."""
        return 100 * measured(self.space, points)

    def value(self, record: TrialRecord) -> float | None:
        """Return what a trial counts with, times 100; None where it has nothing finite."""
        found = self.shown(objective(self.space, record))
        return found if math.isfinite(found) else None

    def name(self, field_: str) -> str:
        """Return a parameter's name, short where that is clear."""
        return short_names(self.space)(field_)

    def written(self, value: Any, field_: str) -> str:
        """Return a value of a parameter as people read it."""
        domain = self.space.parameters.get(field_)
        alias = domain.alias(value) if domain is not None else None
        return alias or (readable(value, field_) if isinstance(value, float) else short_value(value, field_))

    def called(self, record: TrialRecord) -> str:
        """Return what a trial is, briefly: its number, and which anchor."""
        names = " = ".join(ANCHOR_NAMES[name] for name in record.anchors)
        return f"trial {record.number}" + (f" ({names})" if names else "")

    def described(self, record: TrialRecord) -> str:
        """Return a trial with every value that was searched."""
        return described(record, self.space)

    @cached_property
    def anchors(self) -> dict[str, TrialRecord]:
        """The anchors by name."""
        return {name: one for one in self.records for name in one.anchors}

    @cached_property
    def gains(self) -> list[Gain]:
        """What the choice brings over each anchor."""
        return [] if self.known is None else gains_of(self.space, self.records, self.known)

    @cached_property
    def insight(self) -> Insight | None:
        """The effects model, asked about parameters; None while nothing has finished."""
        return Insight.of(self.space, self.recipe, self.records, self.status.earlier)

    @cached_property
    def effects(self) -> list[MainEffect]:
        """What each parameter does, the one that does most first."""
        insight = self.insight
        found = [] if insight is None else [insight.main(name) for name in insight.names]
        return sorted(found, key=lambda one: -one.spread)

    @cached_property
    def pairs(self) -> list[Pair]:
        """What pairs of those that do most do together, the strongest first."""
        insight, names = self.insight, [one.name for one in self.effects[:MOST_PAIRS]]
        pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
        found = [insight.pair(*pair) for pair in pairs if insight.together(*pair)] if insight is not None else []
        return sorted(found, key=lambda one: -one.strength)

    @cached_property
    def finished(self) -> list[TrialRecord]:
        """Finished trials that have a result."""
        return [one for one in self.records if one.state == "finished" and self.value(one) is not None]

    @cached_property
    def teachers(self) -> dict[str, float]:
        """AP (x100) of each teacher whose AP is known."""
        found: dict[str, float] = {}
        for record in self.records:
            for name, value in (record.reports[-1].metrics if record.reports else {}).items():
                if name.startswith("teacher/") and math.isfinite(value):
                    found[name.removeprefix("teacher/")] = 100 * value
        return found
