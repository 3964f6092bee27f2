"""What was chosen, what it brings, and how far that can be trusted."""

from __future__ import annotations

import plotly.graph_objects as go

from ikd.config import differences
from ikd.report.charts import BLUE, GREY, ORANGE, figure, plain
from ikd.report.parts import Chart, Element, Lines, Part, Table
from ikd.report.source import Source
from ikd.sweep import ANCHOR_NAMES, Configuration, Gain, objectives_apart, readable

FINALISTS = 8
"""Configurations that are shown with their seeds."""
NONE = "No trial of the search has finished yet, so nothing is chosen."


def chosen(source: Source) -> Element:
    """Show the chosen recipe as a difference to the base recipe."""
    key, title = "chosen", "The chosen recipe"
    best = source.known.chosen.trainings[0] if source.known is not None else source.status.best
    if best is None:
        return Element(key, title, NONE)
    changes = differences(source.recipe, source.status.recipe_of(best))
    rows = tuple(
        (name, _written(was, name), _written(now, name), "searched" if name in source.space.fields else "follows")
        for name, (was, now) in changes.items()
    )
    what = "is chosen" if source.known is not None else "is the best so far (no trial of the search has finished)"
    lead = f"{source.called(best).capitalize()} {what}: {source.described(best)}. "
    base = f"the recipe {source.recipe.name}, the paper's values"
    lead += f"It differs from {base} in {len(rows)} fields." if rows else f"It is {base}."
    table = Table("chosen", ("field", "recipe", "chosen", "why"), rows, words=(0, 1, 2, 3))
    export = f"ikd export {source.status.name} --to FOLDER writes its student for plain mmdet."
    return Element(key, title, lead, [*([table] if rows else []), Lines((export,))])


def _written(value: object, name: str) -> str:
    return "-" if value is None else readable(value, name)


def gains(source: Source) -> Element:
    """Show the gain over every anchor, with its interval."""
    key, title = "gains", "Gain over every anchor"
    if source.known is None:
        return Element(key, title, NONE)
    if not source.gains:
        why = (
            "the choice is the only anchor" if source.anchors else "the sweep has none (`anchors` of the search space)"
        )
        return Element(key, title, f"There is no finished anchor to compare the choice with: {why}.")
    rows = tuple(_gain_row(source, gain) for gain in source.gains)
    heads = ("over", "gain", "90 %", "P(better)", "trainings", "by")
    note = "Confirmed: by trainings that neither the search nor the choice has seen. Believed: by those that took part "
    note += "in the choice, together with the effects model; optimistic where little was trained."
    confirmed = sum(gain.confirmed for gain in source.gains)
    lead = f"{source.title}, positive for better; {confirmed} of {len(source.gains)} by trainings kept apart."
    chart = Chart(_gain_chart(source), "gain over each anchor with intervals of 90 %", 110 + 46 * len(rows))
    return Element(key, title, lead, [chart, Table("gains", heads, rows, note, words=(0, 5))])


def anchor_name(gain: Gain) -> str:
    """Return the names of the anchor of a gain."""
    return " = ".join(ANCHOR_NAMES[name] for name in gain.anchor.anchors)


def _gain_row(source: Source, gain: Gain) -> tuple[str, ...]:
    low, high = gain.interval
    how = "trainings kept apart" if gain.confirmed else "belief"
    trainings = f"{gain.chosen_trainings} + {gain.anchor_trainings}"
    figures = (f"{gain.difference:+.1f}", f"{low:+.1f} to {high:+.1f}", f"{gain.probability:.2f}", trainings)
    return (f"{anchor_name(gain)} (trial {gain.anchor.number})", *figures, how)


def _gain_chart(source: Source) -> go.Figure:
    traces = []
    for confirmed, name, colour in ((True, "confirmed", BLUE), (False, "believed", ORANGE)):
        own = [gain for gain in source.gains if gain.confirmed is confirmed]
        if own:
            half = [gain.interval[1] - gain.difference for gain in own]
            traces.append(
                go.Scatter(
                    x=[gain.difference for gain in own],
                    y=[plain(anchor_name(gain)) for gain in own],
                    error_x={"type": "data", "array": half, "thickness": 2, "width": 6},
                    mode="markers",
                    marker={"size": 11, "color": colour},
                    name=name,
                    hovertemplate="%{y}: %{x:+.2f}<extra></extra>",
                )
            )
    made = figure(traces, x=f"gain in {source.title} (90 %)", showlegend=True)
    made.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dot"})
    made.update_yaxes(autorange="reversed", type="category")
    return made


