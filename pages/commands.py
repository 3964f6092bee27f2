"""Every command with its arguments and options, as Markdown from the command's own help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from ikd.cli import app

BEGIN = """# Command line

`ikd COMMAND --help` prints the same. What all commands have in common (paths, JSON, exit status) is in
[The command](../commands.md)."""


def page() -> str:
    """Return the page: a section for each command, in the order of `ikd --help`."""
    top = typer.main.get_command(app)
    parts = [BEGIN, "## Before any command\n\n" + _table(top)]
    parts += [_section(path, command) for path, command in _commands(top, "ikd")]
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, below in getattr(command, "commands", {}).items():
        if getattr(below, "commands", None):
            yield from _commands(below, f"{path} {name}")
        else:
            yield f"{path} {name}", below


def _section(path: str, command: Any) -> str:
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line.removeprefix("Example:").strip() for line in lines if line.startswith("Example:")]
    said = "\n".join(line for line in lines if not line.startswith("Example:")).strip()
    shown = ["```sh", *examples, "```"] if examples else []
    return "\n".join([f"## {path}", "", said, "", *shown, "", _table(command)]).rstrip()


def _table(command: Any) -> str:
    rows = [_row(one) for one in command.params if one.name != "help"]
    return "\n".join(["| | default | meaning |", "|---|---|---|", *rows] if rows else [])


def _row(one: Any) -> str:
    argument = one.param_type_name == "argument"
    name = one.name.upper() if argument else ", ".join([*one.opts, *one.secondary_opts])
    unset = one.default is None or one.default is False or callable(one.default)
    default = "required" if one.required else "" if unset else f"`{one.default}`"
    return f"| `{name}` | {default} | {(one.help or '').replace('|', '/')} |"
