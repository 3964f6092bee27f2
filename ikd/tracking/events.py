"""One thing that happened in a sweep, in a form that survives on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ikd.files import parsed

Kind = Literal[
    "start_sweep", "start_trial", "log", "compare", "data", "end_trial", "artifacts", "end_sweep", "delete_sweep"
]
SAID: dict[Kind, str] = {
    "start_sweep": "the description",
    "start_trial": "the beginning",
    "log": "an epoch",
    "compare": "the rank",
    "data": "the data",
    "end_trial": "the end",
    "artifacts": "a file",
    "end_sweep": "the end",
    "delete_sweep": "the deletion",
}
"""What each is, for people."""


@dataclass(frozen=True)
class Event:
    """An event that may be delivered twice with the effect of once.

    Attributes:
        kind: which call of the tracker it was.
        sweep: the sweep's name.
        number: the trial, or None for the sweep itself.
        time_ms: when it happened, milliseconds since 1970. MLflow tells a repeated metric by it.
        data: what was said; JSON types only.
    """

    kind: Kind
    sweep: str
    number: int | None
    time_ms: int
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_line(self, folder: Path) -> str:
        """Return one line of JSON, with its line end; files of artifacts in `folder` are named from there."""
        content = asdict(self)
        if self.kind == "artifacts" and (path := Path(self.data["path"])).is_relative_to(folder):
            content["data"] |= {"path": str(path.relative_to(folder))}
        return json.dumps(content, ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str, folder: Path) -> Event:
        """Read what `to_line` wrote; `folder` may have moved since.

        Raises:
            ValueError: the line is no such thing, for instance cut off by a power failure.
        """
        try:
            event = cls(**parsed(line))
            if event.kind == "artifacts":
                path = (folder / event.data["path"]).resolve()
                if not path.is_relative_to(folder.resolve()):
                    raise ValueError("it would send what is none of the sweep's")
                return replace(event, data={**event.data, "path": str(folder / event.data["path"])})
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"not an event: {line[:80]!r}") from error
        return event


def write_epochs(epochs: set[int]) -> str:
    """Write a set of epochs shortly, as in `1-6,8`."""
    ranges: list[list[int]] = []
    for epoch in sorted(epochs):
        if ranges and epoch == ranges[-1][1] + 1:
            ranges[-1][1] = epoch
        else:
            ranges.append([epoch, epoch])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def read_epochs(text: str) -> set[int]:
    """Read what `write_epochs` wrote."""
    epochs: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        epochs.update(range(int(first), int(last or first) + 1))
    return epochs
