"""What names hold is shown as it is, whatever they hold."""

from __future__ import annotations

import html

import pytest
from markdown_it import MarkdownIt

from ikd.tracking import cell, code, markdown_table, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("a_b*c _d_", "a_b\\*c \\_d\\_"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("[x](http://y)", "\\[x\\](http://y)"),
        ("a|b", "a\\|b"),
        ("a\n# b\r\nc", "a # b c"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("# one", "\\# one"),
        ("-0.3", "\\-0.3"),
        ("![x](y)", "!\\[x\\](y)"),
        ("`x`", "\\`x\\`"),
        ("a & b", "a &amp; b"),
        ("$x$ ~y~ !z", "\\$x\\$ \\~y\\~ !z"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("-0.3", "-0.3"), ("+0.3 | 1", "+0.3 \\| 1"), ("<b>", "&lt;b&gt;")])
def test_cell(text: str, shown: str) -> None:
    assert cell(text) == shown


@pytest.mark.parametrize(
    "text", ["# one", "- item", "1. item", "2) item", "![x](y)", "a*b*", "~$x$~ \\ {y}", "+ x", "---", "<b>x</b>"]
)
def test_a_reader_of_markdown_sees_the_text(text: str) -> None:
    assert html.unescape(MarkdownIt().render(plain(text)).rstrip()) == f"<p>{text}</p>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("/a/b", "`/a/b`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a\\|b`"), ("a\nb", "`a b`"), ("", "`  `")],
)
def test_code(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_table() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]], right=[1]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
