"""All trials at once: parallel coordinates, the Pareto front, and what the space may still hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ikd.report.charts import BLUE, GREY, ORANGE, SCALE, figure, plain, shortened
from ikd.report.parts import Chart, Element, Table
from ikd.report.source import Source
from ikd.sweep import TrialRecord, knee, pareto_front

BINS = 8
"""Colours of the lines, from bad to good."""
ABSENT = -0.14
"""Height at which a line passes an axis that does not exist for it."""
COSTS = {
    "gflops": "GFLOPs",
    "mparameters": "million parameters",
    "latency_ms": "latency in ms",
    "gpu_hours": "GPU-hours",
}


def parallel(source: Source) -> Element:
    """Show every finished trial as a line over all parameters."""
    key, title = "parallel", "All trials at once"
    insight = source.insight
    drawn = [one for one in source.finished if one.role == "search" and one.in_space]
    if insight is None or not drawn:
        return Element(key, title, "No trial of the search has finished yet.")
    names = [one.name for one in source.effects][:10]
    values = [source.value(one) or 0.0 for one in drawn]
    low, high = min(values), max(values)
    heights = [*[[_height(source, one, name) for one in drawn] for name in names]]
    ends = [(value - low) / (high - low) if high > low else 0.5 for value in values]
    traces = _lines(source, drawn, heights, ends)
    chosen = source.known.chosen.number if source.known is not None else -1
    for index, one in enumerate(drawn):
        if one.number == chosen:
            line = {"color": ORANGE, "width": 3}
            ys = [*[column[index] for column in heights], ends[index]]
            traces.append(
                go.Scatter(
                    x=list(range(len(ys))),
                    y=ys,
                    mode="lines",
                    line=line,
                    name=f"chosen (trial {chosen})",
                    hoverinfo="skip",
                )
            )
    made = figure(traces)
    titles = [plain(shortened(source.name(name), 18)) for name in names]
    made.update_xaxes(
        tickmode="array", tickvals=list(range(len(names) + 1)), ticktext=[*titles, source.title], showgrid=True
    )
    made.update_yaxes(showticklabels=False, showgrid=False, range=[ABSENT - 0.06, 1.1])
    for index, name in enumerate(names):
        _labels(source, made, index, name)
    for place, value in ((0.0, low), (1.0, high)):
        made.add_annotation(x=len(names), y=place, text=f"{value:.1f}", showarrow=False, xshift=18, font={"size": 10})
    some = any(height == ABSENT for column in heights for height in column)
    lead = f"{len(drawn)} finished trials of the search, the better the warmer."
    lead += " Below an axis: the parameter does not exist in that trial." if some else ""
    more = len(source.effects) - len(names)
    lead += f" The {more} parameters that do least are left out." if more else ""
    return Element(key, title, lead, [Chart(made, "parallel coordinates of the finished trials", 460)])


def _height(source: Source, record: TrialRecord, name: str) -> float:
    assert source.insight is not None
    values = source.space.active(record.proposed or record.values)
    return source.insight.axes.scales[name].place(values[name]) if name in values else ABSENT


def _lines(source: Source, drawn: list[TrialRecord], heights: list[list[float]], ends: list[float]) -> list[Any]:
    """Return a trace for each colour, its lines parted by gaps."""
    traces = []
    for bin_ in range(BINS):
        own = [index for index, end in enumerate(ends) if min(int(_good(source, end) * BINS), BINS - 1) == bin_]
        xs: list[float | None] = []
        ys: list[float | None] = []
        texts: list[str] = []
        for index in own:
            column = [*[height[index] for height in heights], ends[index]]
            xs += [*range(len(column)), None]
            ys += [*(round(one, 4) for one in column), None]
            texts += [f"trial {drawn[index].number}: {source.value(drawn[index]):.1f}"] * len(column) + [""]
        if own:
            colour = _mixed((bin_ + 0.5) / BINS)
            traces.append(
                go.Scatter(
                    x=xs, y=ys, text=texts, mode="lines", line={"color": colour, "width": 1.3}, showlegend=False,
                    opacity=0.75, hovertemplate="%{text}<extra></extra>",
                )
            )  # fmt: skip
    return traces


def _good(source: Source, end: float) -> float:
    return end if source.sign > 0 else 1 - end


def _mixed(place: float) -> str:
    """Return the colour at a place of the scale."""
    places = [one for one, _ in SCALE]
    parts = [[int(colour[k : k + 2], 16) for _, colour in SCALE] for k in (1, 3, 5)]
    return "#" + "".join(f"{round(float(np.interp(place, places, part))):02x}" for part in parts)


def _labels(source: Source, made: go.Figure, index: int, name: str) -> None:
    """Write the values at the ends of an axis, or each of a few choices."""
    assert source.insight is not None
    domain, scale = source.space.parameters[name], source.insight.axes.scales[name]
    values = (
        domain.choice
        if domain.choice is not None and len(domain.choice) <= 6
        else domain.ends
        if domain.choice is None
        else (domain.choice[0], domain.choice[-1])
    )
    for value in values:
        label = plain(shortened(source.written(value, name), 14))
        made.add_annotation(
            x=index, y=scale.place(value), text=label, showarrow=False, xanchor="left", xshift=3, font={"size": 10}
        )


def front(source: Source) -> Element:
    """Show the Pareto front of a search with costs."""
    key, title = "front", "Pareto front"
    known, costs = source.known, source.space.costs
    if not costs:
        return Element(
            key, title, "The search has one objective; `costs` of the search space makes it one for a Pareto front."
        )
    if known is None:
        return Element(key, title, "No trial of the search has finished yet.")
    best = pareto_front(known)
    middle = knee(known)
    charts = [
        Chart(_front_chart(source, index), f"objective against {cost}", 380, small=len(costs) > 1)
        for index, cost in enumerate(costs)
    ]
    rows = tuple(
        (
            f"{one.number}" + (" (knee)" if middle is not None and one.number == middle.number else ""),
            f"{source.shown(one.mean):.1f}",
            *(f"{cost:.4g}" if math.isfinite(cost) else "-" for cost in one.costs(costs)),
            source.described(one.trainings[0]),
        )
        for one in best
    )
    heads = ("trial", f"expected {source.title}", *(COSTS[name] for name in costs), "configuration")
    lead = f"{len(best)} of {len(known.configurations)} configurations are beaten by no other in everything."
    table = Table("front", heads, rows, words=(len(heads) - 1,))
    return Element(key, title, lead, [*charts, table])


def _front_chart(source: Source, index: int) -> go.Figure:
    known, costs = source.known, source.space.costs
    assert known is not None
    best = {one.number for one in pareto_front(known)}
    traces = []
    for on_front, name, colour in ((False, "beaten", GREY), (True, "on the front", BLUE)):
        own = [
            (one.costs(costs)[index], source.shown(one.mean), one)
            for one in known.configurations
            if (one.number in best) is on_front
        ]
        own = sorted((one for one in own if math.isfinite(one[0])), key=lambda one: one[:2])
        if own:
            traces.append(
                go.Scatter(
                    x=[one[0] for one in own], y=[one[1] for one in own],
                    text=[plain(f"trial {one[2].number}: {source.described(one[2].trainings[0])}") for one in own],
                    mode="lines+markers" if on_front and len(costs) == 1 else "markers", name=name,
                    marker={"size": 9, "color": colour}, line={"color": colour, "shape": "hv"},
                    hovertemplate="%{text}<br>%{x:.4g}, %{y:.2f}<extra></extra>",
                )
            )  # fmt: skip
    return figure(traces, x=COSTS[costs[index]], y=f"expected {source.title}")


def left(source: Source) -> Element:
    """Show what is believed to be left to gain."""
    key, title = "left", "What is left to gain"
    known, insight = source.known, source.insight
    if known is None or insight is None:
        return Element(key, title, "No trial of the search has finished yet.")
    chosen = source.space.active(known.chosen.trainings[0].values)
    found = insight.left(chosen)
    low, high = found.interval
    rows = [
        (
            "best configuration of the space over the choice, expected",
            f"{found.expected:+.1f}",
            f"{low:.1f} to {high:.1f}",
        ),
        ("probability that it is better by half a point", f"{found.half_point:.2f}", ""),
        ("most promising configuration over the choice, expected", f"{found.most_gain:+.1f}", ""),
    ]
    rows += [
        (f"teacher {name} over the choice", f"{source.sign * (score - source.shown(known.chosen.mean)):+.1f}", "")
        for name, score in source.teachers.items()
    ]
    verdict = (
        "more trials are expected to pay"
        if found.expected >= 0.5
        else "more trials of this space are expected to bring little"
    )
    lead = f"By the effects model {verdict}: {found.expected:.1f} points are believed to be left in this space."
    promising = tuple(
        (name, source.written(value, name), source.written(chosen[name], name) if name in chosen else "-")
        for name, value in found.most.items()
    )
    tables = [
        Table("left", ("", "points", "90 %"), tuple(rows)),
        Table(
            "promising",
            ("parameter", "most promising", "chosen"),
            promising,
            "A configuration that was looked at by the model alone, and need not have been trained.",
            words=(0, 1, 2),
        ),
    ]
    return Element(key, title, lead, tables)
