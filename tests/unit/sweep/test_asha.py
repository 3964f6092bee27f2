from __future__ import annotations

import pytest

from ikd.config import Asha
from ikd.sweep._asha import AshaJudge


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
    assert AshaJudge(Asha.model_validate(settings), 24, "max").rungs(number) == rungs


def test_the_best_third_goes_on() -> None:
    judge = AshaJudge(Asha(grace_epochs=2, reduction_factor=3.0), 6, "max")
    assert judge.judge(0, 1, 0.0) is None, "not before the first rung"
    assert judge.judge(0, 2, 0.30) is None, "the first at a rung has no rival"
    assert judge.judge(1, 2, 0.20) == "ASHA at epoch 2: 20.0 against a cut of 30.0"
    assert judge.judge(2, 2, 0.31) is None
    # Rivals .30 .20 .31: the 66.7th percentile lies a third of the way from .30 to .31.
    assert judge.judge(3, 2, 0.303) == "ASHA at epoch 2: 30.3 against a cut of 30.3"
    assert judge.judge(4, 2, 0.304) is None


def test_smaller_is_better_in_min_mode() -> None:
    judge = AshaJudge(Asha(grace_epochs=2), 6, "min")
    assert judge.judge(0, 2, 0.30) is None
    assert judge.judge(1, 2, 0.40) is not None
    assert judge.judge(2, 2, 0.20) is None


def test_a_rung_judges_a_trial_once_and_late_reports_count_for_it() -> None:
    judge = AshaJudge(Asha(grace_epochs=2), 12, "max")
    assert judge.judge(0, 3, 0.3) is None
    assert judge.judge(1, 3, 0.3) is None
    assert judge.judge(1, 4, 0.0) is None, "between rungs nothing is judged"
    assert judge.judge(2, 4, 0.1) is not None


def test_brackets_do_not_mix() -> None:
    judge = AshaJudge(Asha(grace_epochs=1, reduction_factor=2.0, brackets=2), 8, "max")
    assert judge.judge(0, 2, 0.9) is None
    assert judge.judge(1, 2, 0.1) is None, "the first of its own bracket"
