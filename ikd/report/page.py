"""The page: one file that holds all it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import plotly.io
import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ikd.report.parts import Chart, Element, Lines, Picture, Table

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Head:
    """What stands on top of a page.

    Attributes:
        title: of the page.
        state: how far the sweep is, in a sentence.
        lines: the result.
        facts: names and values below it.
    """

    title: str
    state: str
    lines: Sequence[str]
    facts: Sequence[tuple[str, str]]


def rendered(head: Head, elements: Sequence[Element]) -> str:
    """Return the page as HTML that asks the network for nothing.

    Every text is escaped: names of sweeps, classes and folders come from other people.
    """
    environment = Environment(loader=PackageLoader("ikd.report"), autoescape=True, undefined=StrictUndefined)
    environment.filters["spec"] = _spec
    environment.tests |= {
        "table": lambda part: isinstance(part, Table),
        "chart": lambda part: isinstance(part, Chart),
        "picture": lambda part: isinstance(part, Picture),
        "text": lambda part: isinstance(part, Lines),
    }
    groups = [(name, list(own)) for name, own in groupby(elements, key=lambda one: one.group)]
    library = Markup(plotly.offline.get_plotlyjs().replace("</script", "<\\/script"))
    return environment.get_template("page.html.j2").render(head=head, groups=groups, library=library)


def _spec(chart: Chart) -> Markup:
    """Return a chart as JSON that can stand in a script element, whatever its texts are."""
    text = plotly.io.to_json(chart.figure, validate=False)
    for unsafe, escaped in _UNSAFE.items():
        text = text.replace(unsafe, escaped)
    return Markup(text)
