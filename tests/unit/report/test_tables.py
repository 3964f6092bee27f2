"""Tables of a report as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ikd.errors import BadInput
from ikd.report import write_report
from ikd.report.page import Head
from ikd.report.parts import Element, Table
from ikd.report.tables import tables_as, write_tables

TABLE = Table("t", ("name", "gain"), (("a_b|c & 50 % of <x> ~ \\", "-1.5"), ("σ ± 2", "+0.3")), "a note")
HEAD = Head("Sweep a_b", "complete", ["chosen: trial 3"], [])
ELEMENTS = [Element("key", "What #1 does", "It leads.", [TABLE])]


def written(form: str, folder: Path) -> str:
    (file,) = write_tables(form, HEAD, ELEMENTS, folder / "report.html")
    return file.read_text()


def test_markdown_shows_what_looks_like_markup(tmp_path: Path) -> None:
    text = written("markdown", tmp_path)
    assert "# Sweep a_b" in text
    assert "1. chosen: trial 3" in text
    assert "| name | gain |\n| --- | ---: |\n| a_b\\|c &amp; 50 % of &lt;x&gt; \\~ \\\\ | -1.5 |" in text
    assert "a note" in text


def test_latex_can_be_set(tmp_path: Path) -> None:
    text = written("latex", tmp_path)
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{What \#1 does}" in text
    assert (
        r"a\_b\textbar{}c \& 50 \% of \textless{}x\textgreater{} \textasciitilde{} \textbackslash{} & $-$1.5 \\" in text
    )
    assert r"$\sigma$ $\pm$ 2 & +0.3 \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{")


def test_csv_has_a_file_for_each_table(tmp_path: Path) -> None:
    text = written("csv", tmp_path)
    assert list(csv.reader(text.splitlines())) == [list(TABLE.heads), *map(list, TABLE.rows)]
    assert (tmp_path / "report-tables" / "t.csv").is_file()


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(BadInput, match=r"--tables: must be one of markdown, latex, csv, but got 'pdf'"):
        tables_as(["csv", "pdf"])
    assert tables_as(["csv", "latex", "csv"]) == ("csv", "latex")


def test_all_tables_of_a_sweep_are_written_beside_its_page(played_home: Path, tmp_path: Path) -> None:
    files = write_report("whole", tmp_path / "x.html", home=played_home, tables=["markdown", "latex", "csv"])
    assert [file.name for file in files[:3]] == ["x.html", "x.md", "x.tex"]
    names = {file.stem for file in files[3:]}
    assert {"chosen", "gains", "finalists", "toggles", "path", "provenance"} <= names
    assert all(file.is_file() for file in files)
