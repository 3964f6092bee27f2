"""What mkdocs calls while it builds the site: pages made from the code, and formulas as MathML."""

from __future__ import annotations

import html
import re
from typing import Any, get_args

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from pages import commands, diagrams, fields, losses, recipes

LOSSES = "<!-- made: losses -->"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def made() -> dict[str, str]:
    """Return the pages that are made from the code, by their paths below docs/."""
    pages = {f"reference/{kind}.md": fields.page(kind) for kind in get_args(fields.Kind)}
    return {**pages, "reference/recipes.md": recipes.page(), "reference/command_line.md": commands.page()}


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the made pages and drawings."""
    contents: dict[str, str | bytes] = {**made(), **diagrams.drawn()}
    for path, text in contents.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the sections on losses where a page asks for them."""
    return markdown.replace(LOSSES, losses.sections()) if LOSSES in markdown else markdown


def on_page_content(text: str, **_: Any) -> str:
    """Turn formulas, which Markdown leaves as TeX, into MathML: a browser draws it without a script."""
    return FORMULA.sub(_formula, text)


def _formula(found: re.Match[str]) -> str:
    display = "block" if found[2] == "[" else "inline"
    return convert(html.unescape(found[3]), display=display)
