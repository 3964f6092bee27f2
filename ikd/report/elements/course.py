"""How the sweep went: its history by cost, learning curves, what stopping did, where the time went, what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import plotly.graph_objects as go

from ikd.report.charts import BLUE, GREY, ORANGE, ORDER, RED, STATES, figure, plain, shaded
from ikd.report.parts import Chart, Element, Lines, Part, Table
from ikd.report.source import Source
from ikd.sweep import ANCHOR_NAMES, Ledger, Rung, TrialRecord, curve_of, duration, ended_how, ledger, rungs_of
from ikd.sweep import said_of_stopping as stopping_lines

LEAST_SHOWN = 3
"""Finished trials from which on the axis of the objective is theirs alone."""


def spent_by(source: Source) -> dict[int, float]:
    """Return by the number of a trial the seconds that all trials had held places when it reported last."""
    ended = sorted(source.records, key=lambda one: (one.reports[-1].order if one.reports else -1, one.number))
    total, found = 0.0, dict[int, float]()
    for record in ended:
        total += max(record.held, record.seconds)
        found[record.number] = total
    return found


def best_so_far(source: Source) -> list[tuple[float, float]]:
    """Return where the best single value of the search rose: seconds spent and the value; the last point is the end."""
    spent, found = spent_by(source), list[tuple[float, float]]()
    own = [one for one in source.finished if one.role == "search" and one.in_space]
    for record in sorted(own, key=lambda one: spent[one.number]):
        value = source.value(record)
        assert value is not None
        if not found or source.sign * value > source.sign * found[-1][1]:
            found.append((spent[record.number], value))
    return [*found, (max(spent.values()), found[-1][1])] if found else []


def history(source: Source) -> Element:
    """Show what was found by what had been spent."""
    key, title = "history", "History by cost"
    ended = [one for one in source.records if one.role == "search" and source.value(one) is not None and one.ended]
    if not ended:
        return Element(key, title, "No trial has ended with a result yet.")
    gpus, spent = source.status.files.runner.trial.gpus, spent_by(source)
    unit, name = (3600.0, "hours") if max(spent.values()) >= 2 * 3600 else (60.0, "minutes")
    axis, factor = (f"GPU-{name} spent", gpus / unit) if gpus else (f"{name} of trials spent", 1 / unit)
    cost = {number: seconds * factor for number, seconds in spent.items()}
    points = [_points(source, [one for one in ended if one.state == state], state, cost) for state in STATES]
    traces = [trace for trace in points if trace is not None]
    best = [(seconds * factor, value) for seconds, value in best_so_far(source)]
    if best:
        line = {"shape": "hv", "width": 2, "color": ORANGE}
        xs, ys = zip(*best, strict=True)
        traces.append(go.Scatter(x=xs, y=ys, mode="lines", name="best seen so far", line=line, hoverinfo="skip"))
    made = figure(traces, x=axis, y=source.title)
    _anchor_lines(source, made)
    hidden = _near(source, ended, made)
    lead = _history_said(best, max(cost.values()), axis)
    lead += f" {hidden} that ended early lie below the axis; a double click shows them." if hidden else ""
    return Element(key, title, lead, [Chart(made, "objective of each trial by the cost spent when it ended", 420)])


def _near(source: Source, ended: Sequence[TrialRecord], made: go.Figure) -> int:
    """Let the axis show what finished, and return how many trials lie outside."""
    values = [value for one in source.finished if (value := source.value(one)) is not None]
    if len(values) < LEAST_SHOWN or max(values) == min(values):
        return 0
    room = 0.12 * (max(values) - min(values))
    low, high = min(values) - room, max(values) + room
    made.update_yaxes(range=[low, high])
    return sum(not low <= (source.value(one) or 0.0) <= high for one in ended)


def _history_said(best: Sequence[tuple[float, float]], total: float, axis: str) -> str:
    if not best:
        return f"{total:.1f} {axis}; no trial of the search has finished."
    when = best[-2][0]
    share = 100 * when / total if total else 0.0
    return (
        f"The last new best came after {when:.1f} of {total:.1f} {axis} ({share:.0f} %). The line is the best single "
        "value, which luck lifts; what is expected of the choice is above."
    )


def _points(source: Source, own: Sequence[TrialRecord], state: str, cost: dict[int, float]) -> go.Scatter | None:
    if not own:
        return None
    symbol = "circle" if state == "finished" else "x-thin-open"
    return go.Scatter(
        x=[cost[one.number] for one in own],
        y=[source.value(one) for one in own],
        mode="markers",
        name="finished" if state == "finished" else f"{state} (what it had then)",
        marker={"size": 7, "color": STATES[state], "opacity": 0.85, "symbol": symbol},
        text=[plain(f"{source.called(one)}: {source.described(one)}") for one in own],
        hovertemplate="%{text}<br>%{y:.2f}<extra></extra>",
    )


def _anchor_lines(source: Source, made: go.Figure) -> None:
    for record in source.finished:
        if record.anchors:
            name = " = ".join(ANCHOR_NAMES[one] for one in record.anchors)
            label = {"text": plain(name), "textposition": "start", "font": {"size": 11}}
            made.add_hline(y=source.value(record), line={"color": GREY, "width": 1, "dash": "dash"}, label=label)


def curves(source: Source) -> Element:
    """Show every learning curve, with the rungs and what stopped there."""
    key, title = "curves", "Learning curves, rungs and stops"
    drawn = [one for one in source.records if any(math.isfinite(v) for _, v in curve_of(one, source.metric))]
    if not drawn:
        return Element(key, title, "No trial has reported a validation yet.")
    chosen = source.known.training.number if source.known is not None else -1
    groups: dict[str, list[TrialRecord]] = {"stopped": [], "finished": [], "other": []}
    for one in drawn:
        if not one.anchors and one.number != chosen:
            groups[one.state if one.state in groups else "other"].append(one)
    names = {"stopped": "stopped early", "finished": "finished", "other": "running, interrupted, failed or diverged"}
    colours = {"stopped": GREY, "finished": BLUE, "other": RED}
    traces = [
        _curves(source, own, names[state], shaded(colours[state], 0.55 if len(own) > 5 else 0.8))
        for state, own in groups.items()
        if own
    ]
    ends = [(curve[-1], one) for one in groups["stopped"] if (curve := curve_of(one, source.metric))]
    if ends:
        traces.append(
            go.Scatter(
                x=[point[0] for point, _ in ends],
                y=[100 * point[1] for point, _ in ends],
                mode="markers",
                name="stopped here",
                marker={"symbol": "x-thin-open", "size": 7, "color": GREY, "line": {"width": 1.5}},
                text=[plain(f"trial {one.number}: {one.reason}") for _, one in ends],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    for index, record in enumerate([one for one in drawn if one.anchors]):
        colour = ORDER[(index + 2) % len(ORDER)]
        traces.append(_curves(source, [record], " = ".join(ANCHOR_NAMES[a] for a in record.anchors), colour, 2))
    traces += [
        _curves(source, [one], f"chosen (trial {one.number})", ORANGE, 3) for one in drawn if one.number == chosen
    ]
    made = figure(traces, x="epoch", y=source.title)
    rungs = rungs_of(source.space, source.recipe, source.records)
    for rung in rungs[:12]:
        made.add_vline(x=rung.epoch, line={"color": GREY, "width": 1, "dash": "dot"})
    at = ", ".join(str(rung.epoch) for rung in rungs[:12])
    lead = f"{len(drawn)} trials. " + (f"Dotted: epochs at which trials are judged ({at})." if rungs else "")
    return Element(key, title, lead.strip(), [Chart(made, "objective of every trial by epoch", 460)])


def _curves(source: Source, own: Sequence[TrialRecord], name: str, colour: str, width: float = 1) -> go.Scatter:
    """Return some curves as one trace, with a gap between each two: hundreds of traces are slow to draw."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for one in own:
        for epoch, value in curve_of(one, source.metric):
            xs.append(epoch)
            ys.append(round(100 * value, 3) if math.isfinite(value) else None)
            texts.append(str(one.number))
        xs.append(None)
        ys.append(None)
        texts.append("")
    return go.Scatter(
        x=xs,
        y=ys,
        text=texts,
        mode="lines",
        name=plain(name),
        line={"color": colour, "width": width},
        hovertemplate="trial %{text}, epoch %{x}: %{y:.2f}<extra></extra>",
    )


