"""The `ikd` command: parse, call one public function, print. No logic lives here."""

from ikd.cli.commands import app, main

__all__ = ["app", "main"]