def finalists(source: Source) -> Element:
    """Show the best expected configurations with each of their trainings."""
    key, title = "finalists", "Finalists over seeds"
    known = source.known
    if known is None:
        return Element(key, title, NONE)
    best = known.configurations[:FINALISTS]
    rows = tuple(_finalist(source, one) for one in best)
    heads = ("trial", "expected", "90 %", "P(best)", "trainings", "kept apart", "configuration")
    again = sum(len(one.trainings) > 1 for one in known.configurations)
    spread = known.pooled**0.5
    lead = (
        f"{len(known.configurations)} configurations have finished, {again} of them with more than one seed; "
        f"one training differs from another of the same configuration by a standard deviation of {spread:.1f} points."
    )
    chart = Chart(_finalist_chart(source, best), "expected objective and every training of the best configurations")
    return Element(key, title, lead, [chart, Table("finalists", heads, rows, words=(6,))])


def _finalist(source: Source, one: Configuration) -> tuple[str, ...]:
    assert source.known is not None
    low, high = sorted(source.shown(value) for value in one.interval)
    values = ", ".join(f"{source.value(training):.1f}" for training in one.trainings)
    apart = ", ".join(f"{source.shown(v):.1f}" for v in objectives_apart(source.space, source.records, one))
    chance = f"{source.known.chances[one.number]:.2f}"
    figures = (f"{source.shown(one.mean):.1f}", f"{low:.1f} to {high:.1f}", chance, values, apart or "-")
    return (str(one.number), *figures, source.described(one.trainings[0]))


def _finalist_chart(source: Source, best: tuple[Configuration, ...]) -> go.Figure:
    names = [f"trial {one.number}" for one in best]
    half = [one.interval[1] - one.mean for one in best]
    seen = [(name, source.value(one), one) for name, own in zip(names, best, strict=True) for one in own.trainings]
    apart = [
        (name, source.shown(float(value)))
        for name, own in zip(names, best, strict=True)
        for value in objectives_apart(source.space, source.records, own)
    ]
    traces = [
        go.Scatter(
            x=names,
            y=[source.shown(one.mean) for one in best],
            error_y={"type": "data", "array": half, "thickness": 2, "width": 6},
            mode="markers",
            name="expected, 90 %",
            marker={"size": 11, "color": BLUE},
            hovertemplate="%{x}: %{y:.2f}<extra>expected</extra>",
        ),
        go.Scatter(
            x=[name for name, _, _ in seen],
            y=[value for _, value, _ in seen],
            mode="markers",
            name="a training",
            marker={"size": 9, "color": ORANGE, "symbol": "circle-open", "line": {"width": 2}},
            text=[f"trial {one.number}, {one.role}" for _, _, one in seen],
            hovertemplate="%{text}: %{y:.2f}<extra></extra>",
        ),
    ]
    if apart:
        xs, ys = zip(*apart, strict=True)
        symbol = {"size": 10, "color": GREY, "symbol": "x-thin-open", "line": {"width": 2}}
        traces.append(go.Scatter(x=xs, y=ys, mode="markers", name="kept apart", marker=symbol))
    return figure(traces, y=source.title)


def optimism(source: Source) -> Element:
    """Show what was seen of the choice beside what trainings kept apart say."""
    key, title = "optimism", "Optimism: seen against kept apart"
    known = source.known
    if known is None:
        return Element(key, title, NONE)
    apart = objectives_apart(source.space, source.records, known.chosen)
    seen, luck = source.shown(known.value(known.seen)), max(known.luck, 0.0)
    rows: list[tuple[str, ...]] = [
        (f"best single training (trial {known.seen.number})", f"{seen:.1f}", "seen by the search: do not report it"),
        ("of that, expected to be luck", f"{luck:.1f}", "its seed, and having been picked out of many"),
        ("expected of the choice", f"{source.shown(known.chosen.mean):.1f}", "by all trainings together"),
    ]
    parts: list[Part] = []
    if len(apart):
        mean = source.shown(float(apart.mean()))
        own = source.sign * (source.shown(known.chosen.mean) - mean)
        rows.append((f"mean of {len(apart)} trainings kept apart", f"{mean:.1f}", "what a new training is like"))
        rows.append(("expectation above that", f"{own:+.1f}", "near 0: the expectation was honest"))
        lead = f"The best single training has {seen:.1f}; what nobody has chosen by has {mean:.1f}."
    else:
        lead = f"The best single training has {seen:.1f}, of which {luck:.1f} is expected to be luck; nothing of the "
        lead += "choice was kept apart, so that this cannot be checked (budget.confirm.apart keeps some)."
    parts.append(Table("optimism", ("", source.title, "which is"), tuple(rows), words=(0, 2)))
    return Element(key, title, lead, parts)
