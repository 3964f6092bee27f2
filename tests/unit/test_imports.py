"""The fence: imports point downwards, ray and mlflow stay in one package each, `_files` are private."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ORDER = (
    *(
        "cli",
        "doctor",
        "export",
        "report",
        "sweep",
        "tracking",
        "training",
        "attack",
        "distill",
        "evaluation",
        "augment",
        "detectors",
    ),
    *("data", "config", "ops", "trial", "files", "home", "plugins", "errors"),
)
"""Highest first. `ikd/__init__.py` stands above them all; a package may import those after it."""

ONLY_UNDER = {"ray": "sweep"}
ONLY_IN_FILES = {"mlflow": "tracking/mlflow_"}
"""How the paths of the files begin that alone may import a package."""


def violations(package: Path) -> list[str]:
    """Return every import in the folder `package` that breaks a rule, as `file:line: what`."""
    found = []
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        layer = place.parts[0].removesuffix(".py")
        if layer != "__init__" and layer not in ORDER:
            found.append(f"{place}: {layer} has no place in the order of layers")
            continue
        for line, module in imported(file, package):
            found += [f"{place}:{line}: {fault}" for fault in faults(layer, module, package.name)]
            start = ONLY_IN_FILES.get(top := module.split(".")[0], "")
            if not place.as_posix().startswith(start):
                found.append(f"{place}:{line}: {layer} imports {top}, which only {start}*.py may")
    return found


def imported(file: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything the file imports, inside functions and by a literal name too."""
    inside = file.relative_to(package.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: len(inside) + 1 - node.level]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) in {"import_module", "__import__"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def faults(layer: str, module: str, package: str) -> Iterator[str]:
    """Yield what is wrong with `module` (a full dotted name) being imported in `layer` of `package`."""
    top, *rest = module.split(".")
    if ONLY_UNDER.get(top, layer) != layer:
        yield f"{layer} imports {top}, which only {ONLY_UNDER[top]} may"
    if top != package or not rest or (rest[0].startswith("__") and rest[0].endswith("__")):
        return
    target = rest[0]
    if target == layer:
        return
    if any(part.startswith("_") for part in rest[1:] or rest):
        yield f"{layer} imports {module}, which is private"
    if layer == "__init__":
        return
    if target not in ORDER:
        yield f"{layer} imports {module} from {package}/__init__.py, which is above it"
    elif ORDER.index(target) < ORDER.index(layer):
        yield f"{layer} imports {module}, which is above it"


def circles(package: Path) -> list[str]:
    """Return the files that reach themselves by imports, those inside functions and for types alone included."""
    names = {
        ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for file in package.rglob("*.py")
    }

    def file_of(module: str) -> str:
        while module and module not in names:
            module = module.rpartition(".")[0]
        return module

    uses = {
        name: {file_of(module) for _, module in imported(file, package)} - {"", name} for name, file in names.items()
    }

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        pending = list(uses[name])
        while pending:
            if (one := pending.pop()) not in found:
                found.add(one)
                pending += uses[one]
        return found

    return sorted(name for name in names if name in reached(name))


def write(package: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_no_import_of_ikd_breaks_a_rule() -> None:
    assert len(list((ROOT / "ikd").rglob("*.py"))) > 1, "the walk finds the package"
    assert violations(ROOT / "ikd") == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ops/_nms.py", "import ikd.config", "ops imports ikd.config, which is above it"),
        ("ops/_nms.py", "import os, ikd.data.coco as coco", "ops imports ikd.data.coco, which is above it"),
        ("ops/_nms.py", "from ikd import config", "ops imports ikd.config, which is above it"),
        ("ops/_nms.py", "from .. import sweep", "ops imports ikd.sweep, which is above it"),
        ("ops/deep/er.py", "from ...config import home", "ops imports ikd.config.home, which is above it"),
        ("errors.py", "from .ops import install", "errors imports ikd.ops.install, which is above it"),
        ("doctor.py", "def f():\n    import ikd.cli", "doctor imports ikd.cli, which is above it"),
        ("data/x.py", "from ikd import Recipe", "data imports ikd.Recipe from ikd/__init__.py, which is above it"),
        (
            "data/x.py",
            "import importlib\nimportlib.import_module('ikd.sweep')",
            "data imports ikd.sweep, which is above",
        ),
        ("training/x.py", "import ray.tune", "training imports ray, which only sweep may"),
        ("training/x.py", "if 0:\n    from ray import tune", "training imports ray, which only sweep may"),
        (
            "sweep/x.py",
            "from mlflow.tracking import MlflowClient",
            "imports mlflow, which only tracking/mlflow_*.py may",
        ),
        ("tracking/tracker.py", "import mlflow", "tracking imports mlflow, which only tracking/mlflow_*.py may"),
        ("cli.py", "__import__('mlflow')", "cli imports mlflow, which only tracking/mlflow_*.py may"),
        ("training/x.py", "from ikd.ops.nms import nms", "training imports ikd.ops.nms.nms, which is private"),
        ("training/x.py", "from ikd.ops import _nms", "training imports ikd.ops.nms, which is private"),
        ("training/x.py", "import ikd.ops.nms", "training imports ikd.ops.nms, which is private"),
        ("__init__.py", "from .ops._nms import nms", "imports ikd.ops.nms.nms, which is private"),
        ("helpers/x.py", "", "helpers has no place in the order of layers"),
    ],
)
def test_the_fence_sees_each_kind_of_breach(name: str, text: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "ikd", {name: text})
    (breach,) = violations(tmp_path / "ikd")
    assert breach.startswith(name)
    assert says in breach


def test_the_fence_lets_downward_and_own_imports_pass(tmp_path: Path) -> None:
    write(
        tmp_path / "ikd",
        {
            "__init__.py": "from ikd.sweep import run_sweep\nfrom .config import Recipe",
            "cli.py": "from ikd import doctor\nfrom ikd.errors import IkdError",
            "sweep/tune/x.py": "import ray\nfrom ray import tune\nfrom ikd.sweep.study import Study\nfrom ._x import y",
            "tracking/mlflow_x.py": "import mlflow\nimport rayleigh",
            "export/x.py": "from ikd import __version__\nfrom ikd import config, ops",
        },
    )
    assert violations(tmp_path / "ikd") == []


@pytest.mark.parametrize("module", ["ikd", "ikd.config", "ikd.errors", "ikd.doctor"])
def test_light_modules_import_without_the_heavy_packages(module: str) -> None:
    heavy = {"torch", "mmdet", "mmengine", "mmcv", "ray", "mlflow", "optuna", "pandas", "cv2", "onnx"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.strip() == "", f"`import {module}` loads these"
