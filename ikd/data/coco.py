"""Reading a COCO annotation file, with errors a person can act on."""

from __future__ import annotations

import json
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
        loaded = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}, Problem(str(path), "file", None, "the annotation file must exist")
    except (OSError, UnicodeDecodeError) as error:
        return {}, Problem(str(path), "file", str(error), "the annotation file must be readable UTF-8 text")
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


def categories(annotations: Path) -> tuple[str, ...]:
    """Name the classes of a data set, in the order of the file.

    The order matters: mmdet numbers labels by it, whatever the category ids are.

    Args:
        annotations: a COCO json file.

    Raises:
        DataError: the file is unreadable or has a category without a name.
    """
    names = []
    for index, category in enumerate(read_annotations(Path(annotations))["categories"]):
        name = category.get("name") if isinstance(category, dict) else None
        if not isinstance(name, str):
            raise DataError(str(Problem(str(annotations), f"categories[{index}].name", name, "must be a text")))
        names.append(name)
    return tuple(names)
