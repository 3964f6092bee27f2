"""The fence: imports point downwards and through facades, ray and mlflow stay in one package each."""

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
        "__main__",
        "cli",
        "doctor_apart",
        "doctor",
        "analyses",
        "export",
        "report",
        "sweep",
        "pictures",
        "tracking",
        "training",
        "attack",
        "distill",
        "evaluation",
        "augment",
        "detectors",
    ),
    *(
        "data",
        "config",
        "ops",
        "trial",
        "files",
        "home",
        "plugins",
        "progress",
        "world",
        "logs",
        "signals",
        "trust",
        "errors",
        "masking",
        "visible",
    ),
)
"""Highest first. `ikd/__init__.py` stands above them all; a package may import those after it."""

PUBLIC = {
    *(("distill", name) for name in ("agreement", "conditional", "crosskd", "detector", "functional")),
    *(("distill", name) for name in ("labels", "prototypes", "response", "terms")),
    ("evaluation", "labels"),
    *(("pictures", name) for name in ("confusion", "detections", "grid", "judged", "panel", "style")),
    ("data", "reader", "dataset"),
}
"""Modules below a facade that others may import too; everything else there is private."""
MOST_FILES = 20
"""Python files of a folder; more are a warehouse."""

ONLY_UNDER = {"ray": ("sweep/tune/",), "optuna": ("sweep/samplers/", "sweep/study/"), "mlflow": ("tracking/mlflow_",)}
"""How the paths of the files begin that alone may import a package."""

IN_SWEEP = (
    *(
        "rebuild",
        "pages",
        "handover",
        "planning",
        "driver",
        "tune",
        "preflight",
        "extend",
        "pictures",
        "students",
        "measure",
        "look",
        "status",
        "conductor",
        "hopeless",
    ),
    "same_data",
    *(
        "budget",
        "mirror",
        "stores",
        "forecast",
        "proposals",
        "schedulers",
        "samplers",
        "study",
        "view",
        "storage",
        "confirm",
        "effects",
        "records",
        "training",
        "signals",
    ),
)
"""The files and folders of `ikd/sweep`, highest first; one may import those after it."""


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
            found += [f"{place}:{line}: {fault}" for fault in faults(layer, module, package)]
            starts = ONLY_UNDER.get(top := module.split(".")[0], ("",))
            if not place.as_posix().startswith(starts):
                allowed = " and ".join(start.rstrip("/") if start.endswith("/") else f"{start}*" for start in starts)
                found.append(f"{place}:{line}: {place.parent.as_posix()} imports {top}, which only {allowed} may")
    return found


