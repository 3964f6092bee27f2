"""The figures of a package that is small enough to count by hand."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.structure import COLUMNS, body_lines, circles, main, row, uses

FILES = {
    "house/__init__.py": "from house.hall import enter\n",
    "house/hall.py": (
        "from typing import TYPE_CHECKING\n"
        "from house.stairs import climb\n"
        "if TYPE_CHECKING:\n"
        "    from house.roof import Roof\n"
        "def enter(name: str, loud=False):\n"
        "    return _greet(name), climb\n"
        "def _greet(name: str):\n"
        "    return name\n"
        "def _twice(name: str):\n"
        "    return _twice(name) or _twice(name)\n"
    ),
    "house/stairs.py": "def climb():\n    from . import enter\n    return enter\n",
    "house/roof.py": "from house import enter\nclass Roof:\n    def leak(self, mm: int) -> int:\n        return mm\n",
    "house/_cellar/__init__.py": "",
    "house/_cellar/_wine.py": "",
    "tests/test_hall.py": "def test_door(): ...\ndef test_bell(): ...\ndef helper(): ...\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "house"


def test_the_row_of_a_small_package(house: Path) -> None:
    cells = dict(zip(COLUMNS, row(house), strict=True))
    assert cells == {
        "package": "house",
        "files": "6",
        "file lines median / p90": "1 / 10",
        "body median / p90": "2 / 3",
        "> 50 lines": "0.0 %",
        "annotated": "80 %",  # loud has no type; self needs none
        "tests per module": "0.3",
        "circles of files at run time (with type-only imports)": "2 (3)",
        "largest flat folder": "3",
        "`_file` share": "25 %",
        "one-use helpers": "1",
    }


def test_circles_are_seen_through_facades_and_name_their_files(house: Path) -> None:
    trees = {file: ast.parse(file.read_text()) for file in house.rglob("*.py")}
    assert circles(uses(house, trees, types=False)) == [["house.hall", "house.stairs"]]
    assert circles(uses(house, trees, types=True)) == [["house.hall", "house.roof", "house.stairs"]]


def test_an_import_beside_one_for_types_counts() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.b\nelse:\n    import p.a"
    trees = {Path("p/a.py"): ast.parse(text), Path("p/b.py"): ast.parse("")}
    assert uses(Path("p"), trees, types=False)["p.a"] == set()
    trees = {Path("p/c.py"): ast.parse(text), Path("p/a.py"): ast.parse("")}
    assert uses(Path("p"), trees, types=False)["p.c"] == {"p.a"}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def f():\n    return 1", 2),
        ("def f():\n    '''Say.\n\n    More.\n    '''\n    return 1", 2),
        ("@cached\nasync def f(\n    a,\n):\n    return 1", 4),
    ],
)
def test_docstrings_and_decorators_are_no_lines_of_a_body(text: str, lines: int) -> None:
    (function,) = ast.parse(text).body
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    assert body_lines(function) == lines


def test_a_row_is_printed_below_its_head(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(house)])
    head, rule, cells = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == cells.count("|") == len(COLUMNS) + 1
    assert cells.startswith("| house | 6 | 1 / 10 |")


def test_a_folder_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="must be the folder of a package, and holds no Python"):
        main([str(tmp_path)])
