"""Whatever trains in a sweep is a `Training`: types compare what is assigned here, the tests what is there at run time.

A double that lacks a member breaks only the tests that reach it, which may be those that take minutes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ikd.training
from benchmarks.overhead import work
from ikd.sweep.training import Training
from tests.faults import placed_training
from tests.unit.sweep import fake_training
from tests.unit.sweep.test_dry_run import Making
from tests.unit.sweep.tune.test_worker_starts import Training as Asked

OWN: Training = ikd.training
FAKE: Training = fake_training
PLACED: Training = placed_training
WORK: Training = work
MAKING: Training = Making()
ASKED: Training = Asked()

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = [name for name, member in vars(Training).items() if inspect.isfunction(member) and not name.startswith("_")]
HERE = {
    "ikd.training": OWN,
    "tests.unit.sweep.fake_training": FAKE,
    "tests.faults.placed_training": PLACED,
    "benchmarks.overhead.work": WORK,
    "tests.unit.sweep.test_dry_run:Making": MAKING,
    "tests.unit.sweep.tune.test_worker_starts:Training": ASKED,
}


def trains(nodes: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "run_trial" for node in nodes)


def doubles(root: Path) -> Iterator[str]:
    """Yield every module and class that has a `run_trial`."""
    for file in sorted(path for folder in ("tests", "benchmarks") for path in (root / folder).rglob("*.py")):
        body = ast.parse(file.read_text()).body
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        if trains(body):
            yield module
        yield from (f"{module}:{one.name}" for one in body if isinstance(one, ast.ClassDef) and trains(one.body))


def lacking(training: Any) -> list[str]:
    """Return what a sweep would ask for in vain: members, and parameters of those that are there."""
    found = []
    for name in MEMBERS:
        asked = [
            parameter for parameter in inspect.signature(getattr(Training, name)).parameters if parameter != "self"
        ]
        has = inspect.signature(getattr(training, name)).parameters if hasattr(training, name) else None
        found += [name] if has is None else [f"{name}({parameter})" for parameter in asked if parameter not in has]
    return found


def test_every_double_is_compared() -> None:
    assert MEMBERS == ["check", "data_of", "found", "prepare", "resumable", "run_trial", "timed", "reset"]
    assert sorted(doubles(ROOT)) == sorted(set(HERE) - {"ikd.training"}), "assign a new one to a `Training` above"


@pytest.mark.parametrize("name", HERE)
def test_it_has_all_that_a_sweep_asks_for(name: str) -> None:
    assert lacking(HERE[name]) == []
    module, _, owner = name.partition(":")
    assert owner or HERE[name] is importlib.import_module(module), "a worker imports it by this name"


def test_what_lacks_a_member_or_a_parameter_is_told(tmp_path: Path) -> None:
    class Rotten:
        def check(self, recipe: Any) -> None: ...
        def prepare(self, recipe: Any) -> None: ...
        def run_trial(self, recipe: Any, report: Any, checkpoint: Any, *, directory: Any, **rest: Any) -> None: ...

    assert lacking(Rotten()) == [
        "data_of", "found", "prepare(progress)", "resumable", "run_trial(objective)", "run_trial(threads)",
        "run_trial(prepared)", "run_trial(options)", "timed", "reset",
    ]  # fmt: skip
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "new.py").write_text("class A:\n def run_trial(self): ...\ndef run_trial(): ...\n")
    assert list(doubles(tmp_path)) == ["tests.new", "tests.new:A"]
