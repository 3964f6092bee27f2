"""Building a detector of a config that nobody trusts: its classes are registered ones, its weights are only weights.

mmengine takes for `type` whatever can be imported (`subprocess.Popen`), loads what is no checkpoint of weights as a
pickle, and mmdet evaluates a few texts as Python.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from torch import nn

from ikd.detectors.checkpoint import load_weights_only
from ikd.detectors.source import PACKAGES
from ikd.errors import BadInput
from ikd.trust import HOW, code_is_trusted

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
EVALUATED = {"warp_mode": re.compile(r"cv2\.[A-Z_]+")}
"""Arguments that mmdet evaluates as Python, and all that they may be."""
CONFIGS = ("teacher_config",)
"""Arguments that name a config file, which mmdet would read."""


def refuse_harm(model: Any, where: str = "model") -> None:
    """Refuse a model config that would run code when it is built or used, unless code is trusted.

    Args:
        model: the config, or a part of it.
        where: its place, for the message.

    Raises:
        BadInput: names the place and the value.
    """
    if code_is_trusted():
        return
    if isinstance(model, (list, tuple)):
        for index, item in enumerate(model):
            refuse_harm(item, f"{where}.{index}")
    elif isinstance(model, Mapping):
        for key, value in model.items():
            _refuse_argument(f"{where}.{key}", str(key), value)
            refuse_harm(value, f"{where}.{key}")


def _refuse_argument(where: str, key: str, value: Any) -> None:
    if not isinstance(value, str):
        return
    package, dot, _ = value.partition(".")
    if key == "type" and (not _NAME.fullmatch(value) or (dot and package not in PACKAGES)):
        _refuse(where, "must be the name of a registered class", value)
    if key == "_scope_" and value not in PACKAGES:
        _refuse(where, "must be a package of OpenMMLab", value)
    if key in CONFIGS:
        _refuse(where, "must not name another config", value)
    if key in EVALUATED and not EVALUATED[key].fullmatch(value):
        _refuse(where, "must be a name of OpenCV, as mmdet evaluates it", value)


def _refuse(where: str, rule: str, value: str) -> NoReturn:
    raise BadInput(f"detector: {where}: {rule}, but got {value!r}, which would run code; {HOW}")


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Let mmengine build registered classes alone, and load weights alone, while the block lasts.

    Weights stay weights also where code is trusted: a checkpoint has another author.
    """
    registry: Any = importlib.import_module("mmengine.registry.registry")
    checkpoint: Any = importlib.import_module("mmengine.runner.checkpoint")
    usual = registry.get_object_from_string, checkpoint._safe_torch_load
    if not code_is_trusted():
        registry.get_object_from_string = _registered(usual[0])
    checkpoint._safe_torch_load = load_weights_only
    try:
        yield
    finally:
        registry.get_object_from_string, checkpoint._safe_torch_load = usual


def _registered(found_by: Any) -> Any:
    def find(name: str) -> Any:
        found = found_by(name) if name.partition(".")[0] in PACKAGES else None
        if inspect.isclass(found) and (issubclass(found, nn.Module) or _is_registered(found)):
            return found
        raise BadInput(f"type {name!r} is no registered class; {HOW}")

    return find


def _is_registered(found: Any) -> bool:
    root: Any = importlib.import_module("mmengine.registry")
    registries = [one for one in vars(root).values() if isinstance(one, root.Registry)]
    while registries:
        one = registries.pop()
        if found in one.module_dict.values():
            return True
        registries += one.children.values()
    return False
