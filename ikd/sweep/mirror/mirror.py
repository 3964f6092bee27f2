"""Tells a tracker what happens in a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ikd.config import SweepFiles
from ikd.data import DataRecord
from ikd.sweep.confirm.facts import facts_of
from ikd.sweep.confirm.standing import Standing, standing
from ikd.sweep.mirror.figures import DIGITS, EXPECTED, GAIN, Figures, figures_of, history, seen_of
from ikd.sweep.mirror.marks import marked_name, marks, role_of
from ikd.sweep.mirror.params import further, shown_params
from ikd.sweep.records.text import readable_values
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.study.folder import dataset_name
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import Tracker
from ikd.trial import OPEN

NEGLIGIBLE = 1e-5
"""A figure that changes by less is not told again before the end: every ended trial moves what is expected of all."""


class Mirror:
    """Sends trials and their figures; what a tracker has already is skipped there.

    Args:
        tracker: to whom.
        files: of the sweep.
        study: of the sweep.
        data: what trials learn from; None until it is known.
    """

    def __init__(self, tracker: Tracker, files: SweepFiles, study: SweepStudy, data: DataRecord | None = None) -> None:
        self._tracker, self._files, self._study = tracker, files, study
        self._data, self._own = data, dict[int, DataRecord]()
        self._told: dict[int, tuple[Figures, dict[str, str], str]] = {}
        self._begun: set[int] = set()

    def began(self, record: TrialRecord) -> None:
        """Send a trial from its start, with every epoch it has."""
        name = self._told[record.number][2] if record.number in self._told else record.name
        params = shown_params(self._files.space, record, self._files.recipe.seed)
        self._tracker.start_trial(
            record.number, name=name, params=params, tags=tags_of(self._files, record), time=record.began or None
        )
        self._begun.add(record.number)
        for count, report in enumerate(record.reports, start=1):
            self._epoch(record, report, record.reports[:count])

    def reported(self, record: TrialRecord) -> None:
        """Send the latest epoch of a trial."""
        self._epoch(record, record.reports[-1], record.reports)

    def _epoch(self, record: TrialRecord, report: Report, so_far: tuple[Report, ...]) -> None:
        seen = seen_of(record, so_far, self._study.records, self._files.space.objective)
        figures = {name: value for name, value in seen.items() if value is not None}
        self._tracker.log(record.number, report.epoch, {**report.metrics, **figures}, time=report.time or None)

    def ended(self, record: TrialRecord) -> None:
        """Send how a trial ended, and what that changes for the others."""
        self._end(record)
        if self._tracker.writes:
            self.compare()

    def _end(self, record: TrialRecord) -> None:
        assert record.state != "waiting" and record.state != "running"  # noqa: PT018 - so that mypy sees it
        if (data := self._own.get(record.number, self._data)) is not None:
            self._tracker.log_data(record.number, self._shown(data))
        self._tracker.end_trial(record.number, record.state, record.reason, time=record.ended or None)

    def everything(self, *, opened: bool = False) -> None:
        """Send every ended trial, as a killed driver may not have delivered all.

        Args:
            opened: send those that have not ended, too.
        """
        for record in self._study.records:
            if opened or record.state not in OPEN:
                self.began(record)
            if record.state not in OPEN:
                self._end(record)

    def found(self, number: int, data: DataRecord) -> None:
        """Note what a trial learns from; the first that is found is what the sweep is shown with."""
        self._own[number] = data
        if self._data is None:
            self._data = data
            self._tracker.log_data(None, self._shown(data))

    def sweep_data(self) -> None:
        """Send what the sweep learns from, where it is known."""
        if self._data is not None:
            self._tracker.log_data(None, self._shown(self._data))

    def _shown(self, data: DataRecord) -> Mapping[str, Any]:
        parts = {"train": data.train, "val": data.val}
        counts = {f"{name}_{what}": getattr(part, what) for name, part in parts.items() for what in ("images", "boxes")}
        recipe = self._files.recipe
        return {
            "name": dataset_name(recipe),
            "digest": data.fingerprint,
            "source": recipe.data.root,
            "profile": {"classes": list(data.classes), **counts},
        }

    def compare(self, *, last: bool = False) -> None:
        """Send what trials are worth beside each other: figures, marks, and the curves of the sweep.

        Args:
            last: it is the last time in this start, so that even the smallest change counts; and all points of the
                curves.
        """
        records, space = self._study.records, self._files.space
        known = standing(space, self._files.recipe, records, earlier=self._study.earlier)
        figures, words = figures_of(space, records, known), marks(known)
        for record in records:
            if record.number in self._begun:
                tags = {"choice": words.get(record.number, ""), "role": role_of(record)}
                self._worth(record, figures[record.number], tags, marked_name(record, known), last=last)
        self._curves(known, last=last)

    def _worth(self, record: TrialRecord, figures: Figures, tags: dict[str, str], name: str, *, last: bool) -> None:
        before, *others = self._told.get(record.number, ({}, {}, ""))
        if not last and others == [tags, name] and _near(before, figures):
            return
        self._told[record.number] = figures, tags, name
        self._tracker.compare(record.number, figures, step=record.epochs, tags=tags, name=name)

    def _curves(self, known: Standing | None, *, last: bool) -> None:
        records = self._study.records
        points = history(records, self._files.space.objective)
        if not last:
            points = [*{point[0]: point for point in points}.values()]  # the latest of each curve
        for name, value, step, time in points:
            self._tracker.compare(None, {name: round(value, DIGITS)}, step=step, time=time or None)
        if known is not None:
            facts = facts_of(self._files.space, records, known, known.chosen)
            ended = sum(one.state not in OPEN for one in records)
            worth: Figures = {EXPECTED: round(facts["expected"], DIGITS)}
            if (gain := facts["gain"]) is not None:
                worth |= {
                    f"{GAIN}{name}": round(gain["difference"], DIGITS) for name in records[gain["anchor"]].anchors
                }
            self._tracker.compare(None, worth, step=ended)


def tags_of(files: SweepFiles, record: TrialRecord) -> dict[str, str]:
    """Return the facts about a trial that do not depend on the others."""
    tags = {"anchor": ", ".join(record.anchors)} if record.anchors else {}
    tags |= {"role": role_of(record), "recipe_fingerprint": record.fingerprint, "directory": str(record.directory)}
    if record.of is not None:
        tags["of"] = str(record.of)
    if extra := further(files.space, record):
        tags["sets"] = readable_values(extra)
    if record.exploits:
        taken = [f"epoch {one.epoch} from trial {one.source}: {readable_values(one.values)}" for one in record.exploits]
        tags["exploits"] = "; ".join(taken)
    return tags


def _near(before: Figures, now: Figures) -> bool:
    if set(before) != set(now):
        return False
    return all(_same(before[name], now[name]) for name in now)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=0.0, abs_tol=NEGLIGIBLE)
