"""The folder of an export: appears whole or not at all, and nothing of a person's is ever deleted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ikd.errors import BadInput
from ikd.files import parsed, sha256, whole_folder

CARD = "card.json"
MAKER = "ikd.export"


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `destination` at the end, in one step.

    An untouched earlier export there is replaced; on any error it stays as it is.

    Raises:
        BadInput: `destination` holds something else, or cannot be written.
    """
    target = destination.expanduser().resolve()
    _check_replaceable(target)
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(whole_folder(target, replace=True))
        except OSError as error:
            raise BadInput(f"{destination}: must be a folder that can be written, but {error.strerror}") from error
        yield made
        _check_replaceable(target)  # the work took a while


def _check_replaceable(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BadInput(f"{target}: must be a folder to export to, but is a file")
    present = {path.relative_to(target).as_posix() for path in target.rglob("*")}
    if not present:
        return
    files = _exported(target / CARD)
    if files is None:
        raise BadInput(
            f"{target}: must be new, empty or an earlier export, but holds {_few(present)}; nothing is deleted"
        )
    added = present - set(files) - {CARD}
    changed = {name for name in present & set(files) if sha256(target / name) != files[name]}
    for names, what in ((added, "was added"), (changed, "was changed")):
        if names:
            raise BadInput(
                f"{target}: {_few(names)} {what} since it was exported; move it away, or export to another folder"
            )


def _exported(card: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each file that an earlier export wrote, or None where there is no export of ours."""
    try:
        content = parsed(card.read_text(encoding="utf-8"))
        return dict(content["files"]) if content["made_by"] == MAKER else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _few(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
