"""Whether a Python text only says values: what a config of mmdet may do without anybody's trust."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Sequence

FUNCTIONS = frozenset(
    "abs bool dict enumerate float int len list max min range reversed round set sorted str sum tuple zip".split()
)
"""Builtins that may be called: they make values of values. They may not be handed on, as in `sorted(x, key=eval)`."""
METHODS = frozenset(
    "append copy extend get index insert items join keys lower pop replace setdefault split update upper values".split()
)
"""Methods that may be called, of whatever values."""
_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Delete, ast.Expr, ast.For, ast.If, ast.Pass)
_EXPRESSIONS = (
    *(ast.BinOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Dict, ast.FormattedValue, ast.IfExp, ast.JoinedStr),
    *(ast.List, ast.Set, ast.Slice, ast.Starred, ast.Subscript, ast.Tuple, ast.UnaryOp, ast.keyword),
    *(ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.comprehension),
    *(ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
)
BASE = "_base_"
_TAKEN = frozenset(dir(builtins))
"""Names that may not be assigned: where that comes later, or never happens, the builtin of the name is meant."""


def code_in(text: str) -> str:
    """Return what a Python text does besides assigning values, with its line; nothing where it does only that.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return _first(tree.body, frozenset(names | {BASE}))


def _first(nodes: Iterable[ast.AST], names: frozenset[str]) -> str:
    return next((found for node in nodes if (found := _code(node, names))), "")


def _code(node: ast.AST, names: frozenset[str]) -> str:
    """Return what is no value in a node or below it.

    Args:
        node: of the text.
        names: that the text assigns.
    """
    if isinstance(node, ast.Call):
        return _call(node, names)
    if isinstance(node, ast.Name):
        taken = isinstance(node.ctx, ast.Store) and (node.id in _TAKEN or node.id.startswith("__"))
        return _said(node, f"the name {node.id}") if taken or node.id not in names else ""
    if isinstance(node, ast.Attribute):
        if node.attr.startswith("_"):
            return _said(node, f"the attribute {node.attr}")
        return _first(ast.iter_child_nodes(node), names)
    if not isinstance(node, (*_STATEMENTS, *_EXPRESSIONS)):
        return _said(node, KINDS.get(type(node).__name__, type(node).__name__))
    return _first(ast.iter_child_nodes(node), names)


KINDS = {"Import": "import", "ImportFrom": "import", "FunctionDef": "def", "ClassDef": "class", "With": "with"}
"""How people call statements."""


def _call(node: ast.Call, names: frozenset[str]) -> str:
    function, inside = node.func, list[ast.AST]([*node.args, *node.keywords])
    if isinstance(function, ast.Attribute) and function.attr in METHODS:
        return _first([function.value, *inside], names)
    if isinstance(function, ast.Name) and function.id in FUNCTIONS:
        return _first(inside, names)
    return _said(node, f"a call of {ast.unparse(function)[:60]}")


def _said(node: ast.AST, what: str) -> str:
    lines: Sequence[int] = [node.lineno] if isinstance(node, (ast.stmt, ast.expr)) else []
    return what + "".join(f" in line {line}" for line in lines)
