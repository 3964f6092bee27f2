"""The hopeless rule: computed by hand, each of its settings, and the same prediction as the effects model's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Hopeless, Objective
from ikd.sweep.effects.told import told_by
from ikd.sweep.records.trials import Report
from ikd.sweep.schedulers.hopeless import HopelessJudge
from ikd.sweep.schedulers.judges import expected_epochs
from tests.unit.config.written_spaces import refusal
from tests.unit.sweep.synthetic import AXES, record_of, synthetic_recipe, synthetic_space

EPOCHS = 6
LEVELS = (0.20, 0.25, 0.30, 0.35, 0.40, 0.45)


def judge_of(mode: str = "max", levels: tuple[float, ...] = LEVELS, **settings: Any) -> HopelessJudge:
    """Return a judge that has seen trials which stood at their ends from the start on: nothing is left to guess."""
    judge = HopelessJudge(Hopeless(**settings), Objective(mode=mode))  # type: ignore[arg-type]
    for number, level in enumerate(levels):
        assert [judge.judge(number, epoch, level, (EPOCHS,)) for epoch in range(1, EPOCHS + 1)] == [None] * EPOCHS
    return judge


def verdict(judge: HopelessJudge, value: float, epoch: int = 4) -> str | None:
    for before in range(1, epoch):
        judge.judge(99, before, value, (EPOCHS,))
    return judge.judge(99, epoch, value, (EPOCHS,))


def test_what_cannot_reach_the_third_best_stops() -> None:
    """From 2/3 of a training on the line of such trials has slope 1, and no errors: the value is the predicted end."""
    assert verdict(judge_of(), 0.349) == (
        "hopeless at epoch 4: at best 34.9 at its end, against 35.0 of number 3 of 6 finished"
    )
    assert verdict(judge_of(), 0.351) is None


@pytest.mark.parametrize(
    ("settings", "value", "stops"),
    [
        ({"rank": 1}, 0.44, True),
        ({"rank": 1}, 0.46, False),
        ({"rank": 6}, 0.21, False),
        ({"grace_epochs": 5}, 0.1, False),
        ({"grace_epochs": 4}, 0.1, True),
        ({"min_trials": 7}, 0.1, False),
        ({"min_trials": 6}, 0.1, True),
    ],
)
def test_each_setting_acts(settings: dict[str, Any], value: float, stops: bool) -> None:
    judge = judge_of(**settings)
    for before in range(1, 4):  # it is looked at anew at each epoch: what stops it is that of epoch 4
        judge.judge(99, before, 0.4, (EPOCHS,))
    judge.judge(99, 3, value, (EPOCHS,))
    assert (judge.judge(99, 4, value, (EPOCHS,)) is not None) == stops


def test_the_errors_of_the_prediction_give_hope() -> None:
    """Ends that lie 2 above and below the line by turns have a deviation of 2 points."""
    strict, kind = (HopelessJudge(Hopeless(deviations=count), Objective()) for count in (0.0, 2.0))
    for judge in (strict, kind):
        for number, level in enumerate(LEVELS):
            for epoch in range(1, EPOCHS + 1):
                judge.judge(number, epoch, level + (0.02 if number % 2 else -0.02) * (epoch > 4), (EPOCHS,))
        for epoch in (1, 2, 3):
            judge.judge(99, epoch, 0.34, (EPOCHS,))
    assert strict.judge(99, 4, 0.34, (EPOCHS,)) is not None
    assert kind.judge(99, 4, 0.34, (EPOCHS,)) is None


def test_smaller_is_better_in_min_mode() -> None:
    judge = judge_of("min", tuple(1 - level for level in LEVELS))
    assert verdict(judge, 0.651) == (
        "hopeless at epoch 4: at best 65.1 at its end, against 65.0 of number 3 of 6 finished"
    )
    assert verdict(judge_of("min", tuple(1 - level for level in LEVELS)), 0.649) is None


@pytest.mark.parametrize(("value", "stops"), [("last", True), ("last_two", True), ("best", False)])
def test_what_counts_is_the_objective(value: Any, stops: bool) -> None:
    """A trial whose best epoch was its first one."""
    judge = HopelessJudge(Hopeless(grace_epochs=4), Objective(value=value))
    for number, level in enumerate(LEVELS):
        for epoch in range(1, EPOCHS + 1):
            judge.judge(number, epoch, level, (EPOCHS,))
    for epoch, seen in enumerate((0.5, 0.2, 0.2), 1):
        judge.judge(99, epoch, seen, (EPOCHS,))
    assert (judge.judge(99, 4, 0.2, (EPOCHS,)) is not None) == stops


def test_only_what_has_finished_by_then_counts() -> None:
    judge = judge_of(levels=LEVELS[:5])
    for epoch in range(1, EPOCHS):
        judge.judge(50, epoch, 0.5, (EPOCHS,))
    assert verdict(judge, 0.1) is None, "the sixth still trains"
    judge.judge(50, EPOCHS, 0.5, (EPOCHS,))
    assert judge.judge(99, 5, 0.1, (EPOCHS,)) is not None


def test_it_predicts_what_the_effects_model_is_told() -> None:
    recipe = synthetic_recipe()
    offsets = [0.0, 0.01, 0.02, 0.0, 0.01, 0.02]
    curves = [
        [level * (0.4 + 0.1 * epoch) + offset for epoch in range(1, EPOCHS + 1)]
        for level, offset in zip(LEVELS, offsets, strict=True)
    ]
    stopped = [0.1, 0.13, 0.16]

    def record(number: int, values: list[float], state: Any) -> Any:
        known = record_of(number, dict.fromkeys(AXES, 0.1 + number / 200), (state, 0.0, {}))
        return replace(known, reports=tuple(Report(e, {"bbox_mAP": v}, 1.0, e) for e, v in enumerate(values, 1)))

    records = [record(number, values, "finished") for number, values in enumerate(curves)]
    told = told_by(synthetic_space(recipe, {"effects": {}}), [*records, record(6, stopped, "stopped")], EPOCHS)
    assert told is not None
    highest = told.values[6] + 2 * told.least[6] ** 0.5
    third = sorted(told.values[:6])[-3]
    judge = HopelessJudge(Hopeless(grace_epochs=3), Objective())
    for number, values in enumerate(curves):
        for epoch, value in enumerate(values, 1):
            judge.judge(number, epoch, value, (EPOCHS,))
    verdicts = [judge.judge(6, epoch, value, (EPOCHS,)) for epoch, value in enumerate(stopped, 1)]
    assert highest < third
    assert verdicts[:-1] == [None, None]
    assert verdicts[-1] is not None
    assert f"at best {highest:.1f} at its end, against {third:.1f}" in verdicts[-1]


def test_a_third_is_expected_to_stop_on_the_way() -> None:
    judge = HopelessJudge(Hopeless(grace_epochs=2), Objective())
    assert expected_epochs(judge, 5, (12,)) == 12, "too few have finished before it"
    assert expected_epochs(judge, 6, (12,)) == pytest.approx(12 * 2 / 3 + (2 + 11) / 2 / 3)
    assert expected_epochs(judge, 6, (2,)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{rank: 7}", ":4: scheduler.hopeless: rank must be at most min_trials (6), and is 7"),
        ("{min_trials: 3}", ":4: scheduler.hopeless.min_trials: should be greater than or equal to 4, but got 3"),
        ("{deviations: -1}", ":4: scheduler.hopeless.deviations: should be greater than or equal to 0, but got -1"),
        ("{grace_epochs: 6}", ":4: scheduler.hopeless.grace_epochs: must be below the 6 epochs of a training"),
        ("{}}\ncosts: [gflops", ":4: scheduler.hopeless: goes with a single objective"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    closing = "]" if "costs" in text else "}"
    assert message in refusal(tmp_path, "  {}", f"scheduler: {{hopeless: {text}{closing}")
