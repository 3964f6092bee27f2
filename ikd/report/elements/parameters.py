"""What the parameters do: importance, partial dependence, pairs, toggles, and the way from the recipe to the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from ikd.report.charts import BLUE, GREY, ORANGE, PURPLE, SCALE, figure, plain, shaded, shortened
from ikd.report.parts import Chart, Element, Part, Table
from ikd.report.source import Source
from ikd.sweep import MainEffect, Pair, Step, ped_anova

NONE = "No trial of the search has finished yet, so nothing is known of the parameters."
MOST_TICKS = 6
"""Values of a range that all stand on its axis."""
MOST_CHARTS = 12
"""Parameters with a chart of their own."""


def importance(source: Source) -> Element:
    """Show which parameters matter, by the effects model and by PED-ANOVA."""
    key, title = "importance", "Which parameters matter"
    if not source.effects:
        return Element(key, title, NONE)
    shares = ped_anova(source.space, source.records)
    names = [one.name for one in source.effects]
    parts: list[Part] = [Chart(_spreads(source), "spread that each parameter makes", 120 + 26 * len(names), small=True)]
    if shares is not None:
        chart = _shares(source, {name: shares.get(name, (0.0, 0.0, 0.0)) for name in names})
        parts.append(Chart(chart, "PED-ANOVA importance of each parameter", 120 + 26 * len(names), small=True))
    rows = tuple(
        (
            one.name,
            f"{one.spread:.2f}",
            f"{one.spread_interval[0]:.2f} to {one.spread_interval[1]:.2f}",
            *_share_cells(shares, one.name),
        )
        for one in source.effects
    )
    heads = ("parameter", "spread, points", "90 %", "PED-ANOVA", "90 %")
    first = source.effects[0]
    lead = (
        f"{source.name(first.name)} moves {source.title} most: by {first.spread:.1f} points (standard deviation over "
    )
    lead += "its range, the others averaged). "
    lead += (
        "The other view, PED-ANOVA, is the share of what decides on being among the best quarter of the trials."
        if shares is not None
        else "PED-ANOVA needs ten finished trials of the search."
    )
    return Element(key, title, lead, [*parts, Table("importance", heads, rows)])


def _share_cells(shares: Mapping[str, tuple[float, float, float]] | None, name: str) -> tuple[str, str]:
    if shares is None or name not in shares:
        return "-", "-"
    share, low, high = shares[name]
    return f"{100 * share:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %"


def _bars(
    source: Source, names: list[str], figures: list[tuple[float, float, float]], x: str, colour: str
) -> go.Figure:
    values, lows, highs = zip(*figures, strict=True)
    bar = go.Bar(
        x=values,
        y=[plain(shortened(source.name(name), 24)) for name in names],
        orientation="h",
        marker={"color": colour},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(high - value, 0.0) for value, high in zip(values, highs, strict=True)],
            "arrayminus": [max(value - low, 0.0) for value, low in zip(values, lows, strict=True)],
            "color": GREY,
            "thickness": 1.5,
            "width": 4,
        },
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    made = figure([bar], x=x)
    made.update_yaxes(autorange="reversed", type="category")
    made.update_xaxes(rangemode="tozero")
    return made


def _spreads(source: Source) -> go.Figure:
    figures = [(one.spread, *one.spread_interval) for one in source.effects]
    return _bars(source, [one.name for one in source.effects], figures, "effects model: spread in points", BLUE)


def _shares(source: Source, shares: Mapping[str, tuple[float, float, float]]) -> go.Figure:
    figures = [(100 * share, 100 * low, 100 * high) for share, low, high in shares.values()]
    return _bars(source, list(shares), figures, "PED-ANOVA: share in %", PURPLE)


def dependence(source: Source) -> Element:
    """Show the objective over each parameter, the others averaged, with bands."""
    key, title = "dependence", "What each parameter does"
    if not source.effects:
        return Element(key, title, NONE)
    charts = [
        Chart(_dependence(source, one), f"objective over {one.name}", 260, small=True)
        for one in source.effects[:MOST_CHARTS]
    ]
    lead = "Expected objective, the other parameters averaged over the space; the band is 90 % of what is believed. "
    lead += "Dots: the recipe's own value, and the chosen one's (diamond)."
    more = len(source.effects) - len(charts)
    lead += f" {more} more that do less are in the table above." if more else ""
    return Element(key, title, lead, charts)


def _dependence(source: Source, one: MainEffect) -> go.Figure:
    domain = source.space.parameters[one.name]
    mean = [source.shown(value) for value in one.mean]
    low, high = ([source.shown(value) for value in ends] for ends in (one.low, one.high))
    axis = f"{source.name(one.name)}"
    if domain.choice is not None:
        xs: list[Any] = [plain(shortened(source.written(value, one.name), 18)) for value in one.values]
        half = [abs(top - value) for top, value in zip(high, mean, strict=True)]
        traces = [
            go.Scatter(
                x=xs,
                y=mean,
                mode="markers",
                marker={"size": 10, "color": BLUE},
                error_y={"type": "data", "array": half, "thickness": 2, "width": 6},
                hovertemplate="%{x}: %{y:.2f}<extra></extra>",
            )
        ]
    else:
        xs = list(one.values)
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        traces = [
            go.Scatter(x=xs, y=low, **band),
            go.Scatter(x=xs, y=high, fill="tonexty", fillcolor=shaded(BLUE, 0.2), **band),
            go.Scatter(
                x=xs,
                y=mean,
                mode="lines",
                line={"color": BLUE, "width": 2},
                hovertemplate="%{x}: %{y:.2f}<extra></extra>",
            ),
        ]
    made = figure(traces, x=axis, y=source.title, showlegend=False)
    if domain.choice is not None:
        made.update_xaxes(type="category")
    else:
        logarithmic = domain.log_uniform is not None or domain.log_int is not None
        made.update_xaxes(type="log" if logarithmic else "linear", nticks=6)
        if ticks := _ticks(one, logarithmic=logarithmic):
            made.update_xaxes(tickvals=ticks, ticktext=[f"{tick:.4g}" for tick in ticks])
    _marked(source, one, xs, mean, made)
    return made


def _ticks(one: MainEffect, *, logarithmic: bool) -> list[float]:
    """Return values to stand on the axis of a range: all of a few, powers of ten; none leaves it to plotly."""
    values = [float(value) for value in one.values]
    if len(values) <= MOST_TICKS:
        return values
    if not logarithmic:
        return []
    low, high = min(values), max(values)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1) if low <= 1.1 * 10.0**power and 10.0**power <= 1.1 * high]
    return powers if len(powers) > 1 else [low, math.sqrt(low * high), high]


def _marked(source: Source, one: MainEffect, xs: list[Any], mean: list[float], made: go.Figure) -> None:
    """Mark the values of the recipe and of the choice on the curve."""
    chosen = source.known.chosen.trainings[0].values.get(one.name) if source.known is not None else None
    for value, symbol, name in ((source.recipe.value(one.name), "circle", "recipe"), (chosen, "diamond", "chosen")):
        place = _place(one, value, source)
        if place is not None:
            made.add_trace(
                go.Scatter(
                    x=[xs[place] if source.space.parameters[one.name].choice is not None else value],
                    y=[mean[place]],
                    mode="markers",
                    marker={
                        "size": 11,
                        "color": ORANGE,
                        "symbol": f"{symbol}-open" if symbol == "circle" else symbol,
                        "line": {"width": 2},
                    },
                    hovertemplate=f"{name}<extra></extra>",
                )
            )


def _place(one: MainEffect, value: Any, source: Source) -> int | None:
    """Return the place of the value nearest to another one; None for one that the domain does not have."""
    domain = source.space.parameters[one.name]
    if value is None or not domain.contains(value):
        return None
    if domain.choice is not None:
        return one.values.index(value) if value in one.values else None
    return min(range(len(one.values)), key=lambda index: abs(one.values[index] - value))


def interactions(source: Source) -> Element:
    """Show which parameters depend on each other."""
    key, title = "interactions", "Which parameters depend on each other"
    if source.insight is None:
        return Element(key, title, NONE)
    if not source.pairs:
        return Element(key, title, "There are no two parameters that exist together and can be looked at as a pair.")
    rows = tuple((*pair.names, f"{pair.strength:.2f}") for pair in source.pairs[:10])
    strongest = source.pairs[0]
    lead = f"Strongest: {' with '.join(map(source.name, strongest.names))}; together they move {source.title} by "
    lead += f"{strongest.strength:.1f} points beyond the sum of what each does alone."
    charts = [
        Chart(_heat(source, pair), f"objective over {pair.names[0]} and {pair.names[1]}", 320, small=True)
        for pair in source.pairs[:2]
    ]
    heads = ("parameter", "with", "beyond their sum, points")
    return Element(key, title, lead, [*charts, Table("interactions", heads, rows, words=(0, 1))])


def _brief(source: Source, value: Any, name: str) -> str:
    return f"{value:.2g}" if isinstance(value, float) else shortened(source.written(value, name), 14)


def _heat(source: Source, pair: Pair) -> go.Figure:
    names = [[plain(_brief(source, v, name)) for v in own] for name, own in zip(pair.names, pair.values, strict=True)]
    values = [[source.shown(float(v)) for v in row] for row in pair.mean.T]
    scale = [*SCALE] if source.sign > 0 else [(1 - place, colour) for place, colour in reversed(SCALE)]
    trace = go.Heatmap(
        x=names[0], y=names[1], z=values, colorscale=scale, colorbar={"thickness": 10, "title": {"text": source.title}},
        hovertemplate="%{x}, %{y}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    made = figure([trace], x=source.name(pair.names[0]), y=source.name(pair.names[1]))
    made.update_xaxes(type="category")
    made.update_yaxes(type="category")
    return made


def toggles(source: Source) -> Element:
    """Show what each choice brings against the recipe's own, as an ablation table."""
    key, title = "toggles", "Toggles, as an ablation table"
    found = [one for one in source.effects if source.space.parameters[one.name].choice is not None]
    rows = [row for one in found for row in _toggle_rows(source, one)]
    if not rows:
        why = NONE if not source.effects else "No parameter of this space is a switch or a choice."
        return Element(key, title, why)
    heads = ("parameter", "from", "to", "effect, points", "90 %", "finished trials")
    note = (
        "By the effects model, the other parameters averaged over the space; trials: with the one and with the other."
    )
    lead = "What another value brings in place of the recipe's own, or of the first where the recipe's is not searched."
    return Element(key, title, lead, [Table("toggles", heads, tuple(rows), note, words=(0, 1, 2))])


