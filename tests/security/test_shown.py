"""Names of others on a terminal, in logs and in Markdown: they are texts, no markup and no commands."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from ikd.cli.arguments import echo
from ikd.cli.commands import app
from ikd.logs import Log
from ikd.progress import PlainConsole, say, wide_console, working
from ikd.tracking import block, code, plain
from ikd.visible import visible

ESCAPES = ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\x08\x08", "\u202egnp", "\x00", "\u2066x", "\u2028"]
MARKUP = ["[bold]", "[/]", "[red]x[/red]", "[link=http://x]y", ":smile:", "[@click=x]", "<script>", "\\[", "[[a]]"]


def harmless(text: str) -> bool:
    return all(one.isprintable() or one in "\n\t" for one in text)


@pytest.mark.parametrize("name", ESCAPES)
def test_commands_to_a_terminal_are_written_out(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(file=io.StringIO(), width=80)
    table = Table(name, title=name)
    table.add_row(name)
    for shown in (name, Text(name), table):
        console.print(shown)
    log = Log(tmp_path / "train.log")
    log.write(f"class {name}")
    say(f"class {name}")
    echo(f"class {name}")
    with working(f"reading {name}") as work:
        work.mention(name)
    printed = capsys.readouterr()
    written = console.file.getvalue()  # type: ignore[attr-defined]
    for text in (visible(name), written, log.path.read_text(), printed.out, printed.err):
        assert text
        assert harmless(text), repr(text)


@pytest.mark.parametrize("name", MARKUP)
def test_markup_is_text(name: str) -> None:
    console = PlainConsole(file=io.StringIO(), width=80)
    table = Table(name, title=name)
    table.add_row(name)
    for shown in (name, table):
        console.print(shown, highlight=False)
    assert console.file.getvalue().count(name) == 4  # type: ignore[attr-defined]


def test_colours_of_our_own_stay() -> None:
    console = PlainConsole(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(Text("good", style="green"))
    assert "\x1b[32m" in console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(wide_console(), PlainConsole)


def test_an_error_of_a_command_shows_names_as_they_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path / "\x1b[31mred")])
    assert harmless(done.output)
    assert "\\x1b[31mred" in done.output


@pytest.mark.parametrize("name", [*MARKUP, "a|b", "`a`", "*a*", "![a](http://x)", "<img src=x onerror=alert(1)>"])
def test_names_in_markdown_are_text(name: str) -> None:
    written = plain(name)
    unescaped = written.replace("\\\\", "")
    for mark in "[]<>|`*":
        at = [place for place, one in enumerate(unescaped) if one == mark]
        assert all(place and unescaped[place - 1] == "\\" for place in at), written


@pytest.mark.parametrize("name", ["a\n# b", "a\r\n\r\n<script>", "a\u2028b", "a\x1b[31mb"])
def test_names_in_markdown_keep_to_their_line(name: str) -> None:
    assert len(plain(name).splitlines()) == 1
    assert len(code(name).splitlines()) == 1


@pytest.mark.parametrize("name", ["a", "`", "a``b", "```", "a`"])
def test_code_in_markdown_ends_where_it_shall(name: str) -> None:
    fence = code(name)[: len(code(name)) - len(code(name).lstrip("`"))]
    assert fence not in code(name)[len(fence) : -len(fence)]
    text = block(f"x: '{name}'\n```\nmore\n", "yaml")
    lines = text.splitlines()
    assert lines[0] == f"{lines[-1]}yaml"
    assert lines[-1] not in lines[1:-1]
