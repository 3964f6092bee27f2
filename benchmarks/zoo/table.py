"""The page that says what ikd makes of mmdet's zoo, from what was tried."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.zoo.trying import ROLES

HEADER = """# Detectors

What ikd makes of every box detector that the installed mmdet ships, one row a kind. Made by
`python -m benchmarks.zoo --table docs/detectors.md`; do not edit.

Each config was tried with a small stand-in for its backbone, from random weights, on two drawn images of different
shapes, through the whole pipeline of a training: **train** is a step and a prediction, **taught** a step that distils
FGD from a RetinaNet, **teach** a RetinaNet's step that distils from it. Configs that are equal once they are small
(they differ in schedule, depth or colours) were tried once. Where no stride is shared, the finest levels were paired
(`distill.match: index`). A detector of **one class** was tried on the same images with their classes merged; more are
refused. A PanopticFPN is tried as the Mask R-CNN that it holds.

A number is how many configs of that kind pass, of those that were measured.
"""
Rows = dict[str, list[Mapping[str, Any]]]


def page(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the page in Markdown.

    Args:
        results: as the walk writes them.
    """
    kinds: Rows = collections.defaultdict(list)
    for facts in results["configs"].values():
        kinds[facts["kind"]].append(results["tried"].get(facts["digest"], {}))
    everything = [one for tried in kinds.values() for one in tried]
    done = [one for one in everything if one]
    passed = sum(_passes(one) for one in done)
    lines = [HEADER, f"Of {len(everything)} configs {len(done)} are measured; {passed} of these pass everything.", ""]
    lines += ["| kind | configs | measured | build | train | taught | teach |", "|---|--:|--:|--:|--:|--:|--:|"]
    for kind, tried in sorted(kinds.items()):
        measured = [one for one in tried if one]
        counts = [str(sum(not one[role] for one in measured)) if measured else "-" for role in ROLES]
        lines.append(f"| {kind} | {len(tried)} | {len(measured)} | {' | '.join(counts)} |")
    return "\n".join([*lines, "", "## What is refused, and why", "", *_reasons(done)]) + "\n"


def _passes(one: Mapping[str, Any]) -> bool:
    return not any(one[role] for role in ROLES)


def _reasons(done: Iterable[Mapping[str, Any]]) -> list[str]:
    reasons = collections.Counter(
        (role, _plain(one[role])) for one in done for role in ROLES if one[role] and _first(one) == role
    )
    return [f"* {count} at {role}: {said}" for (role, said), count in reasons.most_common()] or ["Nothing."]


def _first(one: Mapping[str, Any]) -> str:
    """Return the first of the roles that failed."""
    return next(role for role in ROLES if one[role])


def _plain(said: str) -> str:
    """Leave out what names the recipe of the walk, and what Markdown would read."""
    words = said.removeprefix("recipe drawn_r18: ").replace("|", "/").replace("<", "(").replace(">", ")")
    return " ".join(words.split())[:300]