def _toggle_rows(source: Source, one: MainEffect) -> list[tuple[str, ...]]:
    own = _place(one, source.recipe.value(one.name), source)
    base = 0 if own is None else own
    rows = []
    for index in range(len(one.values)):
        if index != base:
            change, low, high = one.difference(index, base)
            counts = [_count(source, one.name, one.values[place]) for place in (base, index)]
            figures = (f"{change:+.1f}", f"{low:+.1f} to {high:+.1f}", f"{counts[0]} / {counts[1]}")
            words = [source.written(one.values[place], one.name) for place in (base, index)]
            rows.append((one.name, *words, *figures))
    return rows


def _count(source: Source, name: str, value: Any) -> int:
    searched = [one for one in source.finished if one.role == "search" and one.in_space]
    return sum(one.values.get(name) == value for one in searched)


def path(source: Source) -> Element:
    """Show what each change from the recipe to the choice brought."""
    key, title = "path", "From the recipe to the choice"
    if source.insight is None or source.known is None:
        return Element(key, title, NONE)
    start, end, left_out = _ends(source)
    steps = source.insight.path(start, end)
    if len(steps) < 2:
        return Element(key, title, "The choice is the recipe itself: no change leads to it.")
    trained = {_point(source, one.values): one for one in source.finished if one.role == "search" and one.in_space}
    rows = tuple(_step_row(source, step, trained) for step in steps)
    heads = ("change", "expected", "gain", "90 %", "trained as")
    total = steps[-1].mean - steps[0].mean
    best = max(steps[1:], key=lambda one: one.gain)
    most = f"{_changes(source, best)} ({best.gain:+.1f})"
    bring = "change brings" if len(steps) == 2 else "changes bring"
    lead = f"{len(steps) - 1} {bring} {total:+.1f} points by the effects model, most of all {most}."
    if left_out:
        names = ", ".join(map(source.name, left_out))
        lead += f" The recipe's own {names} is none of the values searched; there the way begins with the choice's."
    chart = Chart(_path_chart(source, steps), "expected objective after each change", 90 + 44 * len(steps))
    note = (
        "At each step the change that is expected to bring most; what it makes exist comes with it. Bars: 90 % of the "
    )
    note += "change."
    return Element(key, title, lead, [chart, Table("path", heads, rows, note, words=(0, 4))])