def rungs(source: Source) -> Element:
    """Show whether early ranks agreed with those at the end."""
    key, title = "rungs", "Did the low rungs rank right?"
    found = rungs_of(source.space, source.recipe, source.records)
    told = [rung for rung in found if rung.came]
    if not told:
        return Element(key, title, "No trial that may be stopped has reached a rung.")
    rows = tuple(
        (
            str(rung.epoch),
            str(rung.came),
            str(rung.stopped),
            str(rung.finished),
            "-" if rung.correlation is None else f"{rung.correlation:.2f}",
        )
        for rung in told
    )
    heads = ("epoch", "came", "stopped there", "finished trials compared", "rank correlation with the end")
    note = "Spearman's, over finished trials alone: those that were stopped have no end, so that it is rather too low."
    said = stopping_lines(source.space, source.recipe, source.records)
    lead = f"S{said[0][1:]}." if said else "Too few trials have finished to tell."
    parts: list[Part] = [Table("rungs", heads, rows, note, words=())]
    chart = _rung_chart(source, [rung for rung in told if rung.correlation is not None][:4])
    return Element(key, title, lead, [*([chart] if chart else []), *parts])


def _rung_chart(source: Source, told: Sequence[Rung]) -> Chart | None:
    traces = []
    for rung, colour in zip(told, ORDER, strict=False):
        pairs = []
        for one in source.finished:
            early = next((v for epoch, v in curve_of(one, source.metric) if epoch >= rung.epoch), math.nan)
            if one.is_judged and math.isfinite(early):
                pairs.append((100 * early, source.value(one), f"trial {one.number}"))
        if pairs:
            xs, ys, texts = zip(*pairs, strict=True)
            name = f"epoch {rung.epoch} (agrees by {rung.correlation:.2f})"
            traces.append(
                go.Scatter(
                    x=xs,
                    y=ys,
                    text=texts,
                    mode="markers",
                    name=name,
                    marker={"color": colour, "size": 8, "opacity": 0.8},
                    hovertemplate="%{text}: %{x:.1f} there, %{y:.1f} at the end<extra></extra>",
                )
            )
    if not traces:
        return None
    made = figure(traces, x=f"{source.title} at the rung", y=f"{source.title} at the end")
    return Chart(made, "objective at each rung against that at the end, of finished trials", 380)


