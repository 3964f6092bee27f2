"""Reading a COCO annotation file, with errors a person can act on."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ikd.errors import DataError, Problem

SECTIONS = ("images", "annotations", "categories")


def malformed(path: Path) -> tuple[dict[str, Any], Problem | None]:
    """Read an annotation file without judging its entries.

    Args:
        path: a COCO json file.

    Returns:
        The file's object (empty when unreadable), and what is wrong with the file as a whole, or None.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except FileNotFoundError:
        return {}, Problem(str(path), "file", None, "the annotation file must exist")
    except (OSError, UnicodeDecodeError) as error:
        rule = f"the annotation file must be readable UTF-8 text{_other_form(path)}"
        return {}, Problem(str(path), "file", str(error), rule)
    except json.JSONDecodeError as error:
        return {}, Problem(str(path), f"column {error.colno}", error.msg, "the file must be valid JSON", error.lineno)
    except ValueError as error:  # a whole number of thousands of digits
        return {}, Problem(str(path), "file", str(error), "the file must be valid JSON")
    except RecursionError:
        return {}, Problem(str(path), "file", None, "the file must be COCO json, this one nests too deeply")
    if not isinstance(loaded, dict):
        return {}, Problem(str(path), "file", type(loaded).__name__, "the file must hold one JSON object")
    for section in SECTIONS:
        if section not in loaded:
            return {}, Problem(str(path), section, None, f"the key {section!r} is missing; COCO needs {SECTIONS}")
        if not isinstance(loaded[section], list):
            return {}, Problem(str(path), section, type(loaded[section]).__name__, "must be a list")
    return loaded, None


def _other_form(path: Path) -> str:
    """Say in which form a file is that is no UTF-8, where its first bytes tell."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return ""
    if start[:2] == b"\x1f\x8b" or start == b"PK\x03\x04":
        return ", this one is packed: unpack it"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ", this one is UTF-16: save it as UTF-8"
    return ""


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file.

    Args:
        path: a COCO json file with images, annotations and categories.

    Returns:
        The file's object, its entries unchecked.

    Raises:
        DataError: the file is missing, is no JSON (with line and column), or lacks one of the three lists.
    """
    loaded, problem = malformed(path)
    if problem is not None:
        raise DataError(str(problem))
    return loaded


def on_disk(file_name: str) -> str:
    """Return the name of a file as this process has to say it: on the disk it is UTF-8, whatever the locale."""
    return file_name if sys.getfilesystemencoding() == "utf-8" else os.fsdecode(file_name.encode())
