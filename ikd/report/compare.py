"""Two sweeps on one page."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from ikd.config import differences
from ikd.errors import refuse
from ikd.report.charts import BLUE, ORANGE, figure, plain
from ikd.report.elements.course import best_so_far
from ikd.report.page import Head, rendered
from ikd.report.parts import Chart, Element, Table
from ikd.report.source import Source
from ikd.report.tables import tables_as, write_tables
from ikd.report.write import page_file, write_page
from ikd.sweep import Gain, duration, gain_between, ledger, objectives_apart, readable, sweep_status

Both = tuple[Source, Source]
UNKNOWN = "not noted"
"""What stands for the fingerprint of data that a sweep has not noted."""


def write_comparison(
    name: str, other: str, to: Path | None = None, *, home: Path | None = None, tables: Sequence[str] = ()
) -> list[Path]:
    """Write a page that compares two sweeps.

    Args:
        name: of a sweep.
        other: of the one that it is compared with.
        to: file of the page, or a folder for report-OTHER.html; None is the folder of the first sweep.
        home: folder that holds `sweeps`; None is the ikd home.
        tables: formats in which its tables are written beside it: `markdown`, `latex`, `csv`.

    Returns:
        What was written, the page first.

    Raises:
        BadInput: there is no such sweep or format, both are one, a folder is broken, or `to` cannot be written.
    """
    forms = tables_as(tables)
    if name == other:
        refuse("the sweeps to compare", "must be two", name)
    both = Source(sweep_status(name, home=home)), Source(sweep_status(other, home=home))
    file = page_file(to, both[0].status.directory / f"report-{other}.html")
    head, elements = _head(both), [replace(make(both), group="Comparison") for make in MAKERS]
    write_page(file, rendered(head, elements))
    return [file, *(written for form in forms for written in write_tables(form, head, elements, file))]


def _head(both: Both) -> Head:
    one, other = (source.status for source in both)
    lines = [_verdict(both), *(f"{source.status.name}: {_line(source)}" for source in both)]
    facts = [(source.status.name, f"{source.status.state}, {source.status.progress} trials ended") for source in both]
    facts.append(("report made", datetime.datetime.now().strftime("%Y-%m-%d %H:%M")))
    return Head(f"Sweeps {one.name} and {other.name}", "two sweeps compared", lines, facts)


def _line(source: Source) -> str:
    said = source.status.said_of_choice()
    return said[0] if said else "no trial of the search has finished"


def _verdict(both: Both) -> str:
    gain = _gain(both)
    if gain is None:
        if both[0].metric != both[1].metric or both[0].sign != both[1].sign:
            return f"not comparable: one optimises {both[0].metric}, the other {both[1].metric}"
        return "not comparable yet: a sweep has no finished trial of its search"
    one, other = (source.status.name for source in both)
    low, high = gain.interval
    how = "trainings kept apart" if gain.confirmed else "what is believed of both, not confirmed"
    return (
        f"{one}'s choice is better than {other}'s with probability {gain.probability:.2f}: {gain.difference:+.1f} "
        f"[{low:.1f}, {high:.1f}] {both[0].metric} x100, from {how}"
    )


def _gain(both: Both) -> Gain | None:
    one, other = both
    same = one.metric == other.metric and one.sign == other.sign
    if not same or one.known is None or other.known is None:
        return None
    return gain_between((one.records, one.known), (other.records, other.known))


def comparable(both: Both) -> Element:
    """Say what makes the figures of both sweeps differ besides their choices."""
    key, title = "comparable", "Are they comparable?"
    prints = [source.status.notes.get("data_fingerprint") for source in both]
    facts: dict[str, tuple[Any, Any]] = {
        "optimised": tuple(source.metric for source in both),  # type: ignore[dict-item]
        "what of it counts": tuple(source.space.objective.value for source in both),  # type: ignore[dict-item]
        "epochs a trial": tuple(source.recipe.total_epochs for source in both),  # type: ignore[dict-item]
        "data": tuple(source.status.data for source in both),  # type: ignore[dict-item]
        "content of the data": (prints[0] or UNKNOWN, prints[1] or UNKNOWN),
    }
    rows = tuple((name, str(a), str(b), _same(a, b)) for name, (a, b) in facts.items())
    apart = [row[0] for row in rows if row[3] == "differs"]
    lead = (
        f"They differ in {', '.join(apart)}: gains between them are in part gains of that."
        if apart
        else "Nothing is known that makes their figures differ but their choices."
    )
    heads = ("", *(source.status.name for source in both), "")
    return Element(key, title, lead, [Table("comparable", heads, rows, words=(0, 1, 2, 3))])


def _same(one: object, other: object) -> str:
    if UNKNOWN in (one, other):
        return "not known"
    return "same" if one == other else "differs"


def choices(both: Both) -> Element:
    """Show what both have chosen, and what is known of it."""
    rows = [(label, *(make(source) for source in both)) for label, make in _FACTS.items()]
    heads = ("", *(source.status.name for source in both))
    table = Table("choices", heads, tuple(rows), words=(0, 1, 2))
    return Element("choices", "What both have chosen", f"{_verdict(both)}.", [table])


def _expected(source: Source) -> str:
    if source.known is None:
        return "-"
    chosen = source.known.chosen
    low, high = sorted(source.shown(value) for value in chosen.interval)
    return f"{source.shown(chosen.mean):.1f} [{low:.1f}, {high:.1f}]"


def _apart(source: Source) -> str:
    if source.known is None:
        return "-"
    values = objectives_apart(source.space, source.records, source.known.chosen)
    return f"{source.shown(float(values.mean())):.1f} (mean of {len(values)})" if len(values) else "none"


def _choice(source: Source) -> str:
    if source.known is None:
        return "-"
    chosen = source.known.chosen
    return f"trial {chosen.number}: {source.described(chosen.trainings[0])}"


def _chance(source: Source) -> str:
    return "-" if source.known is None else f"{source.known.chances[source.known.chosen.number]:.2f}"


def _second(source: Source) -> str:
    said = source.status.said_of_choice()
    return said[1] if len(said) > 1 else "-"


_FACTS: dict[str, Callable[[Source], str]] = {
    "state": lambda source: f"{source.status.state}, {source.status.progress} trials ended",
    "chosen": _choice,
    "expected x100": _expected,
    "best of all tried with probability": _chance,
    "kept apart": _apart,
    "gain": _second,
    "time of trials": lambda source: duration(ledger(source.records).total),
}


def recipes(both: Both) -> Element:
    """Show where the chosen recipes differ."""
    key, title = "recipes", "Where the chosen recipes differ"
    found = [source.status.best for source in both]
    if found[0] is None or found[1] is None:
        return Element(key, title, "A sweep has no result yet.")
    one, other = (source.status.recipe_of(best) for source, best in zip(both, found, strict=True) if best is not None)
    rows = tuple(
        (name, *("-" if value is None else readable(value, name) for value in pair))
        for name, pair in differences(one, other).items()
    )
    heads = ("field", *(source.status.name for source in both))
    lead = f"The recipes of both exported trainings differ in {len(rows)} fields."
    return Element(key, title, lead, [Table("recipes", heads, rows, words=(0, 1, 2), open=40)] if rows else [])


def spaces(both: Both) -> Element:
    """Show what each searches, and what each parameter does in both."""
    names = list(dict.fromkeys(name for source in both for name in source.space.parameters))
    spreads = [{one.name: one for one in source.effects} for source in both]
    rows = []
    for name in names:
        cells = []
        for source, own in zip(both, spreads, strict=True):
            searched = name in source.space.parameters
            one = own.get(name)
            figures = (
                f"{one.spread:.2f} [{one.spread_interval[0]:.2f}, {one.spread_interval[1]:.2f}]"
                if one
                else "not known yet"
            )
            cells.append(figures if searched else f"fixed: {readable(source.recipe.value(name), name)}")
        rows.append((name, *cells))
    heads = ("parameter", *(source.status.name for source in both))
    note = "Spread: standard deviation of the objective over the parameter, in points, by each sweep's effects model, "
    note += "with 90 %."
    only = [
        sum(name not in other.space.parameters for name in source.space.parameters)
        for source, other in (both, both[::-1])
    ]
    lead = f"{len(names) - sum(only)} parameters are searched by both, {only[0]} and {only[1]} by one alone."
    return Element(
        "spaces",
        "What both search, and what it does",
        lead,
        [Table("spaces", heads, tuple(rows), note, words=(0, 1, 2))],
    )


def history(both: Both) -> Element:
    """Show what both had found by what they had spent."""
    key, title = "history", "History by cost"
    traces = []
    for source, colour in zip(both, (BLUE, ORANGE), strict=True):
        points = best_so_far(source)
        if points:
            xs, ys = zip(*points, strict=True)
            line = {"shape": "hv", "width": 2, "color": colour}
            traces.append(
                go.Scatter(x=[x / 3600 for x in xs], y=ys, mode="lines", line=line, name=plain(source.status.name))
            )
            if source.known is not None:
                chosen = source.known.chosen
                half = chosen.interval[1] - chosen.mean
                traces.append(
                    go.Scatter(
                        x=[xs[-1] / 3600], y=[source.shown(chosen.mean)], mode="markers", showlegend=False,
                        marker={"size": 10, "color": colour}, error_y={"type": "data", "array": [half]},
                        hovertemplate="expected of the choice: %{y:.2f}<extra></extra>",
                    )
                )  # fmt: skip
    if not traces:
        return Element(key, title, "Neither sweep has a finished trial of its search.")
    lead = "Lines: best single value so far, which luck lifts. Dots: what is expected of the choice, 90 %."
    made = figure(traces, x="hours of trials", y=both[0].title)
    return Element(key, title, lead, [Chart(made, "best value of both sweeps by the time spent", 420)])


MAKERS = (choices, comparable, history, recipes, spaces)
"""Elements of a comparison in order."""
