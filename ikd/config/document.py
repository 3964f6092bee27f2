"""YAML with line numbers: every value knows where it was written, so that every error can say so."""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ikd.errors import ConfigError, Problem

Location = tuple[str | int, ...]
Fault = tuple[Location, object, str]
"""Where, what stands there, and what is right."""


MOST_NODES = 20_000
"""Values in one file, aliases counted as often as they are used: no file of ours comes near, a bomb goes far beyond."""
DEEPEST = 30
MOST_BYTES = 1_000_000
_TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge"))
"""Everything a recipe, space or runner is made of; no other tag means anything to us."""


class _Loader(yaml.SafeLoader):
    """Safe loader in which `1e-5` is a number (YAML 1.1 reads it as text) and `on`, `off`, `yes`, `no` are text."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Build the node of a value, unless it lies too deep."""
        self.depth += 1
        if self.depth > DEEPEST + 1:
            rule = f"is nested more than {DEEPEST} deep"
            raise yaml.composer.ComposerError(None, None, rule, self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; what Python refuses to read (`0x_`, a number of 5000 digits) keeps its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":bool", ":timestamp", ":value"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|nan|NaN))$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Document:
    """A parsed YAML file, with what it is laid over where it starts from other files.

    Attributes:
        file: name shown in messages.
        data: the parsed value, a mapping at the top.
        lines: 1-based line of each dotted location, list indices included.
        files: file of the locations that another file has written.
    """

    file: str
    data: dict[str, Any]
    lines: dict[Location, int] = field(default_factory=dict)
    files: dict[Location, str] = field(default_factory=dict)

    def line(self, location: Location) -> int | None:
        """Return the line of `location` or of its nearest ancestor that was written in the file."""
        return self._mark(location)[1]

    def _mark(self, location: Location) -> tuple[str, int | None]:
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.files.get(location[:end], self.file), self.lines[location[:end]]
        return self.file, None

    def problem(self, location: Location, value: object, rule: str) -> Problem:
        """Describe a fault at `location`."""
        file, line = self._mark(location)
        return Problem(file, dotted(location) or "(file)", value, rule, line)

    def over(self, under: Document) -> Document:
        """Lay this file over another one; mappings merge, everything else replaces."""
        lines, files = dict(under.lines), dict(under.files)
        for location in under.lines:
            files.setdefault(location, under.file)
        data = _merge(under.data, self.data)
        for location in [one for one in lines if not _written(under.data, data, one)]:
            del lines[location], files[location]
        for location in self.lines:
            files.pop(location, None)
        return Document(self.file, data, {**lines, **self.lines}, {**files, **self.files})


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _written(under: Any, merged: Any, location: Location) -> bool:
    """Tell whether what the lower file holds at `location` is still there."""
    for part in location:
        if isinstance(under, dict) and isinstance(merged, dict):
            under, merged = under.get(part), merged.get(part)
        else:
            return under is merged
    return True