def spent(source: Source) -> Element:
    """Show where the time went, and what each stop saved."""
    key, title = "spent", "Where the time went, and what stopping saved"
    if not source.records:
        return Element(key, title, "Nothing has been spent yet.")
    book, gpus = ledger(source.records), source.status.files.runner.trial.gpus
    names = {"open": "of open trials", "start_up": "start-up, saving, waiting", "attacks": "making perturbations"}
    names |= {"stopped": "stopped early", "useful": "trials that finished", "wasted": "failed or diverged"}
    parts = [(names.get(one.name, one.name), getattr(book, one.name) * (gpus or 1)) for one in fields(Ledger)]
    parts = [(name, seconds) for name, seconds in parts if seconds >= 0.5]
    total = sum(seconds for _, seconds in parts)
    rows = tuple((name, duration(seconds), f"{100 * seconds / total:.0f} %") for name, seconds in parts)
    bar = go.Bar(
        x=[100 * seconds / total for _, seconds in parts],
        y=[name for name, _ in parts],
        orientation="h",
        marker={"color": BLUE},
        text=[duration(seconds) for _, seconds in parts],
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    saved, epochs, hours = _saved(source)
    what = "GPU time" if gpus else "time of trials"
    lead = f"{duration(total)} of {what} in {len(source.records)} trials. "
    lead += (
        f"{len(saved)} stops saved {epochs} epochs, about {duration(hours * (gpus or 1))}."
        if saved
        else "Nothing was stopped early."
    )
    tables: list[Part] = [Table("spent", ("what", what, "share"), rows)]
    if saved:
        heads = ("trial", "had", "stopped at", "of epochs", "saved", "why")
        tables.append(Table("stops", heads, tuple(saved), words=(5,), open=10))
    made = figure([bar], x="% of the time")
    made.update_yaxes(autorange="reversed", type="category")
    chart = Chart(made, "where the time went", 90 + 32 * len(parts))
    return Element(key, title, lead, [chart, *tables] if parts else tables)


def _saved(source: Source) -> tuple[list[tuple[str, ...]], int, float]:
    """Return a row for each stop, the epochs that all of them saved, and the seconds."""
    rows: list[tuple[str, ...]] = []
    epochs, seconds = 0, 0.0
    for record in source.records:
        left = record.total_epochs(source.recipe.total_epochs) - record.epochs
        if record.state != "stopped" or not record.epochs or left <= 0:
            continue
        own = left * record.seconds / record.epochs
        epochs, seconds = epochs + left, seconds + own
        value = source.value(record)
        had = "-" if value is None else f"{value:.1f}"
        planned = str(record.total_epochs(source.recipe.total_epochs))
        rows.append((str(record.number), had, str(record.epochs), planned, f"{left} ({duration(own)})", record.reason))
    return rows, epochs, seconds


def failures(source: Source) -> Element:
    """Show what failed or diverged, and why."""
    key, title = "failures", "Failures"
    bad = [one for one in source.records if one.state in ("failed", "diverged") or one.failures or one.crashes]
    if not bad:
        return Element(key, title, "No trial has failed, diverged or crashed.")
    rows = tuple(
        (
            str(one.number),
            ended_how(one),
            f"{one.epochs} of {one.total_epochs(source.recipe.total_epochs)}",
            f"{one.attempts}, {one.crashes} of them crashed" if one.crashes else str(one.attempts),
            "; ".join(one.failures) or "-",
            source.described(one),
            str(one.log),
        )
        for one in bad
    )
    heads = ("trial", "how it ended", "epochs", "attempts", "failed before", "configuration", "log")
    count = sum(one.state == "failed" for one in bad)
    diverged = sum(one.state == "diverged" for one in bad)
    lead = f"{count} failed, {diverged} diverged, {sum(one.crashes for one in bad)} attempts crashed."
    again = (
        f"ikd sweep ... --name {source.status.name} --retry-failed tries failed ones again once the cause is mended."
    )
    parts: list[Part] = [Table("failures", heads, rows, words=(1, 2, 3, 4, 5, 6), open=10)]
    return Element(key, title, lead, [*parts, *([Lines((again,))] if count else [])])
