"""YAML with line numbers: every value knows where it was written, so that every error can say so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ikd.errors import ConfigError, Problem

Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Safe loader in which `1e-5` is a number (YAML 1.1 reads it as text) and `on`, `off`, `yes`, `no` are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|nan|NaN))$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Document:
    """A parsed YAML file.

    Attributes:
        file: name shown in messages.
        data: the parsed value, a mapping at the top.
        lines: 1-based line of each dotted location, list indices included.
    """

    file: str
    data: dict[str, Any]
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int | None:
        """Return the line of `location` or of its nearest ancestor that was written in the file."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None

    def problem(self, location: Location, value: object, rule: str) -> Problem:
        """Describe a fault at `location`."""
        return Problem(self.file, dotted(location) or "(file)", value, rule, self.line(location))


def dotted(location: Location) -> str:
    """Join a location to the name people write: `distill.fgd.alpha`, `schedule.milestones[1]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_scalar(text: str) -> Any:
    """Parse the right side of `--set field=value` as YAML: `1e-5`, `[a, b]`, `true`, plain text."""
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML, repeats a key, or is not a mapping.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(file, "(file)", None, f"must be a readable UTF-8 text file: {error}")]) from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        repeated = list(_walk(node, (), lines)) if node is not None else []
        data = loader.construct_document(node) if node is not None else {}
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        rule = f"must be YAML: {getattr(error, 'problem', None) or error}"
        raise ConfigError([Problem(file, "(file)", None, rule, line)]) from error
    finally:
        loader.dispose()
    if repeated:
        raise ConfigError(
            [Problem(file, dotted(loc), None, "is written twice; keep one", line) for loc, line in repeated]
        )
    if not isinstance(data, dict):
        raise ConfigError([Problem(file, "(file)", type(data).__name__, "must be a mapping of field: value", 1)])
    return Document(file, data, lines)


def _walk(node: yaml.Node, location: Location, lines: dict[Location, int]) -> list[tuple[Location, int]]:
    """Record the line of every node below `node`; return the keys written twice."""
    lines.setdefault(location, node.start_mark.line + 1)
    repeated: list[tuple[Location, int]] = []
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*location, str(key_node.value))
            if key in lines:
                repeated.append((key, key_node.start_mark.line + 1))
            lines[key] = key_node.start_mark.line + 1
            repeated += _walk(value_node, key, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*location, index)] = item.start_mark.line + 1
            repeated += _walk(item, (*location, index), lines)
    return repeated
