"""Constraints between recipe fields: `attack.step <= attack.eps`, computed without ever being run as code."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Read = Callable[[str], Any]
LONGEST = 500
"""Characters; a longer text is no rule that people read."""
DEEPEST = 20
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_ARITHMETIC: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISONS: Mapping[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"len": len, "min": min, "max": max}
ALLOWED = "comparisons, + - * / // %, and, or, not, in, len, min, max, numbers, 'texts', lists and recipe fields"


class Uncomputable(Exception):
    """A constraint has no value: a number is compared with a text or null, or divided by zero."""


@dataclass(frozen=True)
class Constraint:
    """A parsed constraint.

    Attributes:
        text: as written.
        fields: the recipe fields that it reads, by dotted name.
        tree: its expression; whitelisted nodes only.
    """

    text: str
    fields: tuple[str, ...]
    tree: ast.expr

    def holds(self, read: Read) -> bool:
        """Tell whether it holds.

        Args:
            read: from a dotted field to its value.

        Raises:
            Uncomputable: it has no value.
        """
        try:
            return _truth(self.tree, read)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise Uncomputable(str(error)) from error


@lru_cache(maxsize=1024)
def constraint(text: str) -> Constraint:
    """Parse a constraint.

    Raises:
        ValueError: says what is wrong with it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"must be at most {LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in texts: nothing that a person can act on
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(f"must be an expression such as attack.step <= attack.eps ({why})") from error
    names: list[str] = []
    _check(tree, names)
    if not _is_truth(tree):
        raise ValueError("must compare something, such as attack.step <= attack.eps")
    return Constraint(text, tuple(dict.fromkeys(names)), tree)


def _check(node: ast.AST, names: list[str], depth: int = 0) -> None:
    """Refuse what is not on the list, and collect the fields that are read."""
    if depth > DEEPEST:
        raise ValueError(f"must be nested at most {DEEPEST} deep")
    name = _dotted(node)
    if name is not None:
        if name not in _WORDS:
            names.append(name)
        return
    for child in _operands(node):
        _check(child, names, depth + 1)


def _operands(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Constant) and (node.value is None or type(node.value) in (bool, int, float, str)):
        return []
    if isinstance(node, ast.BoolOp):
        return _truths(node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _truths([node.operand])
    if isinstance(node, ast.UnaryOp) and type(node.op) in _ARITHMETIC:
        return [node.operand]
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return [node.left, node.right]
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, (ast.List, ast.Tuple)):
        return node.elts
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        if node.args and not node.keywords and (node.func.id != "len" or len(node.args) == 1):
            return node.args
    raise ValueError(f"may hold only {ALLOWED}, but holds {ast.unparse(node)!r}")


def _truths(nodes: list[ast.expr]) -> list[ast.expr]:
    for node in nodes:
        if not _is_truth(node):
            raise ValueError(f"and, or, not go between comparisons, but stand beside {ast.unparse(node)!r}")
    return nodes


def _is_truth(node: ast.expr) -> bool:
    """Tell whether a node can be true or false at all."""
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negated or isinstance(node, (ast.BoolOp, ast.Compare)) or _dotted(node) is not None


def _dotted(node: ast.AST) -> str | None:
    """Return the dotted name that a chain of attributes spells, or None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    owner = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{owner}.{node.attr}" if owner is not None and isinstance(node, ast.Attribute) else None


def _truth(node: ast.expr, read: Read) -> bool:
    if isinstance(node, ast.BoolOp):
        results = (_truth(one, read) for one in node.values)
        return all(results) if isinstance(node.op, ast.And) else any(results)
    if isinstance(node, ast.UnaryOp):
        return not _truth(node.operand, read)
    if isinstance(node, ast.Compare):
        left = _value(node.left, read)
        for op, other in zip(node.ops, node.comparators, strict=True):
            right = _value(other, read)
            if not _COMPARISONS[type(op)](left, right):
                return False
            left = right
        return True
    value = _value(node, read)
    if not isinstance(value, bool):
        raise Uncomputable(f"{ast.unparse(node)} is {value!r}, neither true nor false")
    return value


def _value(node: ast.expr, read: Read) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    name = _dotted(node)
    if name is not None:
        return _WORDS[name] if name in _WORDS else read(name)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(one, read) for one in node.elts]
    if isinstance(node, ast.BinOp):
        return _ARITHMETIC[type(node.op)](_number(node.left, read), _number(node.right, read))
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
        return _ARITHMETIC[type(node.op)](_number(node.operand, read))
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id](*(_value(one, read) for one in node.args))
    return _truth(node, read)


def _number(node: ast.expr, read: Read) -> float:
    """Return an operand of arithmetic; true is 1, so that switches can be counted, and texts are no numbers."""
    value = _value(node, read)
    if not isinstance(value, (int, float)):
        raise Uncomputable(f"{ast.unparse(node)} is {value!r}, no number")
    return value
