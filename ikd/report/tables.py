"""The tables of a report for a document: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ikd.errors import refuse
from ikd.files import write_text
from ikd.report.page import Head
from ikd.report.parts import Element
from ikd.tracking import cell, markdown_table, plain

_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
_TEX |= {">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
_TEX |= {"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "λ": r"$\lambda$", "ψ": r"$\psi$", "σ": r"$\sigma$"}
_TEX |= {
    "τ": r"$\tau$",
    "ε": r"$\epsilon$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "…": r"\ldots{}",
    "→": r"$\rightarrow$",
}


def tables_as(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the formats that a person asks for, each once.

    Raises:
        BadInput: one is none.
    """
    for one in formats:
        if one not in FORMATS:
            refuse("--tables", f"must be one of {', '.join(FORMATS)}", one)
    return tuple(dict.fromkeys(formats))


def write_tables(form: str, head: Head, elements: Sequence[Element], page: Path) -> list[Path]:
    """Write the tables of a report beside its page.

    Args:
        form: one of `FORMATS`.
        head: of the page.
        elements: of the page.
        page: its file, whose name the tables take over.

    Returns:
        What was written: NAME.md, NAME.tex, or a file for each table in the folder NAME-tables.
    """
    files = FORMATS[form](head, elements, page)
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text.encode("utf-8", "backslashreplace").decode())
    return list(files)


def _markdown(head: Head, elements: Sequence[Element], page: Path) -> dict[Path, str]:
    lines = [f"# {cell(head.title)}", "", plain(head.state), ""]
    lines += [f"{index}. {cell(line)}" for index, line in enumerate(head.lines, start=1)]
    for element in elements:
        lines += ["", f"## {cell(element.title)}", "", plain(element.lead)]
        for table in element.tables:
            heads, rows = [cell(head) for head in table.heads], [[cell(one) for one in row] for row in table.rows]
            numbers = [place for place in range(len(heads)) if place not in table.words]
            lines += ["", markdown_table(heads, rows, right=numbers).rstrip("\n")]
            lines += ["", plain(table.note)] if table.note else []
    return {page.with_suffix(".md"): "\n".join(lines) + "\n"}


def _latex(head: Head, elements: Sequence[Element], page: Path) -> dict[Path, str]:
    lines = [f"% {' '.join(head.title.split())}", *[f"% {' '.join(line.split())}" for line in head.lines]]
    lines.append(r"% \usepackage{booktabs}")
    for element in elements:
        for table in element.tables:
            columns = "".join("l" if place in table.words else "r" for place in range(len(table.heads)))
            lines += ["", r"\begin{table}", r"\centering", f"\\caption{{{_tex(element.title)}}}"]
            lines += [f"\\label{{tab:{table.key}}}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
            lines += [_tex_row(table.heads), r"\midrule", *map(_tex_row, table.rows), r"\bottomrule"]
            lines += [r"\end{tabular}", r"\end{table}"]
    return {page.with_suffix(".tex"): "\n".join(lines) + "\n"}


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(text: str) -> str:
    """Return a text that LaTeX shows as it is; a minus before a figure is one."""
    spaced = " ".join(text.split())
    written = "".join(_TEX.get(sign, sign) for sign in spaced)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", written)


def _csv(head: Head, elements: Sequence[Element], page: Path) -> dict[Path, str]:
    folder, found = page.with_name(f"{page.stem}-tables"), dict[Path, str]()
    for element in elements:
        for table in element.tables:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([table.heads, *table.rows])
            found[folder / f"{table.key}.csv"] = text.getvalue()
    return found


FORMATS: Mapping[str, Callable[[Head, Sequence[Element], Path], dict[Path, str]]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}
"""Of tables, by the name that a person gives."""
