"""Early stopping of sequences: synthetic curves in many orders, judged as a sweep would judge them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from ikd.config import Asha
from ikd.sweep.schedulers.asha import AshaJudge

EPOCHS, RIVALS, SLOTS = 24, 14, 3
SEQUENCE = RIVALS
"""Number of the trial with two stages; the others have one teacher and one stage."""

Curve = Callable[[int], float]


def plain(top: float) -> Curve:
    return lambda epoch: top * (1 - math.exp(-epoch / 5))


def late(epoch: int) -> float:
    """Behind everybody with its first teacher, the best four epochs after the second has come."""
    return 0.20 * (1 - math.exp(-epoch / 5)) if epoch <= 12 else 0.45 - 0.25 * math.exp(-(epoch - 12))


def by_the_end_of_its_first_stage(epoch: int) -> float:
    """Behind everybody up to half of its first stage, the best at the end of it."""
    return 0.45 / (1 + math.exp(7 - epoch))


def curves_of(sequence: Curve) -> dict[int, tuple[tuple[int, ...], Curve]]:
    ones = {number: ((EPOCHS,), plain(0.28 + 0.005 * number)) for number in range(RIVALS)}
    return {**ones, SEQUENCE: ((12, EPOCHS), sequence)}


def play(settings: dict[str, Any], sequence: Curve, seed: int) -> dict[int, int]:
    """Run all trials, three at once at speeds of their own, in a random order; return how far each came.

    The sequence is never among the first three: the first at a rung goes on whatever it is worth.
    """
    draw = random.Random(seed)
    waiting = draw.sample(range(RIVALS), RIVALS)
    waiting.insert(draw.randint(SLOTS, RIVALS), SEQUENCE)
    judge = AshaJudge(Asha(reduction_factor=3.0, **settings), "max", [(12, EPOCHS), (EPOCHS,)])
    curves, reached, running = curves_of(sequence), dict.fromkeys(waiting, 0), [waiting.pop(0) for _ in range(SLOTS)]
    while running:
        number = draw.choice(running)
        ends, curve = curves[number]
        reached[number] += 1
        verdict = judge.judge(number, reached[number], curve(reached[number]), ends)
        if verdict is not None or reached[number] == EPOCHS:
            running.remove(number)
            running += [waiting.pop(0)] if waiting else []
    return reached


def winner(reached: dict[int, int], sequence: Curve) -> int:
    curves = curves_of(sequence)
    return max(reached, key=lambda number: max(curves[number][1](epoch) for epoch in range(1, reached[number] + 1)))


@pytest.mark.parametrize("seed", range(20))
def test_a_gain_in_the_second_stage_dies_at_the_first_geometric_rung(seed: int) -> None:
    reached = play({"grace_epochs": 4}, late, seed)
    assert reached[SEQUENCE] == 4
    assert winner(reached, late) != SEQUENCE


@pytest.mark.parametrize("rungs", ["stages", "geometric"])
@pytest.mark.parametrize("seed", range(20))
def test_it_wins_when_its_second_teacher_has_had_its_grace(seed: int, rungs: str) -> None:
    reached = play({"grace_epochs": 4, "rungs": rungs, "first_stage_grace": True}, late, seed)
    assert reached[SEQUENCE] == EPOCHS
    assert winner(reached, late) == SEQUENCE
    assert 16 in reached.values(), "the others are still stopped"


@pytest.mark.parametrize("seed", range(20))
def test_a_gain_by_the_end_of_the_first_stage_is_seen_by_rungs_at_stage_ends(seed: int) -> None:
    curve = by_the_end_of_its_first_stage
    assert play({"grace_epochs": 4}, curve, seed)[SEQUENCE] == 4
    reached = play({"grace_epochs": 4, "rungs": "stages"}, curve, seed)
    assert reached[SEQUENCE] == EPOCHS
    assert winner(reached, curve) == SEQUENCE
    assert 12 in reached.values(), "the others are still stopped"
    assert play({"grace_epochs": 4, "rungs": "stages"}, late, seed)[SEQUENCE] == 12, "later than that is too late"


@pytest.mark.parametrize("seed", range(20))
def test_a_sequence_that_gains_nothing_is_stopped(seed: int) -> None:
    reached = play({"grace_epochs": 4, "rungs": "stages", "first_stage_grace": True}, plain(0.2), seed)
    assert reached[SEQUENCE] == 16
