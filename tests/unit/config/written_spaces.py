"""Write a search space of the drawn recipe, load it, or catch how it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikd.config import SearchSpace, load_sweep
from ikd.errors import ConfigError


def write(folder: Path, parameters: str, rest: str = "", name: str = "space.yaml") -> Path:
    path = folder / name
    path.write_text(f"recipe: drawn_r18\nparameters:\n{parameters}\n{rest}\n")
    return path


def load(folder: Path, parameters: str, rest: str = "", **values: Any) -> SearchSpace:
    return load_sweep(
        write(folder, parameters, rest), values={k.replace("__", "."): v for k, v in values.items()}
    ).space


def refusal(folder: Path, parameters: str, rest: str = "", values: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_sweep(write(folder, parameters, rest), values=values)
    assert all(problem.line or problem.file == "--set" for problem in caught.value.problems)
    return str(caught.value)
