"""The look of all charts, light and dark: colours that stand out on both, no background of their own."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3d85c6", "#e08a1e", "#2e9e6b", "#d1495b", "#8f6fd1", "#8c8c8c"
ORDER = (BLUE, ORANGE, GREEN, RED, PURPLE, "#1aa3a3", "#b5793b", "#d070b0")
STATES = {"finished": BLUE, "stopped": GREY, "diverged": RED, "failed": RED, "running": GREEN, "waiting": GREEN}
SCALE = ((0.0, "#6c6f93"), (0.5, "#3d85c6"), (1.0, "#f2a93b"))
"""Of figures from bad to good."""


def plain(text: object) -> str:
    """Return a text as plotly is to show it: what looks like markup in a name is no markup."""
    return html.escape(str(text), quote=False)


def shaded(colour: str, opacity: float) -> str:
    """Return a colour that lets through what lies behind it."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def figure(traces: Sequence[Any], *, x: str = "", y: str = "", **layout: Any) -> go.Figure:
    """Return a chart with axes that make room for what stands on them, and its legend above it.

    Args:
        traces: of plotly.
        x: title of the axis across; plain text.
        y: title of the axis upwards.
        layout: further settings of plotly.
    """
    made = go.Figure(list(traces))
    made.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        font={"size": 12},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hovermode="closest",
        hoverlabel={"align": "left"},
    )
    made.update_xaxes(title={"text": plain(x)}, automargin=True, zeroline=False, title_standoff=8)
    made.update_yaxes(title={"text": plain(y)}, automargin=True, zeroline=False, title_standoff=8)
    made.update_layout(**layout)
    return made


def shortened(text: str, most: int = 34) -> str:
    """Return a text that has room beside an axis; the middle of a long one is left out."""
    return text if len(text) <= most else f"{text[: most - 13]}…{text[-12:]}"
