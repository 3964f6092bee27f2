"""The page on troubleshooting quotes messages that ikd says, and has every kind of error."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ikd.errors

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def said() -> str:
    """Return every text of the package, a line each, with what is filled in as `{}`."""
    texts = []
    for file in sorted((ROOT / "ikd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.append("".join(_part(one) for one in node.values))
    return "\n".join(texts)


def _part(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "{}"


def quoted() -> list[str]:
    """Return the fragments in the first column of the tables, each in order."""
    cells = [re.match(r"^\| ((?:`[^`]+`(?: \.\.\. |, )?)+)[^|]*\|", line) for line in PAGE.splitlines()]
    return [fragment for cell in cells if cell for fragment in re.findall(r"`([^`]+)`", cell[1])]


def test_every_message_of_the_page_is_one_that_ikd_says() -> None:
    texts = said()
    found = quoted()
    unsaid = [one for one in found if not all(part.strip(" ") in texts for part in one.split(" ... "))]
    assert len(found) > 50
    assert unsaid == []


def test_every_kind_of_error_is_on_the_page_of_the_api() -> None:
    kinds = {name for name, one in vars(ikd.errors).items() if isinstance(one, type) and issubclass(one, Exception)}
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"members: \[([^\]]+)\]", page)
    assert set(listed.split(", ")) == kinds


def test_the_statuses_of_the_command_are_explained() -> None:
    statuses = {ikd.errors.BadInput.exit_status, ikd.errors.JobError.exit_status}
    assert statuses == {1, 2}
    assert "Exit status 2" in PAGE
    assert "1 that the work failed" in PAGE
