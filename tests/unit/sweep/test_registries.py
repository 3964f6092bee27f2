"""Samplers and judges are declared once: by key in a registry, with settings in a section of the search space."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikd.config import Sampler, Scheduler, Section
from ikd.sweep.samplers.registry import SAMPLERS
from ikd.sweep.schedulers.judges import JUDGES

ROOT = Path(__file__).resolve().parents[3]
FAMILIES: dict[str, type[Section]] = {"samplers": Sampler, "schedulers": Scheduler}


def test_every_key_of_the_search_space_has_its_entry() -> None:
    assert set(SAMPLERS) == set(Sampler.model_fields)
    assert set(JUDGES) == set(Scheduler.model_fields)


@pytest.mark.parametrize("key", SAMPLERS)
def test_every_entry_leads_to_a_function(key: str) -> None:
    assert SAMPLERS[key].function.startswith("ikd.sweep.samplers."), "the fence does not see into texts"
    assert callable(SAMPLERS[key].load())


def settings_of(section: type[Section]) -> set[str]:
    """Return the names of the settings of all kinds of a sampler or scheduler."""
    kinds = [field.annotation for field in section.model_fields.values()]
    return {name for kind in kinds for one in kind.__args__[:1] for name in one.model_fields}  # type: ignore[union-attr]


def defaults(tree: ast.AST) -> Iterator[str]:
    """Yield the names of parameters and of fields of classes that have a default."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            positional = [*node.args.posonlyargs, *node.args.args]
            yield from (one.arg for one in positional[len(positional) - len(node.args.defaults) :])
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            yield from (one.arg for one, default in pairs if default is not None)
        elif isinstance(node, ast.ClassDef):
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and one.value is not None]
            yield from (one.target.id for one in fields if isinstance(one.target, ast.Name))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_setting_has_a_second_default(family: str) -> None:
    settings, files = settings_of(FAMILIES[family]), sorted((ROOT / "ikd" / "sweep" / family).glob("*.py"))
    assert {"samplers": "startup_trials", "schedulers": "grace_epochs"}[family] in settings
    twice = [f"{file.name}: {name}" for file in files for name in defaults(ast.parse(file.read_text()))]
    assert [one for one in twice if one.partition(": ")[2] in settings] == []


def test_the_walk_sees_each_form_of_a_default() -> None:
    text = "def f(a, b=1, *, c, d=2): ...\nlambda e=3: e\nclass G:\n    h: int\n    i: int = 4\n    j = 5"
    assert sorted(defaults(ast.parse(text))) == ["b", "d", "e", "i"]
