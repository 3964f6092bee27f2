"""What the student detects: AP by size and class, the teacher's gap, pictures, size and speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ikd.report.charts import BLUE, GREY, ORANGE, figure, plain, shortened
from ikd.report.parts import Chart, Element, Lines, Part, Table
from ikd.report.pictures import Pictures, pictures_of
from ikd.report.source import Source
from ikd.sweep import TrialRecord

SIZES = {"mAP": "all", "AP50": "IoU 0.50", "APs": "small", "APm": "medium", "APl": "large"}
CLASSES = 25
"""Classes in the chart, the worst first."""
CLASS = "AP/"
MARKS = ((BLUE, "circle"), (GREY, "circle-open"), (ORANGE, "diamond-open"))
COSTS = {
    "cost/mparameters": "million parameters",
    "cost/gflops": "GFLOPs (multiply-adds, one image)",
    "cost/latency_ms": "latency in ms, one image, here",
}


def by_class(source: Source) -> Element:
    """Show AP by size and class beside the teacher, and the share of the teacher's gap that is closed."""
    key, title = "classes", "AP by size and class, and the teacher's gap"
    best = source.subject
    if best is None or not best.reports:
        return Element(key, title, "No trial has a result yet.")
    own, teacher = _measured(source, best)
    alone = source.anchors.get("student_alone")
    if source.teachers:
        teacher = {"mAP": max(source.teachers.values()) / 100, **teacher}
    kinds = [
        (f"trial {best.number}", own),
        ("student alone", _metrics(alone) if alone is not None else {}),
        ("teacher", teacher),
    ]
    found = [(name, label) for name, label in SIZES.items() if name in own]
    rows = tuple((label, *[_cell(values.get(name)) for _, values in kinds]) for name, label in found)
    parts: list[Part] = [Table("sizes", ("boxes", *(label for label, _ in kinds)), rows)]
    classes = dict.fromkeys(name for values in (own, teacher) for name in values if name.startswith(CLASS))
    if classes:
        parts += _class_parts(kinds, sorted(classes, key=lambda one: _worst_first(own.get(one), one)))
    lead = f"x100, of {which(source, best)} at its last validation. {_gap(source)}"
    if not any(name.startswith(CLASS) for name in teacher):
        command = pictures_of(source.status.name, best).command
        parts.append(Lines((f"The teacher's AP by class is not known; this measures it: {command}",)))
    return Element(key, title, lead, parts)


def which(source: Source, best: TrialRecord) -> str:
    """Return which trial it is that is shown."""
    return f"trial {best.number}" + (", the exported one," if source.asked is None else "")


Kinds = Sequence[tuple[str, Mapping[str, float]]]
"""The trial, the student alone, the teacher: how each is called, and its metrics."""


def _class_parts(kinds: Kinds, names: Sequence[str]) -> list[Part]:
    own = kinds[0][1]
    rows = tuple((name.removeprefix(CLASS), *[_cell(values.get(name)) for _, values in kinds]) for name in names)
    table = Table("classes", ("class", *(label for label, _ in kinds)), rows, open=15)
    shown = [name for name in names if math.isfinite(own.get(name, math.nan))][:CLASSES]
    if not shown:
        return [table]
    ys = [plain(shortened(name.removeprefix(CLASS), 24)) for name in shown]
    traces = [
        go.Scatter(
            x=[100 * values.get(name, math.nan) for name in shown],
            y=ys,
            mode="markers",
            name=label,
            marker={"size": 10, "color": colour, "symbol": symbol},
            hovertemplate="%{y}: %{x:.1f}<extra></extra>",
        )
        for (label, values), (colour, symbol) in zip(kinds, MARKS, strict=True)
        if values
    ]
    made = figure(traces, x="AP x100 (IoU 0.50 to 0.95)")
    made.update_yaxes(type="category", autorange="reversed")
    return [Chart(made, "AP of each class", 140 + 24 * len(shown)), table]


