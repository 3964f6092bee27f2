"""Calls a zoo function with the arguments of a recipe, checked against its signature."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from ikd.detectors._names import nearest
from ikd.detectors.zoo import ZOO
from ikd.errors import BadInput

PREFIX = "ikd::"


def zoo_config(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model config of the shipped detector `name`, such as `ikd::retinanet_r18`.

    Raises:
        BadInput: no such detector, an unknown argument, or a value of the wrong type or range; names what is allowed.
    """
    function = ZOO.get(name.removeprefix(PREFIX))
    if function is None:
        known = [PREFIX + key for key in ZOO]
        raise BadInput(f"no detector is called {name!r}{nearest(name, known)}; ikd ships {', '.join(known)}")
    checked = validate_call(config=ConfigDict(strict=True))(function)
    try:
        return checked(**arguments)
    except ValidationError as error:
        allowed = ", ".join(f"{key}={item.default!r}" for key, item in inspect.signature(function).parameters.items())
        problems = "; ".join(_problem(item) for item in error.errors())
        raise BadInput(f"{name}: {problems}; allowed arguments and their defaults: {allowed}") from None


def _problem(item: Any) -> str:
    argument = item["loc"][0] if item["loc"] else "arguments"
    if item["type"] == "unexpected_keyword_argument":
        return f"unknown argument {argument}={item['input']!r}"
    return f"{argument}={item['input']!r}: {item['msg']}"
