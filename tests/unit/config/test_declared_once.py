"""A default that a recipe or a search space declares is written nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from ikd.config import Recipe, SearchSpace, Section

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("attack", "augment", "distill", "evaluation", "sweep/samplers", "sweep/schedulers", "training")
"""Where methods are: what they do is declared in `ikd/config`."""
OTHERS = {"device", "enabled", "level", "reduction", "seed"}
"""Names that mean something else there, or nothing by themselves."""


def sections(owner: type[Section]) -> Iterator[type[Section]]:
    yield owner
    for field in owner.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from sections(part)


def declared() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for section in (*sections(Recipe), *sections(SearchSpace)):
        for name, field in section.model_fields.items():
            found.setdefault(name, []).append(field.default)
    return found


def written(text: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every keyword and dataclass field with a plain default."""
    for node in ast.walk(ast.parse(text)):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.arguments):
            given = [*node.posonlyargs, *node.args]
            pairs += zip([one.arg for one in given[len(given) - len(node.defaults) :]], node.defaults, strict=True)
            pairs += zip([one.arg for one in node.kwonlyargs], node.kw_defaults, strict=True)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            pairs.append((node.target.id, node.value))
        for name, value in pairs:
            if isinstance(value, ast.Constant) and value.value not in (None, ""):
                yield name, value.value


def repeated(text: str, known: dict[str, list[Any]]) -> list[str]:
    return [f"{name}={value!r}" for name, value in written(text) if name not in OTHERS and value in known.get(name, ())]


def test_no_default_is_written_twice() -> None:
    known = declared()
    assert len(known) > 80, "the walk finds the sections"
    files = [file for place in PLACES for file in (ROOT / "ikd" / place).rglob("*.py")]
    found = {str(file.relative_to(ROOT)): repeated(file.read_text(encoding="utf-8"), known) for file in files}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(*, mask_ratio: float = 0.65): ...", ["mask_ratio=0.65"]),
        ("def f(startup_trials=10): ...", ["startup_trials=10"]),
        ("class A:\n    momentum: float = 1.0", ["momentum=1.0"]),
        ("def f(*, mask_ratio: float = 0.3, other=0.65): ...", []),
        ("def f(mask_ratio): ...", []),
    ],
)
def test_the_walk_sees_a_repeated_default(text: str, found: list[str]) -> None:
    assert repeated(text, declared()) == found