def _gap(source: Source) -> str:
    """Return how much of the distance from the student alone to its teacher is closed."""
    alone, known = source.anchors.get("student_alone"), source.known
    start = None if alone is None else source.value(alone)
    if known is None or start is None or not source.teachers:
        return "What is closed of the teacher's gap needs a finished student alone, and the teacher's AP."
    if source.metric != "bbox_mAP":
        return f"The gap to the teacher is told of bbox_mAP alone; here {source.metric} is optimised."
    name, top = max(source.teachers.items(), key=lambda item: item[1])
    gain, gap = source.shown(known.chosen.mean) - start, top - start
    if gap <= 0:
        return f"The teacher {name} ({top:.1f}) is no better than the student alone ({start:.1f}): no gap to close."
    ends = f"the student alone ({start:.1f}) and the teacher {name} ({top:.1f})"
    return (
        f"Of the {gap:.1f} points between {ends} {100 * gain / gap:.0f} % are closed by what is expected of the choice."
    )


def _measured(source: Source, best: TrialRecord) -> tuple[dict[str, float], dict[str, float]]:
    """Return AP (0..1) of the student and of its teacher by name; of the pictures' measures where they are there."""
    measures = pictures_of(source.status.name, best).measures
    return {**_metrics(best), **_plain(measures.get("student"))}, _plain(measures.get("teacher"))


def _metrics(record: TrialRecord) -> dict[str, float]:
    """Return the AP of the last validation, as `mAP`, `APs`, `AP/class`."""
    last = record.reports[-1].metrics if record.reports else {}
    return {name.removeprefix("bbox_"): value for name, value in last.items() if name.startswith("bbox_")}


def _plain(measures: Any) -> dict[str, float]:
    """Return the measures of one detector by the names of metrics; nothing of what is not as expected."""
    if not isinstance(measures, Mapping):
        return {}
    found = {"mAP": measures.get("ap")}
    found |= {f"AP{name}": value for name, value in (measures.get("ap_by_size") or {}).items()}
    found |= {f"AP/{name}": value for name, value in (measures.get("ap_by_class") or {}).items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def _worst_first(value: float | None, name: str) -> tuple[bool, float, str]:
    known = value is not None and math.isfinite(value)
    return not known, value or 0.0 if known else 0.0, name


def _cell(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def detections(source: Source) -> Element:
    """Show truth, teacher and student side by side on images."""
    key, title = "detections", "Detections side by side"
    best = source.subject
    if best is None:
        return Element(key, title, "No trial has a result yet.")
    found: Pictures = pictures_of(source.status.name, best)
    shown = found.embedded(source.room)
    if not shown:
        return Element(key, title, f"There are no pictures of trial {best.number}; this makes them: {found.command}")
    lead = f"Trial {best.number}: truth, teacher and student, the worst images first."
    parts: list[Part] = [*shown]
    if found.lacking:
        parts.append(Lines((f"Not there: {', '.join(found.lacking)}; this makes them: {found.command}",)))
    return Element(key, title, lead, parts)


def size(source: Source) -> Element:
    """Show how large and fast the student is."""
    key, title = "size", "Size, FLOPs and latency"
    best = source.subject
    if best is None:
        return Element(key, title, "No trial has a result yet.")
    last = best.reports[-1].metrics if best.reports else {}
    rows = [(label, f"{last[name]:.4g}") for name, label in COSTS.items() if math.isfinite(last.get(name, math.nan))]
    export = f"ikd export {source.status.name} --to FOLDER counts parameters and FLOPs into its card"
    if not rows:
        measures = "`costs: [gflops, latency_ms]` of a search space measures each trial"
        return Element(key, title, f"Not measured in this sweep: {export}; {measures}.")
    pixels = " x ".join(map(str, source.recipe.input.scale))
    lead = f"Of trial {best.number}, at the input size of the recipe ({pixels})."
    return Element(key, title, lead, [Table("size", ("", "value"), tuple(rows)), Lines((f"{export}.",))])