def violations_inside(folder: Path, order: tuple[str, ...]) -> list[str]:
    """Return every import in the package `ikd/FOLDER` that breaks its own order, as `file:line: what`."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder)
        room = place.parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        if room not in order:
            found.append(f"{place}: {room} has no place in the order of {folder.name}")
            continue
        for line, module in imported(file, folder.parent):
            target = module.removeprefix(f"{folder.parent.name}.{folder.name}.").split(".")[0]
            if target == room or not module.startswith(f"{folder.parent.name}.{folder.name}."):
                continue
            if target not in order:
                found.append(f"{place}:{line}: {room} imports {module} from {folder.name}/__init__.py, which is above")
            elif order.index(target) < order.index(room):
                found.append(f"{place}:{line}: {room} imports {module}, which is above it")
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


def faults(layer: str, module: str, package: Path) -> Iterator[str]:
    """Yield what is wrong with `module` (a full dotted name) being imported in `layer` of `package`."""
    top, *rest = module.split(".")
    if top != package.name or not rest or (rest[0].startswith("__") and rest[0].endswith("__")):
        return
    target = rest[0]
    if target == layer:
        return
    ends = [end for end in range(2, len(rest) + 1) if is_module(package.joinpath(*rest[:end]))]
    below = tuple(rest[: max(ends, default=0)])
    if (below and below not in PUBLIC) or any(part.startswith("_") for part in rest):
        yield f"{layer} imports {module}, which is private"
    if layer == "__init__":
        return
    if target not in ORDER:
        yield f"{layer} imports {module} from {package.name}/__init__.py, which is above it"
    elif ORDER.index(target) < ORDER.index(layer):
        yield f"{layer} imports {module}, which is above it"


def is_module(place: Path) -> bool:
    return place.is_dir() or place.with_name(f"{place.name}.py").is_file()


def doubles(package: Path) -> list[str]:
    """Return the files and folders with the name of something that the facade beside them exports."""
    found = []
    for facade in sorted(package.rglob("__init__.py")):
        module = ".".join(facade.parent.relative_to(package.parent).parts)
        for node in ast.walk(ast.parse(facade.read_text(encoding="utf-8"))):
            names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
            if isinstance(node, ast.ImportFrom) and (node.module or module) != module:  # not a module of its own
                names = [alias.asname or alias.name for alias in node.names]
            clash = [name for name in names if is_module(facade.parent / name)]
            found += [
                f"{facade.relative_to(package)}: exports {name}, and a module beside it is {name}" for name in clash
            ]
    return found


def warehouses(package: Path) -> list[str]:
    """Return the folders that hold too many Python files."""
    folders = [package, *(path for path in sorted(package.rglob("*")) if path.is_dir())]
    return [str(folder.relative_to(package.parent)) for folder in folders if len([*folder.glob("*.py")]) > MOST_FILES]


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


def test_no_file_of_ikd_reaches_itself_by_imports() -> None:
    assert circles(ROOT / "ikd") == []


@pytest.mark.parametrize(
    "back",
    [
        "from ikd.data.coco import a",
        "def f():\n    from ikd.data import coco",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ikd.data.coco",
        "from .coco import a",
    ],
)
def test_a_circle_is_seen_wherever_its_imports_stand(back: str, tmp_path: Path) -> None:
    straight = {"__init__.py": "", "data/__init__.py": "", "data/coco.py": "from ikd.data.rules import x"}
    write(tmp_path / "ikd", {**straight, "data/rules.py": ""})
    assert circles(tmp_path / "ikd") == []
    write(tmp_path / "ikd", {"data/rules.py": back})
    assert circles(tmp_path / "ikd") == ["ikd.data.coco", "ikd.data.rules"]


def test_no_import_of_ikd_breaks_a_rule() -> None:
    assert len(list((ROOT / "ikd").rglob("*.py"))) > 1, "the walk finds the package"
    assert violations(ROOT / "ikd") == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ops/nms.py", "import ikd.config", "ops imports ikd.config, which is above it"),
        ("ops/nms.py", "import os, ikd.data.coco as coco", "ops imports ikd.data.coco, which is above it"),
        ("ops/nms.py", "from ikd import config", "ops imports ikd.config, which is above it"),
        ("ops/nms.py", "from .. import sweep", "ops imports ikd.sweep, which is above it"),
        ("ops/deep/er.py", "from ...config import home", "ops imports ikd.config.home, which is above it"),
        ("errors.py", "from .ops import install", "errors imports ikd.ops.install, which is above it"),
        ("doctor.py", "def f():\n    import ikd.cli", "doctor imports ikd.cli, which is above it"),
        ("data/x.py", "from ikd import Recipe", "data imports ikd.Recipe from ikd/__init__.py, which is above it"),
        (
            "data/x.py",
            "import importlib\nimportlib.import_module('ikd.sweep')",
            "data imports ikd.sweep, which is above",
        ),
        ("training/x.py", "import ray.tune", "training imports ray, which only sweep/tune may"),
        ("training/x.py", "if 0:\n    from ray import tune", "training imports ray, which only sweep/tune may"),
        ("sweep/driver.py", "from ray import tune", "sweep imports ray, which only sweep/tune may"),
        ("sweep/tuned/x.py", "import ray", "sweep/tuned imports ray, which only sweep/tune may"),
        (
            "sweep/proposals/x.py",
            "def f():\n    import optuna.samplers",
            "sweep/proposals imports optuna, which only sweep/samplers and sweep/study may",
        ),
        ("sweep/status.py", "import optuna", "sweep imports optuna, which only sweep/samplers and sweep/study may"),
        (
            "sweep/x.py",
            "from mlflow.tracking import MlflowClient",
            "sweep imports mlflow, which only tracking/mlflow_* may",
        ),
        ("cli.py", "__import__('mlflow')", "imports mlflow, which only tracking/mlflow_* may"),
        ("tracking/tracker.py", "import mlflow", "tracking imports mlflow, which only tracking/mlflow_* may"),
        ("training/x.py", "from ikd.ops.nms import nms", "training imports ikd.ops.nms.nms, which is private"),
        ("training/x.py", "from ikd.ops import nms", "training imports ikd.ops.nms, which is private"),
        ("training/x.py", "from ikd.errors import _text", "training imports ikd.errors._text, which is private"),
        ("training/x.py", "import ikd.ops.nms", "training imports ikd.ops.nms, which is private"),
        ("training/x.py", "import ikd.distill.losses", "training imports ikd.distill.losses, which is private"),
        ("training/x.py", "from ikd.distill.crosskd.heads import a", "ikd.distill.crosskd.heads.a, which is private"),
        ("__init__.py", "from .ops.nms import nms", "imports ikd.ops.nms.nms, which is private"),
        ("helpers/x.py", "", "helpers has no place in the order of layers"),
    ],
)
def test_the_fence_sees_each_kind_of_breach(name: str, text: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "ikd", {"ops/nms.py": "", "distill/crosskd/heads.py": "", "distill/losses/fgd.py": ""})
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
            "sweep/study/x.py": "import optuna",
            "sweep/samplers/deep/x.py": "from optuna import samplers",
            "tracking/mlflow_x.py": "import mlflow\nimport rayleigh",
            "export/x.py": "from ikd import __version__\nfrom ikd import config, ops",
            "training/x.py": "from ikd.distill import functional\nfrom ikd.distill.crosskd import CrossHeads",
            "distill/functional.py": "from ikd.config import Recipe, space_table",
            "distill/crosskd/heads.py": "import ikd.distill.losses.fgd",
            "config/space/table.py": "",
        },
    )
    assert violations(tmp_path / "ikd") == []


def test_no_file_of_ikd_bears_the_name_of_an_export_and_no_folder_is_a_warehouse() -> None:
    assert doubles(ROOT / "ikd") == []
    assert warehouses(ROOT / "ikd") == []


@pytest.mark.parametrize("place", ["prepare.py", "prepare/x.py"])
@pytest.mark.parametrize(
    "export", ["from ikd.training.x import prepare", "from .x import y as prepare", "def prepare(): ..."]
)
def test_a_name_that_is_a_module_and_an_export_is_seen(place: str, export: str, tmp_path: Path) -> None:
    facade = f"from ikd.training import runner\nfrom . import trial\nfrom ikd.training.x import run\n{export}"
    modules = {"training/runner.py": "", "training/trial.py": "", f"training/{place}": ""}
    write(tmp_path / "ikd", {**modules, "training/__init__.py": facade})
    assert doubles(tmp_path / "ikd") == ["training/__init__.py: exports prepare, and a module beside it is prepare"]


@pytest.mark.parametrize(("count", "found"), [(MOST_FILES, []), (MOST_FILES + 1, ["ikd/sweep/tune"])])
def test_a_folder_of_too_many_files_is_seen(count: int, found: list[str], tmp_path: Path) -> None:
    write(tmp_path / "ikd", {f"sweep/tune/x{index}.py": "" for index in range(count)})
    assert warehouses(tmp_path / "ikd") == found


def test_the_rooms_of_sweep_stand_in_their_order() -> None:
    there = {path.stem for path in (ROOT / "ikd" / "sweep").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__pycache__"} == set(IN_SWEEP)
    assert violations_inside(ROOT / "ikd" / "sweep", IN_SWEEP) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("records/x.py", "import ikd.sweep.study.folder", "records imports ikd.sweep.study.folder, which is above it"),
        ("samplers/x.py", "from ikd.sweep import conductor", "imports ikd.sweep.conductor, which is above it"),
        ("samplers/x.py", "from ..proposals.order import Order", "imports ikd.sweep.proposals.order.Order, which is"),
        ("conductor.py", "def f():\n    from .driver import run_sweep", "ikd.sweep.driver.run_sweep, which is above"),
        ("status.py", "from ikd.sweep import run_sweep", "ikd.sweep.run_sweep from sweep/__init__.py, which is above"),
        ("judging/x.py", "", "judging has no place in the order of sweep"),
    ],
)
def test_the_fence_inside_sweep_sees_each_kind_of_breach(name: str, text: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "ikd" / "sweep", {name: text})
    (breach,) = violations_inside(tmp_path / "ikd" / "sweep", IN_SWEEP)
    assert breach.startswith(name)
    assert says in breach


def test_the_fence_inside_sweep_lets_downward_and_own_imports_pass(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from ikd.sweep.driver import run_sweep",
        "driver.py": "from ikd.sweep.tune.worker import Job\nfrom .records import trials",
        "study/x.py": "from ikd.sweep.study.y import z\nfrom ikd.config import Recipe",
    }
    write(tmp_path / "ikd" / "sweep", files)
    assert violations_inside(tmp_path / "ikd" / "sweep", IN_SWEEP) == []


@pytest.mark.parametrize("module", ["ikd", "ikd.config", "ikd.errors", "ikd.doctor"])
def test_light_modules_import_without_the_heavy_packages(module: str) -> None:
    heavy = {"torch", "mmdet", "mmengine", "mmcv", "ray", "mlflow", "optuna", "pandas", "cv2", "onnx"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.strip() == "", f"`import {module}` loads these"
