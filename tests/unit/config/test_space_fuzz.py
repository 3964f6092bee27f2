"""Spaces broken at random: each loads or is one refusal that names file and line; nothing else happens."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikd.config import load_recipe, load_runner, load_sweep
from ikd.config.document import read_yaml
from ikd.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
SPACES = {path.name: path for path in sorted((ROOT / "search_spaces").glob("*.yaml"))}
TEXTS = {name: path.read_text() for name, path in SPACES.items()}
PLAIN = {name: read_yaml(path).data for name, path in SPACES.items()}
EXAMPLES = int(os.environ.get("IKD_FUZZ_EXAMPLES", "60"))
SLOW_SECONDS = 5.0
"""Of the processor: a file of ours takes some hundredths, a bomb would take for ever."""
FUZZ = settings(
    derandomize="IKD_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    database=None,
)

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    0.5,
    1e300,
    -1e-300,
    float("nan"),
    float("inf"),
    10**30,
    2**53,
    "",
    " ",
    "fgd",
    "none",
    "any",
    "not",
    "seed",
    "teachers.sequence",
    "distill.host",
    "a.b",
    "..",
    "é漢\U0001f600",
    "\x1b[31m",
    "x" * 3000,
    "~",
    "/",
    "../quickstart.yaml",
    "attack.step <= attack.eps",
    "1 < 2",
    [],
    {},
    [[]],
    [{}],
    {"": ""},
    [1, 1],
    [1, "a", None],
    {"any": []},
    {"not": {}},
    {"choice": [1]},
    {"choice": {"a": 1}},
    {"uniform": [0, 1]},
    {"log_int": [1, 9], "factor": 2},
    {"distill.host": "fgd"},
    {"any": [{"distill.host": "fgd"}]},
    {"spread": 0.1},
    list(range(300)),
]
SNIPPETS = [
    "\t",
    "\tbudget: 3\n",
    "  ",
    "\n",
    "'",
    '"',
    "[",
    "}",
    ": ",
    "- ",
    "? ",
    "#",
    "&a ",
    "*a",
    "&a [*a]",
    "!!python/object:os.system ",
    "!!python/object/apply:os.system [id]",
    "!!set {a}",
    "!!binary aGk=",
    "!!timestamp 2001-01-01",
    "!x ",
    "<<: {seed: 1}\n",
    "<<: [*a]\n",
    "seed: 1\nseed: 2\n",
    "---\n",
    "...\n",
    "%YAML 9.9\n",
    "\x00",
    "\x07",
    "\ufeff",
    "\u2028",
    "\x85",
    "0x_",
    "0b_",
    "1:30",
    "9" * 5000,
    "1e999",
    "=",
    "~",
    "null",
    "{" * 40,
    "[" * 400,
    "\r",
    "\\",
    '"\\ud800"',
    '"\\u0000"',
    "|",
    ">-",
    "@",
    "`",
    "? [a, b]\n: 1\n",
    "include: [ikd.yaml]\n",
    "constraints: ['seed < 3']\n",
    "é",
    "\U0001f600",
    "e" * 200,
]


def places(node: Any, location: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the locations below a value."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield (*location, key)
        yield from places(node[key], (*location, key))


def at(data: Any, location: tuple[Any, ...]) -> Any:
    for part in location:
        data = data[part]
    return data


@st.composite
def broken_values(draw: st.DrawFn) -> str:
    """Draw a shipped space with some values deleted, renamed, retyped, swapped, nested or copied elsewhere."""
    data = copy.deepcopy(PLAIN[draw(st.sampled_from(sorted(PLAIN)))])
    for _ in range(draw(st.integers(1, 2))):
        known = list(places(data))
        if not known:
            break
        location = draw(st.sampled_from(known))
        owner, last = at(data, location[:-1]), location[-1]
        action = draw(st.sampled_from(["delete", "rename", "retype", "swap", "nest", "copy", "wrap"]))
        if action == "delete":
            del owner[last]
        elif action == "rename" and isinstance(owner, dict):
            name = draw(st.sampled_from([*map(str, ODD[:28]), "distill.mgd.alpha", "also", "when", "when.any"]))
            owner[name] = owner.pop(last)
        elif action in ("retype", "rename"):
            owner[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif action in ("swap", "copy"):
            other = draw(st.sampled_from(known))
            theirs = copy.deepcopy(at(data, other))
            if action == "swap" and other[: len(location)] != location and location[: len(other)] != other:
                at(data, other[:-1])[other[-1]] = copy.deepcopy(owner[last])
            owner[last] = theirs
        else:
            key = draw(st.sampled_from(["any", "all", "not", "choice", "parameters"]))
            owner[last] = {key: owner[last]} if action == "nest" else [owner[last]]
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False)


@st.composite
def broken_texts(draw: st.DrawFn) -> str:
    """Draw a shipped space with lines and letters deleted, doubled, moved or replaced by what YAML trips over."""
    text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True)
        action = draw(st.sampled_from(["insert", "replace", "line", "double", "drop", "cut"]))
        spot, index = draw(st.integers(0, len(text))), draw(st.integers(0, max(0, len(lines) - 1)))
        snippet = draw(st.sampled_from(SNIPPETS) | st.text(max_size=5))
        if action == "insert":
            text = text[:spot] + snippet + text[spot:]
        elif action == "replace":
            text = text[:spot] + snippet + text[spot + draw(st.integers(1, 20)) :]
        elif action == "cut":
            text = text[:spot]
        else:
            new = {"line": [snippet + "\n"], "double": lines[index : index + 1] * 2, "drop": []}[action]
            text = "".join([*lines[:index], *new, *lines[index + 1 :]])
    return text


def refused_or_loaded(folder: Path, text: str, load: Callable[[Path], object] = load_sweep) -> None:
    path = folder / "space.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    started, caught = time.process_time(), None
    try:
        load(path)
    except ConfigError as error:
        caught = error
    for problem in caught.problems if caught is not None else ():
        assert problem.file
        assert problem.rule
        assert problem.line is not None or problem.file != str(path), problem
        assert str(problem).isprintable(), problem
    assert time.process_time() - started < SLOW_SECONDS
    assert [one.name for one in folder.iterdir()] == ["space.yaml"]


@FUZZ
@given(text=broken_values())
def test_broken_values(tmp_path: Path, text: str) -> None:
    refused_or_loaded(tmp_path, text)


@FUZZ
@given(text=broken_texts())
def test_broken_texts(tmp_path: Path, text: str) -> None:
    refused_or_loaded(tmp_path, text)


@FUZZ
@given(text=broken_texts())
def test_a_space_is_no_recipe_and_no_runner(tmp_path: Path, text: str) -> None:
    refused_or_loaded(tmp_path, text, load_runner)
    refused_or_loaded(tmp_path, "base: drawn_r18\n" + text, load_recipe)
