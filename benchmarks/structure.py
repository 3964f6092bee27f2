"""What a package looks like from above: sizes, annotations, tests, circles of imports, one-use helpers.

Run: python -m benchmarks.structure [PACKAGE_FOLDER]. Prints a row of a Markdown table and its head. Tests are counted
in the folder `tests` beside the package. A median over an even count is the lower of the two in the middle.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONG_LINES = 50
HELPER_LINES = 6
COLUMNS = (
    "package",
    "files",
    "file lines median / p90",
    "body median / p90",
    f"> {LONG_LINES} lines",
    "annotated",
    "tests per module",
    "circles of files at run time (with type-only imports)",
    "largest flat folder",
    "`_file` share",
    "one-use helpers",
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def row(package: Path) -> list[str]:
    """Return the cells of a package, in the order of `COLUMNS`."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(package.rglob("*.py"))}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, Function)]
    bodies = [body_lines(function) for function in functions]
    arguments = [argument for function in functions for argument in _arguments(function)]
    annotated = sum(argument.annotation is not None for argument in arguments)
    modules = [file for file in trees if file.name != "__init__.py"]
    at_run_time, in_all = (circles(uses(package, trees, types=types)) for types in (False, True))
    return [
        package.name,
        str(len(trees)),
        _median_and_p90([len(file.read_text(encoding="utf-8").splitlines()) for file in trees]),
        _median_and_p90(bodies),
        f"{100 * sum(lines > LONG_LINES for lines in bodies) / max(1, len(bodies)):.1f} %",
        f"{100 * annotated / max(1, len(arguments)):.0f} %",
        f"{_count_tests(package.parent / 'tests') / max(1, len(trees)):.1f}",
        f"{_sizes(at_run_time)} ({_sizes(in_all)})",
        str(max(Counter(file.parent for file in modules).values(), default=0)),
        f"{100 * sum(file.name.startswith('_') for file in modules) / max(1, len(modules)):.0f} %",
        str(len(one_use_helpers(trees.values()))),
    ]


def body_lines(function: Function) -> int:
    """Return the lines of a function from its signature on, without its docstring."""
    first, lines = function.body[0], function.end_lineno - function.lineno + 1  # type: ignore[operator]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= first.end_lineno - first.lineno + 1  # type: ignore[operator]
    return lines


def one_use_helpers(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of short private functions that are called exactly once, anywhere in the package."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    callees = [node.func for node in nodes if isinstance(node, ast.Call)]
    called = Counter(getattr(callee, "attr", getattr(callee, "id", None)) for callee in callees)
    short = {node.name for node in nodes if isinstance(node, Function) and body_lines(node) <= HELPER_LINES}
    return {name for name in short if name.startswith("_") and not name.startswith("__") and called[name] == 1}


def uses(package: Path, trees: Mapping[Path, ast.Module], *, types: bool) -> dict[str, set[str]]:
    """Return the modules that each module imports, also inside functions; a facade's names count for their makers.

    Args:
        package: folder of the package.
        trees: its parsed files.
        types: whether imports for annotations alone (`if TYPE_CHECKING`) count.
    """
    parts = {file: file.relative_to(package.parent).with_suffix("").parts for file in trees}
    modules = {".".join(part).removesuffix(".__init__"): file for file, part in parts.items()}
    made = {
        f"{name}.{own}": source
        for name, file in modules.items()
        if file.name == "__init__.py"
        for own, source in _imported([trees[file]], parts[file], types=True)
    }

    def module_of(name: str) -> str:
        seen: set[str] = set()
        while name in made and name not in modules and name not in seen:
            seen.add(name)
            name = made[name]
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    return {
        name: {module_of(source) for _, source in _imported([trees[file]], parts[file], types=types)} - {"", name}
        for name, file in modules.items()
    }


def _imported(nodes: Iterable[ast.AST], parts: Sequence[str], *, types: bool) -> Iterator[tuple[str, str]]:
    """Yield the name that each import binds and the full dotted name of what it stands for."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level] if node.level else ()
            source = ".".join((*above, *filter(None, (node.module,))))
            yield from ((alias.asname or alias.name, f"{source}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.If) and not types and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imported(node.orelse, parts, types=types)
        else:
            yield from _imported(ast.iter_child_nodes(node), parts, types=types)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other by imports, the largest first."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            pending += (new := graph[pending.pop()] - found)
            found |= new
        return found

    reach = {name: reached(name) for name in graph}
    groups = {
        frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]
    }
    return sorted((sorted(group) for group in groups), key=lambda group: (-len(group), group))


def _sizes(groups: Sequence[Sequence[str]]) -> str:
    return ", ".join(str(len(group)) for group in groups) or "none"


def _arguments(function: Function) -> list[ast.arg]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    return [argument for argument in every if argument.arg not in ("self", "cls")]


def _count_tests(folder: Path) -> int:
    nodes = (node for file in folder.rglob("*.py") for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return sum(isinstance(node, Function) and node.name.startswith("test") for node in nodes)


def _median_and_p90(values: Sequence[int]) -> str:
    values = sorted(values) or [0]
    return f"{values[(len(values) - 1) // 2]} / {values[len(values) * 9 // 10]}"


def main(arguments: Sequence[str]) -> None:
    package = Path(*arguments).resolve() if arguments else ROOT / "ikd"
    if not any(package.glob("*.py")):
        sys.exit(f"{package}: must be the folder of a package, and holds no Python")
    for cells in (COLUMNS, ["---"] * len(COLUMNS), row(package)):
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