def _ends(source: Source) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return the recipe's values, the choice's, and the parameters whose value in the recipe is not searched."""
    insight, known = source.insight, source.known
    assert insight is not None
    assert known is not None
    end = source.space.active(known.chosen.trainings[0].values)
    paper = source.anchors.get("paper")
    own = paper.values if paper is not None and paper.in_space else {}
    start, left_out = dict[str, Any](), list[str]()
    for name, scale in insight.axes.scales.items():
        value = own[name] if name in own else source.recipe.value(name)
        if scale.contains(value):
            start[name] = value
        else:
            start[name] = end.get(name, insight.values_of(name, 1)[0])
            left_out += [name] if name in end else []
    return source.space.active(start), end, left_out


def _point(source: Source, values: Mapping[str, Any]) -> str:
    return repr(sorted(source.space.active(values).items()))


def _changes(source: Source, step: Step) -> str:
    parts = [
        f"{source.name(name)} = {source.written(value, name)}"
        for name, value in step.changes.items()
        if value is not None
    ]
    return ", ".join(parts) or "the recipe"


def _first_change(source: Source, step: Step) -> str:
    first, *more = _changes(source, step).split(", ")
    return first + (", …" if more else "")


def _step_row(source: Source, step: Step, trained: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = step.interval
    own = trained.get(_point(source, step.values))
    figures = (f"{step.gain:+.1f}", f"{low:+.1f} to {high:+.1f}") if step.changes else ("", "")
    return (
        _changes(source, step),
        f"{source.shown(step.mean):.1f}",
        *figures,
        "-" if own is None else f"trial {own.number}: {source.value(own):.1f}",
    )


def _path_chart(source: Source, steps: list[Step]) -> go.Figure:
    names = [
        plain(shortened(f"{index}. {_first_change(source, step)}" if index else "the recipe", 32))
        for index, step in enumerate(steps)
    ]
    half = [step.interval[1] - step.gain for step in steps]
    trace = go.Scatter(
        x=[source.shown(step.mean) for step in steps],
        y=names,
        mode="lines+markers",
        line={"color": BLUE},
        marker={"size": 9},
        error_x={"type": "data", "array": half, "color": GREY, "thickness": 1.5},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    made = figure([trace], x=f"{source.title} expected")
    made.update_yaxes(autorange="reversed", type="category")
    return made
