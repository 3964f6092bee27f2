"""The losses with their formulas, as Markdown from the docstrings beside the code that computes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from ikd.config import LOSSES as DECLARED
from ikd.distill.conditional import InstanceDecoder
from ikd.distill.crosskd import CrossHeads, CrossRegions
from ikd.distill.losses.registry import LOSSES
from ikd.distill.response import HEADS

FORMULA = re.compile(r"^\.\. math::[ \t]*(.*(?:\n[ \t]+.*)*)", re.M)


def sections() -> str:
    """Return a section for each loss: what it computes and where that comes from."""
    parts = []
    for name in sorted(LOSSES):
        made = LOSSES[name]
        title = (DECLARED[name].__doc__ or name).strip().splitlines()[0].rstrip(".")
        module = inspect.getdoc(inspect.getmodule(made)) or ""
        parts.append(f"## {name}: {title}\n\n*{module.splitlines()[0]}*\n\n{markdown(inspect.getdoc(made) or '')}")
        for where, between in _compared(name).items():
            parts.append(f"**{where}.** {markdown(inspect.getdoc(between) or '')}")
        if DECLARED[name].decodes:
            parts.append(f"**Its decoder.** {markdown(inspect.getdoc(InstanceDecoder) or '')}")
    return "\n\n".join(parts) + "\n"


def _compared(name: str) -> Mapping[str, object]:
    """Return what compares the heads of two detectors under a loss's name, by where it does."""
    if name == "crosskd":
        return {"Between heads": CrossHeads, "Between two stages": CrossRegions}
    return {"Between heads": HEADS[name]} if name in HEADS else {}


def markdown(docstring: str) -> str:
    r"""Return a docstring's text and formulas as Markdown; its sections (Args, ...) are left out.

    Args:
        docstring: cleaned; formulas as `.. math:: x`, with lines below that belong to it set in, or :math:`x`.
    """
    text = re.split(r"^(?:Args|Attributes|Returns|Raises|References):$", docstring, maxsplit=1, flags=re.M)[0]
    text = FORMULA.sub(lambda found: f"\n$$\n{_joined(found[1])}\n$$\n", text)
    return re.sub(r":math:`([^`]*)`", lambda found: f"${_joined(found[1])}$", text).strip()


def _joined(formula: str) -> str:
    return " ".join(formula.split())
