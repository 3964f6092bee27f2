from __future__ import annotations

from typing import Any

import pytest

from ikd.config import Asha
from ikd.sweep.schedulers.asha import AshaJudge

TWO, THREE = (12, 24), (8, 16, 24)


@pytest.mark.parametrize(
    ("settings", "number", "rungs"),
    [
        ({"grace_epochs": 4, "reduction_factor": 3.0}, 0, [4, 12]),
        ({"grace_epochs": 1, "reduction_factor": 2.0}, 5, [1, 2, 4, 8, 16]),
        ({"grace_epochs": 1, "reduction_factor": 2.0, "brackets": 3}, 5, [4, 8, 16]),
        ({"grace_epochs": 24}, 0, []),
    ],
)
def test_rungs_grow_by_the_factor_below_the_last_epoch(
    settings: dict[str, float], number: int, rungs: list[int]
) -> None:
    for ends in ((24,), TWO, THREE):
        assert AshaJudge(Asha.model_validate(settings), "max", [TWO, THREE]).rungs(number, ends) == rungs


@pytest.mark.parametrize(
    ("settings", "ends", "rungs"),
    [
        ({}, THREE, [8, 16]),
        ({}, TWO, [12]),
        ({}, (24,), [8, 12, 16]),  # one stage: where any sequence of the space is judged
        ({}, (10, 20, 48), [10, 20]),
        ({}, (14,), [8, 12]),
        ({"grace_epochs": 12}, (24,), [12, 16]),
        ({"grace_epochs": 9}, THREE, [16]),
        ({"brackets": 2}, THREE, [8, 16]),
        ({"first_stage_grace": True, "grace_epochs": 2}, THREE, [10, 16]),
        ({"first_stage_grace": True, "grace_epochs": 2}, TWO, [14]),
        ({"first_stage_grace": True, "grace_epochs": 2}, (24,), [10, 12, 16]),
        ({"first_stage_grace": True, "grace_epochs": 9}, THREE, [17]),
        ({"first_stage_grace": True, "grace_epochs": 12}, TWO, []),
        ({"first_stage_grace": True, "grace_epochs": 4, "brackets": 2}, (24,), [12, 16]),
    ],
)
def test_rungs_follow_the_stages(settings: dict[str, Any], ends: tuple[int, ...], rungs: list[int]) -> None:
    judge = AshaJudge(Asha(rungs="stages", **settings), "max", [TWO, THREE, (24,)])
    assert judge.rungs(0, ends) == rungs


def test_a_later_bracket_leaves_out_the_first_stage_ends() -> None:
    judge = AshaJudge(Asha(rungs="stages", brackets=2), "max", [THREE])
    assert (judge.rungs(0, THREE), judge.rungs(1, THREE), judge.rungs(1, TWO)) == ([8, 16], [16], [])


@pytest.mark.parametrize(
    ("sequences", "ends", "rungs"),
    [
        ([TWO, THREE], TWO, [14]),  # 12 + 2; the next, 14 x 3, lies behind the end
        ([TWO, THREE], (12, 48), [14, 42]),
        ([TWO, THREE], (48,), [10, 30]),  # the earliest end of a first stage is 8
        ([(48,)], (48,), [2, 6, 18]),  # no first stage to wait for
    ],
)
def test_the_grace_of_the_first_stage_moves_geometric_rungs(
    sequences: list[tuple[int, ...]], ends: tuple[int, ...], rungs: list[int]
) -> None:
    judge = AshaJudge(Asha(grace_epochs=2, first_stage_grace=True), "max", sequences)
    assert judge.rungs(0, ends) == rungs


def test_the_best_third_goes_on() -> None:
    judge = AshaJudge(Asha(grace_epochs=2, reduction_factor=3.0), "max")
    assert judge.judge(0, 1, 0.0, (6,)) is None, "not before the first rung"
    assert judge.judge(0, 2, 0.30, (6,)) is None, "the first at a rung has no rival"
    assert judge.judge(1, 2, 0.20, (6,)) == "ASHA at epoch 2: 20.0 against a cut of 30.0"
    assert judge.judge(2, 2, 0.31, (6,)) is None
    # Rivals .30 .20 .31: the 66.7th percentile lies a third of the way from .30 to .31.
    assert judge.judge(3, 2, 0.303, (6,)) == "ASHA at epoch 2: 30.30 against a cut of 30.33"
    assert judge.judge(4, 2, 0.304, (6,)) is None


def test_smaller_is_better_in_min_mode() -> None:
    judge = AshaJudge(Asha(grace_epochs=2), "min")
    assert judge.judge(0, 2, 0.30, (6,)) is None
    assert judge.judge(1, 2, 0.40, (6,)) == "ASHA at epoch 2: 40.0 against a cut of 30.0"
    assert judge.judge(2, 2, 0.20, (6,)) is None


def test_trials_are_compared_at_equal_epochs_whatever_their_rungs() -> None:
    """The rival is judged at 8 and 16 only; the other one, at 12, meets what the rival had at 12."""
    judge = AshaJudge(Asha(rungs="stages"), "max", [TWO, THREE])
    for epoch in range(1, 24):
        assert judge.judge(0, epoch, epoch / 100, THREE) is None
    for epoch in range(1, 12):
        assert judge.judge(1, epoch, 0.0, TWO) is None
    assert judge.judge(1, 12, 0.119, TWO) == "ASHA at epoch 12: 11.9 against a cut of 12.0"
    for epoch in range(1, 13):
        assert judge.judge(2, epoch, 0.121, TWO) is None


def test_a_rung_judges_a_trial_once_at_the_next_report() -> None:
    judge = AshaJudge(Asha(grace_epochs=2), "max")  # rungs 2, 6
    assert judge.judge(0, 3, 0.3, (12,)) is None
    assert judge.judge(1, 3, 0.3, (12,)) is None
    assert judge.judge(1, 4, 0.0, (12,)) is None, "between rungs nothing is judged"
    assert judge.judge(2, 4, 0.1, (12,)) == "ASHA at epoch 4: 10.0 against a cut of 20.0", "two thirds from 0 to .3"
    assert judge.judge(0, 7, 0.3, (12,)) is None
    assert judge.judge(3, 8, 0.2, (12,)) == "ASHA at epoch 8: 20.0 against a cut of 30.0", "the later rung counts"
    assert judge.judge(3, 9, 0.0, (12,)) is None, "and the earlier one is over with it"


def test_brackets_do_not_mix() -> None:
    judge = AshaJudge(Asha(grace_epochs=1, reduction_factor=2.0, brackets=2), "max")
    assert judge.judge(0, 2, 0.9, (8,)) is None
    assert judge.judge(1, 2, 0.1, (8,)) is None, "the first of its own bracket"
