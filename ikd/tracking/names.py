"""Names and values as MLflow takes them, and trial names as people read them."""

from __future__ import annotations

import json
import math
import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from ikd.config import sequence_text
from ikd.masking import masked

_Value = TypeVar("_Value")

MAX_KEY_LENGTH = 250  # MLflow's limits, in characters
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_TRIAL_NAME_LENGTH = 60
MAX_NUMBER_LENGTH = 8
"""MLflow writes ten characters beside an axis."""

_REFUSED = re.compile(r"[^\w.\-:/ ]")  # MLflow: letters, digits, _ - . : / and space
_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "lambda": "λ",
    "psi": "ψ",
    "sigma": "σ",
    "tau": "τ",
    "epsilon": "ε",
}
_VAGUE = {
    "weight",
    "probability",
    "levels",
    "stages",
    "mode",
    "form",
    "by",
    "ratio",
}  # say nothing without the name of their owner


def clean_key(name: str) -> str:
    """Make `name` one that MLflow accepts for a metric, parameter or tag; a good name stays as it is.

    Refused characters become underscores, path tricks (`//`, `..`, a leading slash) are undone, and a name above 250
    characters is cut and told apart from others by a checksum.
    """
    key = _REFUSED.sub("_", name)
    key = posixpath.normpath(key).lstrip("/") if key else "_"
    if not key or key == "." or key.startswith(".."):
        key = "_" + key.replace(".", "_").replace("/", "_")
    if len(key) > MAX_KEY_LENGTH:
        key = f"{key[: MAX_KEY_LENGTH - 9]}-{_checksum(name)}"
    return key


def clean_keys(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """Apply `clean_key` to every name; two names that become one keep apart by a checksum of the original."""
    taken = {name for name in values if clean_key(name) == name}
    cleaned: dict[str, _Value] = {}
    for name, value in values.items():
        key = clean_key(name)
        if key != name and (key in taken or key in cleaned):
            key = f"{key[: MAX_KEY_LENGTH - 9]}-{_checksum(name)}"
        cleaned[key] = value
    return cleaned


def value_text(value: object, limit: int, field: str = "") -> str:
    """Write a value as a person would in YAML, without secrets; text above `limit` characters is cut and says so.

    The sequences of the field `teachers.sequence` read `r101 -> x101`, with shares where given `r101 (0.3) -> x101`.
    """
    if isinstance(value, str):
        text = value
    elif (sequence := sequence_text(value, field)) is not None:
        text = sequence
    elif isinstance(value, (list, tuple)):
        items = (value_text(item, limit, field) for item in value)
        text = f"[{', '.join(items)}]"  # not JSON: the UI would break it into lines
    elif isinstance(value, float):
        text = _in_few_digits(value)
    elif value is None or isinstance(value, (bool, dict)):
        text = json.dumps(value, default=str, ensure_ascii=False)
    else:
        text = str(value)
    text = masked(text)
    if len(text) <= limit:
        return text
    note = f" ... [cut from {len(text)} characters]"
    return text[: limit - len(note)] + note


def same_text(one: str, other: str) -> bool:
    """Tell whether two values of a parameter are one, the digits that `value_text` leaves out aside."""
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-3)
    except ValueError:
        return False


def _in_few_digits(value: float) -> str:
    """Write a float with four digits where it has more: lists cut a longer one, and the recipe has it in full."""
    text = repr(value)
    return text if len(text) <= MAX_NUMBER_LENGTH else f"{value:.4g}"


def trial_name(number: int, values: Mapping[str, object], longest: int = MAX_TRIAL_NAME_LENGTH) -> str:
    """Name a trial by its number and what was sampled, as in `3 mgd α=2e-5`.

    Choices and switches come first, then numbers with two digits; a name that would pass `longest` ends before.

    Args:
        number: the trial's number in the study.
        values: sampled values by dotted field name.
        longest: in characters, as MLflow's lists have room.
    """
    leaves = Counter(_leaf(field) for field in values)
    words = [_word(field, value, leaves) for field, value in values.items() if not _is_number(value)]
    words += [_word(field, value, leaves) for field, value in values.items() if _is_number(value)]
    name = str(number)
    for position, word in enumerate(words):
        if len(name) + 1 + len(word) > longest:
            return name if position == 0 else f"{name} …"
        name += f" {word}"
    return name


def _word(field: str, value: object, leaves: Mapping[str, int]) -> str:
    leaf = _leaf(field)
    owner = field.split(".")[-2] if "." in field else ""
    if isinstance(value, bool):
        switch = owner if leaf == "enabled" and owner else leaf
        return switch if value else f"no {switch}"
    if leaf == "sequence" and isinstance(value, (list, tuple)):
        return value_text(value, MAX_TRIAL_NAME_LENGTH, field) if value else "no teacher"
    if isinstance(value, str) and leaf not in _VAGUE:
        return value
    symbol = _GREEK.get(leaf.rstrip("_"), leaf)
    if owner and (leaf in _VAGUE or leaves[leaf] > 1):
        symbol = f"{owner}.{symbol}"
    return f"{symbol}={_short(value) if _is_number(value) else value_text(value, MAX_TRIAL_NAME_LENGTH, field)}"


def _short(value: object) -> str:
    text = format(value, "d" if isinstance(value, int) else ".2g")
    return re.sub(r"e([+-])0*(\d)", lambda match: "e" + match[1].replace("+", "") + match[2], text)


def _leaf(field: str) -> str:
    return field.rsplit(".", 1)[-1]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checksum(name: str) -> str:
    return f"{zlib.crc32(name.encode()):08x}"
