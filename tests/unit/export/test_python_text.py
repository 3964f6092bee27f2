"""Plain values as Python text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ikd.errors import BadInput
from ikd.export.python_text import assignment


@pytest.mark.parametrize(
    "value",
    [
        {},
        (),
        [[], {}, ()],
        (1,),
        ((0.5,),),
        {"a": (1,), "b": [None, True, -2, 1e-07, 1e8, "it's"]},
        {"not a name": 1, "class": 2, 3: {"deep": "}}"}},
        {"type": "X", "long": ["word" * 5] * 20, "below": {"more": [{"k": i, "v": ("é\n", i / 3)} for i in range(30)]}},
        -math.inf,
    ],
)
def test_text_reads_back_as_the_same_value_and_type(value: Any) -> None:
    scope: dict[str, Any] = {}
    text = assignment("value", value)
    exec(text, scope)
    assert scope["value"] == value
    assert repr(scope["value"]) == repr(value), "tuples stay tuples"


def test_nan_reads_back() -> None:
    scope: dict[str, Any] = {}
    exec(assignment("value", [math.nan]), scope)
    assert math.isnan(scope["value"][0])


def test_short_values_stay_on_a_line_and_long_ones_are_broken_by_level() -> None:
    assert assignment("nms", {"type": "nms", "iou_threshold": 0.5}) == "nms = dict(type='nms', iou_threshold=0.5)\n"
    long = {"type": "A" * 60, "inner": {"sizes": [1, 2], "name": "B" * 60}}
    assert assignment("x", long) == (
        f"x = dict(\n    type='{'A' * 60}',\n    inner=dict(sizes=[1, 2], name='{'B' * 60}'),\n)\n"
    )
    assert max(map(len, assignment("x", {"list": list(range(1000, 1100))}).splitlines())) <= 110


@pytest.mark.parametrize("value", [dict, {1, 2}, b"bytes", object()])
def test_other_values_are_refused_with_their_place(value: object) -> None:
    with pytest.raises(BadInput, match=r"^model\.neck\.type: a plain config holds numbers.*but got .*of type"):
        assignment("model", {"neck": {"type": value}})