def dotted(location: Location) -> str:
    """Join a location to the name people write: `distill.fgd.alpha`, `schedule.milestones[1]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}" if text else printable(part)
    return text


def printable(text: str) -> str:
    """Return a name on one line, without what a terminal would obey."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def parse_scalar(text: str) -> Any:
    """Parse the right side of `--set field=value` as YAML: `1e-5`, `[a, b]`, `true`, plain text.

    Raises:
        ValueError: it is no YAML of plain data; says why.
    """
    try:
        data, _, repeated = _parsed(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(_refusal(error, text)[0]) from error
    if repeated:
        raise ValueError(f"{dotted(repeated[0][0])} is written twice")
    return data


def read_yaml(path: Path) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML, repeats a key, or is not a mapping.
    """
    file = str(path)
    text = _text(path, file)
    try:
        data, lines, repeated = _parsed(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Problem(file, "(file)", None, *_refusal(error, text))]) from error
    if repeated:
        raise ConfigError(
            [Problem(file, dotted(loc), None, "is written twice; keep one", line) for loc, line in repeated]
        )
    data = {} if data is None else data
    lines.setdefault((), 1)
    if not isinstance(data, dict):
        raise ConfigError([Problem(file, "(file)", type(data).__name__, "must be a mapping of field: value", 1)])
    return Document(file, data, lines)


Parsed = tuple[Any, dict[Location, int], list[tuple[Location, int]]]


def _parsed(text: str) -> Parsed:
    """Return the value of a text, the lines of all that is in it, and the keys written twice."""
    data, lines, repeated = _once_parsed(text)
    return copy.deepcopy(data), dict(lines), list(repeated)


@functools.lru_cache(maxsize=128)
def _once_parsed(text: str) -> Parsed:
    """Parse a text; the recipes that others start from, and those of teachers, are read again and again."""
    lines: dict[Location, int] = {}
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, lines, []
        repeated = _repeated(node, lines)
        return loader.construct_document(node), lines, sorted(repeated, key=lambda one: one[1])
    finally:
        loader.dispose()


def _text(path: Path, file: str) -> str:
    content = b""
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise OSError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have, too
        rule = f"must be a readable UTF-8 text file: {_why(error, path)}"
        line = content[: error.start].count(b"\n") + 1 if isinstance(error, UnicodeDecodeError) else None
        raise ConfigError([Problem(printable(file), "(file)", None, rule, line)]) from error


def _why(error: OSError | ValueError, path: Path) -> str:
    """Return why a file cannot be read, and a near name where it is absent."""
    if not isinstance(error, FileNotFoundError):
        return str(getattr(error, "strerror", None) or error)
    if not path.parent.is_dir():
        return f"there is no folder {printable(str(path.parent))}"
    near = difflib.get_close_matches(path.name, [one.name for one in path.parent.glob("*.y*ml")], n=1, cutoff=0.6)
    return "there is none" + (f"; did you mean {printable(near[0])}?" if near else "")


def _refusal(error: Exception, text: str) -> tuple[str, int | None]:
    """Return what is wrong with a text that is no YAML of ours, and its line."""
    if isinstance(error, RecursionError):
        return f"must be nested at most {DEEPEST} deep", 1
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return f"must be YAML: character #x{ord(text[error.position]):04x} is not allowed", line
    return f"must be YAML: {getattr(error, 'problem', None) or error}", line


def _repeated(root: yaml.Node, lines: dict[Location, int]) -> list[tuple[Location, int]]:
    """Record the line of every value and make every key a text; return the keys written twice.

    Raises:
        yaml.YAMLError: too deep, too many values, or a tag that is not plain data.
    """
    repeated: list[tuple[Location, int]] = []
    pending: list[tuple[yaml.Node, Location]] = [(root, ())]
    for count in itertools.count():
        if not pending:
            return repeated
        node, location = pending.pop()
        _check(node, depth=len(location), count=count)
        lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            pending += [(item, (*location, index)) for index, item in enumerate(node.value)]
        seen: set[Location] = set()
        for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
            _check(key_node, depth=len(location), count=count, key=True)
            if key_node.tag != _TAG + "merge":
                key_node.tag = _TAG + "str"  # a name is what was written, also where it looks like a number
            key = (*location, str(key_node.value))
            if key in seen:
                repeated.append((key, key_node.start_mark.line + 1))
            seen.add(key)
            lines[key] = key_node.start_mark.line + 1
            pending.append((value_node, key))
    return repeated


def _check(node: yaml.Node, *, depth: int, count: int, key: bool = False) -> None:
    rule = None
    if depth > DEEPEST:
        rule = f"is nested more than {DEEPEST} deep"
    elif count > MOST_NODES:
        rule = f"holds more than {MOST_NODES} values, counting aliases"
    elif key and not isinstance(node, yaml.ScalarNode):
        rule = "a key must be a text"
    elif node.tag not in PLAIN_TAGS:
        rule = f"tag {node.tag} is not allowed"
    elif isinstance(node, yaml.ScalarNode) and any("\ud800" <= letter <= "\udfff" for letter in node.value):
        rule = "holds half a character (a lone surrogate)"
    if rule is not None:
        raise yaml.constructor.ConstructorError(None, None, rule, node.start_mark)
