"""What is kept of a sweep: its files, trials, reports and events, with their times, in a few kilobytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ikd.config import Objective, Recipe, Runner, SearchSpace, SweepFiles
from ikd.sweep import sweep_status
from ikd.sweep.forecast.course import FILE, Event, as_row, read_course
from ikd.sweep.forecast.wants import sampled_recipes, wants
from ikd.sweep.records.trials import Exploit, Report, TrialRecord
from ikd.sweep.study.folder import existing_folder, read_files
from ikd.trial import TRAIN_SECONDS, VAL_SECONDS

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "assets" / "courses"
KEPT = (TRAIN_SECONDS, VAL_SECONDS)
ELSEWHERE = "/recorded"
"""Stands in the files for the folder in which a sweep was recorded."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """A sweep that has run.

    Attributes:
        files: space, recipe and runner.
        records: its trials at the end.
        events: its course; times count from the first.
        load: of the machine, before and after.
        images: of the training part.
        began: day and time, seconds since 1970.
    """

    files: SweepFiles
    records: tuple[TrialRecord, ...]
    events: tuple[Event, ...]
    load: tuple[float, float]
    images: int
    began: float = 0.0

    @classmethod
    def of(cls, name: str, home: Path, *, load: tuple[float, float], images: int) -> Recording:
        """Read a sweep from its folder."""
        folder = existing_folder(name, home)
        status = sweep_status(name, home=home)
        return cls(read_files(folder), status.trials, tuple(read_course(folder.path / FILE)), load, images)

    @classmethod
    def load_from(cls, file: Path) -> Recording:
        """Read what `save` wrote."""
        content = json.loads(file.read_text())
        budget = {"confirm": {"share": 0.0, "apart": 0}, **content["space"].get("budget", {})}  # as all had it once
        files = SweepFiles(
            SearchSpace.model_validate_json(json.dumps({**content["space"], "budget": budget})),
            Recipe.model_validate_json(json.dumps(content["recipe"])),
            Runner.model_validate_json(json.dumps(content["runner"])),
        )
        records = tuple(_record(number, one, files.space.objective) for number, one in enumerate(content["trials"]))
        events = tuple(Event(*row) for row in content["events"])
        return cls(files, records, events, tuple(content["load"]), content["images"], content["began"])

    def save(self, file: Path, *, scratch: Path) -> Path:
        """Write it down; times are seconds since the first event, and paths lie in `scratch`, which is not there."""
        origin = self.events[0].time
        names = dict(self._named(scratch))
        space = self.files.space.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        confirm = self.files.space.budget.confirm.model_dump(mode="json")
        content = {
            "space": space | {"budget": {**space.get("budget", {}), "confirm": confirm}},
            "recipe": self.files.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "runner": self.files.runner.model_dump(mode="json", exclude_defaults=True),
            "began": round(origin),
            "images": self.images,
            "load": [round(one, 1) for one in self.load],
            "trials": [_trial(one, origin, self.files.space.objective.metric) for one in self.records],
            "events": [
                as_row(replace(one, time=round(one.time - origin, 2), item=names.get(one.item, one.item)))
                for one in self.events
            ],
        }
        lines = [f'"{key}": {_lines(value)}' for key, value in content.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(("{\n" + ",\n".join(lines) + "\n}\n").replace(f"{scratch}/", f"{ELSEWHERE}/"))
        return file

    def _named(self, scratch: Path) -> Iterator[tuple[str, str]]:
        """Yield what shared things are called here, and what they will be: their names follow from paths."""
        recipes = [self.files.recipe, *sampled_recipes(self.files.space, self.files.recipe)]
        for recipe in recipes:
            moved = Recipe.model_validate_json(recipe.model_dump_json().replace(f"{scratch}/", f"{ELSEWHERE}/"))
            yield from zip([one.item for one in wants(recipe)], [one.item for one in wants(moved)], strict=True)

    @property
    def drives(self) -> list[tuple[float, float]]:
        """When each start of it began and was over; one that was killed was over when it was last heard of."""
        begins = [one.time for one in self.events if one.what == "begin"]
        times = sorted([one.time for one in self.events] + [r.time for one in self.records for r in one.reports])
        ends = [*begins[1:], math.inf]
        return [
            (begin, max(time for time in times if time < end or math.isinf(end)))
            for begin, end in zip(begins, ends, strict=True)
        ]

    @property
    def seconds(self) -> float:
        """How long it ran, breaks left out."""
        return sum(over - begin for begin, over in self.drives)

    def moment(self, share: float) -> float:
        """Return the time at which this share of it had run."""
        left = share * self.seconds
        for begin, over in self.drives:
            if left <= over - begin:
                return begin + left
            left -= over - begin
        return self.drives[-1][1]

    def spent(self, moment: float) -> float:
        """Return how long it had run at a moment."""
        return self.seconds - self.left(moment)

    def left(self, moment: float) -> float:
        """Return how long it still ran from a moment on."""
        return sum(max(0.0, over - max(begin, moment)) for begin, over in self.drives)

    def until(self, moment: float) -> tuple[list[TrialRecord], list[Event]]:
        """Return trials and events as they were at a moment."""
        events = [one for one in self.events if one.time <= moment]
        inside = any(begin <= moment <= over for begin, over in self.drives)
        known = [one for one in self.records if one.began <= moment]
        return [_cut(one, moment, self.files.space.objective, driven=inside) for one in known], events


def _cut(record: TrialRecord, moment: float, objective: Objective, *, driven: bool) -> TrialRecord:
    reports = tuple(one for one in record.reports if one.time <= moment)
    ended = bool(record.ended) and record.ended <= moment
    exploits = tuple(one.exploit for one in reports if one.exploit is not None)
    return replace(
        record.with_reports(reports, objective),
        state=record.state if ended else "running" if driven else "waiting",
        reason=record.reason if ended else "",
        ended=record.ended if ended else 0.0,
        exploits=exploits,
        values=exploits[-1].values if exploits else record.proposed,
        seconds=reports[-1].seconds if reports else 0.0,
        held=reports[-1].held if reports else 0.0,
    )


def _trial(record: TrialRecord, origin: float, metric: str) -> Json:
    return {
        "anchors": list(record.anchors),
        "values": dict(record.proposed),
        "state": record.state,
        "stage_ends": list(record.stage_ends),
        "began": round(record.began - origin, 2),
        "ended": round(record.ended - origin, 2),
        "starts": [round(one, 2) for one in record.starts],
        **({"role": record.role, "of": record.of, "kept": record.kept} if record.of is not None else {}),
        "reports": [_report(one, origin, metric) for one in record.reports],
    }


def _report(report: Report, origin: float, metric: str) -> list[Any]:
    took = [round(report.metrics.get(name, 0.0), 2) for name in KEPT]
    times = [round(one, 2) for one in (report.time - origin, report.held, report.seconds)]
    row = [report.epoch, round(report.metrics.get(metric, 0.0), 5), *times, *took]
    taken = report.exploit
    return (
        row if taken is None else [*row, {"epoch": taken.epoch, "source": taken.source, "values": dict(taken.values)}]
    )


def _record(number: int, content: Json, objective: Objective) -> TrialRecord:
    reports = tuple(_read_report(row, objective.metric, order) for order, row in enumerate(content["reports"]))
    record = TrialRecord(
        number,
        str(number),
        tuple(content["anchors"]),
        content["values"],
        in_space=not content["anchors"] and "of" not in content,
        fingerprint=str(number),
        directory=Path(),
        state=content["state"],
        seconds=reports[-1].seconds if reports else 0.0,
        attempts=len(content["starts"]),
        stage_ends=tuple(content["stage_ends"]),
        held=reports[-1].held if reports else 0.0,
        starts=tuple(content["starts"]),
        proposed=content["values"],
        began=content["began"],
        ended=content["ended"],
        role=content.get("role", "search"),
        of=content.get("of"),
        kept=content.get("kept", 0),
    )
    return record.with_reports(reports, objective)


def _read_report(row: list[Any], metric: str, order: int) -> Report:
    epoch, value, time, held, seconds, trained, validated, *exploit = row
    metrics = {metric: value, TRAIN_SECONDS: trained, VAL_SECONDS: validated}
    return Report(epoch, metrics, seconds, order, held, time, Exploit(**exploit[0]) if exploit else None)


def _lines(value: Any) -> str:
    """Write a list with one item a line, anything else on one."""
    if not isinstance(value, list) or not value or not isinstance(value[0], (list, dict)):
        return json.dumps(value)
    rows: Iterable[str] = (f" {json.dumps(one)}" for one in value)
    return "[\n" + ",\n".join(rows) + "\n]"
