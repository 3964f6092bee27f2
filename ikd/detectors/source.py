"""Reading config files of mmdet, which are programs: those that say values always, others where they are trusted."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ikd.detectors.plain_python import code_in
from ikd.errors import BadInput
from ikd.ops import install
from ikd.trust import HOW, code_is_trusted

PACKAGES = frozenset(importlib.import_module("mmengine.config.utils").MODULE2PACKAGE) | {"mmengine", "mmcv", "torch"}
"""Installed packages whose classes and configs are taken for what they are: code that is there already."""
_BASES_IMPORTED = re.compile(r"^with\s+read_base\(\)", re.MULTILINE)
_OF_ENVIRONMENT = re.compile(r"\{\{['\"]?\s*\$")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the parser of the loader that mmengine takes


def read_source(path: Path) -> Config:
    """Read a config file with everything that it is based on.

    Args:
        path: a file that is there: Python, of mmengine's older kind or of its newer one, which imports what it is based
            on and what it names; YAML or json.

    Raises:
        BadInput: it, or one that it is based on, would run code, and nobody has said that it may.
        Exception: of any kind, as it is a program.
    """
    if code_is_trusted() or is_installed(path):
        lazy = path.suffix == ".py" and _BASES_IMPORTED.search(path.read_text(encoding="utf-8")) is not None
        if not is_installed(path):
            install()  # before modules that import mmcv's kernels
        found = Config.fromfile(path, lazy_import=lazy)
        return Config(found.to_dict()) if lazy else found
    _check(path, ())
    found = Config.fromfile(path, lazy_import=False, use_environment_variables=False, import_custom_modules=False)
    if imports := found.get("custom_imports"):
        modules = imports.get("imports", ()) if isinstance(imports, dict) else imports
        for name in [modules] if isinstance(modules, str) else modules:
            if str(name).partition(".")[0] not in PACKAGES:
                refuse_code(path, f"custom_imports of {name!r}")
        install()  # before modules that import mmcv's kernels
        import_modules_from_strings(**imports)
    return found


def by_name(node: Any) -> Any:
    """Return a config with the short names of classes: configs of the newer kind name them by class or by module.

    Only classes that mmdet registers under their own name have such a one; others are named by their module.
    """
    if isinstance(node, Mapping):
        kind: Any = type(node)
        return kind({key: _short(value) if key == "type" else by_name(value) for key, value in node.items()})
    if isinstance(node, (list, tuple)):
        return type(node)(by_name(one) for one in node)
    return _short(node) if isinstance(node, type) else node


def _short(kind: Any) -> Any:
    name = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else kind
    if not isinstance(name, str) or "." not in name:
        return name
    package, short = name.partition(".")[0], name.rpartition(".")[2]
    if package not in PACKAGES:
        return name
    install()  # before modules that import mmcv's kernels
    registry: Any = importlib.import_module("mmdet.registry")
    found = next(filter(None, (one.get(short) for one in (registry.MODELS, registry.TASK_UTILS))), None)
    return short if found is not None and found.__module__.partition(".")[0] == package else name


def refuse_code(path: Path | str, what: str) -> NoReturn:
    """Refuse to run code of a config that nobody trusts.

    Raises:
        BadInput: always.
    """
    raise BadInput(f"detector config {str(path)!r} would run code ({what}); {HOW}")


def is_installed(path: Path) -> bool:
    """Tell whether a config was installed with a package of OpenMMLab, by pip and not by the config's author."""
    return any(path.resolve().is_relative_to(root) for root in _roots())


def _roots() -> Iterable[Path]:
    for name in PACKAGES - {"torch"}:
        spec = importlib.util.find_spec(name)
        yield from (Path(place).resolve() for place in (spec.submodule_search_locations or () if spec else ()))


def _check(path: Path, seen: tuple[Path, ...]) -> None:
    """Refuse a file that would run code; what it is based on, too.

    Looked at is the text that mmengine evaluates: with what it puts in the place of `{{...}}`, which could turn a text
    into code.
    """
    if path.resolve() in seen:
        raise BadInput(f"detector config {str(path)!r} leads back to itself by _base_")
    reader: Any = Config
    if _OF_ENVIRONMENT.search(path.read_text(encoding="utf-8")):
        refuse_code(path, "it puts variables of the environment into its own text")
    with tempfile.TemporaryDirectory(prefix="ikd-config-") as aside:
        copy = Path(aside) / f"config{path.suffix}"
        reader._substitute_predefined_vars(str(path.absolute()), str(copy))
        reader._pre_substitute_base_vars(str(copy), str(copy))
        text = copy.read_text(encoding="utf-8")
        if path.suffix == ".py" and (found := code_in(text)):
            refuse_code(path, found)
        if path.suffix in (".yaml", ".yml"):
            _check_yaml(path, text)
        bases = reader._get_base_files(str(copy))
    for base in bases:
        file = Path(reader._get_cfg_path(base, str(path.absolute()))[0])
        if not is_installed(file):
            _check(file, (*seen, path.resolve()))


def _check_yaml(path: Path, text: str) -> None:
    try:
        yaml.load(text, Loader=_Loader)
    except yaml.constructor.ConstructorError as error:
        refuse_code(path, f"{error.problem}, line {error.problem_mark.line + 1}" if error.problem_mark else str(error))
