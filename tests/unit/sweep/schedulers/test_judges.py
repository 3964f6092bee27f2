"""Every scheduler against cases computed by hand, and rebuilt from the reports in their order."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ikd.config import Asha, Hyperband, Median, Recipe
from ikd.sweep.schedulers.asha import AshaJudge, Halving
from ikd.sweep.schedulers.hyperband import HyperbandJudge
from ikd.sweep.schedulers.judges import build_judge, expected_epochs
from ikd.sweep.schedulers.median import MedianJudge
from tests.marks import some
from tests.unit.sweep.conftest import make_space, with_teachers


class TestNondominated:
    @staticmethod
    def judge(**changes: Any) -> AshaJudge:
        return AshaJudge(Asha(grace_epochs=2, by="nondominated", **changes), "max")

    def test_a_cheap_trial_goes_on_although_its_objective_is_low(self) -> None:
        judge = self.judge()
        for number, (value, gflops) in enumerate([(0.30, 10.0), (0.29, 10.5), (0.28, 11.0)]):
            verdict = judge.judge(number, 2, value, (6,), (gflops,))
            assert (verdict is None) == (number == 0), "each is dominated by the first; (n - 1) / 3 may be better"
        # (0.20, 5) is dominated by nobody: it shares the first front with (0.30, 10), which is better by the tie rule;
        # of three rivals (3 - 1) / 3 = 0 may be better.
        assert (
            judge.judge(3, 2, 0.20, (6,), (5.0,))
            == "ASHA at epoch 2: on front 1 and behind 1 of 3, of which 0 may be better"
        )
        # Of four rivals (4 - 1) / 3 = 1 may be better: (0.30, 10) is, (0.20, 5) has the same front and less objective.
        assert judge.judge(4, 2, 0.25, (6,), (7.0,)) is None
        by_objective = AshaJudge(Asha(grace_epochs=2), "max")
        verdicts = [by_objective.judge(n, 2, v, (6,), ()) for n, v in enumerate([0.30, 0.29, 0.28, 0.20, 0.25])]
        assert verdicts[4] == "ASHA at epoch 2: 25.0 against a cut of 29.0", "by the objective alone it stops"

    def test_the_second_front_is_behind_the_first(self) -> None:
        judge = self.judge(reduction_factor=2.0)
        for number, (value, gflops) in enumerate([(0.1, 1.0), (0.2, 2.0), (0.3, 3.0)]):
            judge.judge(number, 2, value, (6,), (gflops,))
        # (0.25, 3.5) is dominated by (0.3, 3) alone, so its front is the second and all three are better; one may be.
        stopped = "ASHA at epoch 2: on front 2 and behind 3 of 3, of which 1 may be better"
        assert judge.judge(3, 2, 0.25, (6,), (3.5,)) == stopped

    def test_an_unmeasured_cost_counts_as_the_highest(self) -> None:
        judge = self.judge()
        assert judge.judge(0, 2, 0.30, (6,), (10.0,)) is None
        assert judge.judge(1, 2, 0.29, (6,), (math.nan,)) is not None
        assert judge.judge(2, 2, 0.31, (6,), (math.nan,)) is None

    def test_smaller_is_better_in_min_mode(self) -> None:
        judge = AshaJudge(Asha(grace_epochs=2, by="nondominated"), "min")
        assert judge.judge(0, 2, 0.30, (6,), (10.0,)) is None
        assert judge.judge(1, 2, 0.31, (6,), (11.0,)) is not None
        assert judge.judge(2, 2, 0.29, (6,), (11.0,)) is None


class TestHyperband:
    @pytest.mark.parametrize(
        ("epochs", "grace", "sizes"),
        [
            (81, 1, (5, 8, 15, 34, 81)),  # table 1 of the paper
            (9, 1, (3, 5, 9)),
            (24, 2, (3, 5, 9)),  # 2 x 3^2 = 18 is the last power below 24
            (3, 4, (1,)),
        ],
    )
    def test_brackets_have_the_sizes_of_the_paper(self, epochs: int, grace: int, sizes: tuple[int, ...]) -> None:
        judge = HyperbandJudge(Hyperband(grace_epochs=grace), "max", epochs)
        assert judge.sizes == sizes
        counted = Counter(judge.bracket(number) for number in range(2 * sum(sizes)))
        assert [counted[bracket] for bracket in range(len(sizes))] == [2 * size for size in sizes]

    def test_every_start_has_nearly_its_share(self) -> None:
        judge = HyperbandJudge(Hyperband(), "max", 9)
        dealt = [judge.bracket(number) for number in range(17)]
        for count in range(1, 18):
            for bracket, size in enumerate((3, 5, 9)):
                assert abs(dealt[:count].count(bracket) - size * count / 17) < 1
        assert dealt[0] == 2, "the eager bracket first"

    @pytest.mark.parametrize(
        ("epochs", "grace", "rungs"),
        [
            (9, 1, [[], [3], [1, 3]]),
            (24, 2, [[], [6], [2, 6]]),
            (81, 1, [[], [27], [9, 27], [3, 9, 27], [1, 3, 9, 27]]),
        ],
    )
    def test_bracket_s_has_s_rungs(self, epochs: int, grace: int, rungs: list[list[int]]) -> None:
        judge = HyperbandJudge(Hyperband(grace_epochs=grace), "max", epochs)
        found = {judge.bracket(number): judge.rungs(number, (epochs,)) for number in range(sum(judge.sizes))}
        assert [found[bracket] for bracket in range(len(rungs))] == rungs

    def test_each_bracket_halves_on_its_own(self) -> None:
        judge = HyperbandJudge(Hyperband(reduction_factor=2.0), "max", 4)  # sizes 3, 3, 4; rungs [], [2], [1, 2]
        by_bracket: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for number in range(20):
            by_bracket[judge.bracket(number)].append(number)
        eager, late, never = by_bracket[2], by_bracket[1], by_bracket[0]
        assert judge.judge(eager[0], 1, 0.9, (4,)) is None
        assert judge.judge(late[0], 1, 0.1, (4,)) is None, "its first rung is 2"
        assert judge.judge(late[0], 2, 0.1, (4,)) is None, "the first of its bracket"
        assert judge.judge(late[1], 2, 0.05, (4,)) == "HyperBand at epoch 2: 5.0 against a cut of 10.0"
        assert judge.judge(eager[1], 1, 0.8, (4,)) == "HyperBand at epoch 1: 80.0 against a cut of 90.0"
        assert [judge.judge(never[0], epoch, 0.0, (4,)) for epoch in (1, 2, 3, 4)] == [None] * 4


class TestMedian:
    def test_the_best_so_far_meets_the_median_of_running_averages(self) -> None:
        judge = MedianJudge(Median(grace_epochs=2, min_trials=3), "max")
        for number, values in enumerate([(0.1, 0.3), (0.2, 0.4), (0.3, 0.7)]):  # averages 0.2, 0.3, 0.5
            for epoch, value in enumerate(values, start=1):
                assert judge.judge(number, epoch, value, (6,)) is None, "fewer than three others"
        assert judge.judge(3, 1, 0.0, (6,)) is None, "grace"
        stopped = "median rule at epoch 2: best 29.0 against a median of 30.0 over 3 others"
        assert judge.judge(3, 2, 0.29, (6,)) == stopped
        # Now the averages of four others at epoch 2 are 0.145, 0.2, 0.3, 0.5, their median is 0.25.
        assert judge.judge(4, 1, 0.26, (6,)) is None
        assert judge.judge(4, 2, 0.0, (6,)) is None, "its best so far, at epoch 1, is above"
        assert judge.judge(5, 2, 0.24, (6,)) is None, "with trial 4 (average 0.13) the median of five is 0.2"
        assert judge.judge(6, 2, 0.19, (6,)) is not None

    def test_only_those_that_came_as_far_count(self) -> None:
        judge = MedianJudge(Median(grace_epochs=1, min_trials=2), "max")
        for number in range(2):
            judge.judge(number, 1, 0.9, (6,))
        judge.judge(0, 2, 0.9, (6,))
        assert judge.judge(2, 2, 0.1, (6,)) is None, "one other has reached epoch 2"
        judge.judge(1, 2, 0.9, (6,))
        assert judge.judge(2, 3, 0.1, (6,)) is None
        assert judge.judge(3, 2, 0.1, (6,)) is not None

    def test_smaller_is_better_in_min_mode(self) -> None:
        judge = MedianJudge(Median(grace_epochs=1, min_trials=1), "min")
        assert judge.judge(0, 1, 0.3, (6,)) is None
        assert (
            judge.judge(1, 1, 0.4, (6,)) == "median rule at epoch 1: best 40.0 against a median of 30.0 over 1 others"
        )
        assert judge.judge(2, 1, 0.2, (6,)) is None

    def test_a_trial_at_its_end_is_not_stopped(self) -> None:
        judge = MedianJudge(Median(grace_epochs=1, min_trials=1), "max")
        judge.judge(0, 2, 0.9, (2,))
        assert judge.judge(1, 2, 0.1, (2,)) is None


def recipe_of(recipe: Recipe) -> Recipe:
    return recipe.with_values({"schedule.epochs": 9})


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [({"asha": {}}, AshaJudge), ({"hyperband": {}}, HyperbandJudge), ({"median": {}}, MedianJudge)],
)
def test_the_space_chooses_the_judge(scheduler: dict[str, Any], kind: type, recipe: Recipe) -> None:
    assert type(build_judge(make_space(scheduler=scheduler), recipe)) is kind


def test_hyperband_spans_the_whole_training_of_the_space(recipe: Recipe) -> None:
    judge = build_judge(make_space(scheduler={"hyperband": {}}), with_teachers(recipe_of(recipe), "a", "b"))
    assert isinstance(judge, HyperbandJudge)
    assert judge.sizes == (3, 5, 9)


@pytest.mark.parametrize("factor", some([3.0, 2.0, 4.0], 1))
def test_as_many_go_on_as_expected_when_the_order_is_chance(factor: float) -> None:
    random, rivals, runs = np.random.default_rng(0), 6, 3000
    stopped = 0
    for _ in range(runs):
        asha = AshaJudge(Asha(grace_epochs=1, reduction_factor=factor), "max")
        told = [asha.judge(number, 1, float(value), (9,)) for number, value in enumerate(random.random(rivals + 1))]
        stopped += told[-1] is not None
    expected = AshaJudge(Asha(grace_epochs=1, reduction_factor=factor), "max").expected_share(rivals, (9,))[0][1]
    assert stopped / runs == pytest.approx(expected, abs=0.03)


def test_the_forecast_weighs_how_far_a_trial_comes() -> None:
    asha = AshaJudge(Asha(grace_epochs=2, reduction_factor=3.0), "max")  # rungs 2, 6 of 12
    assert expected_epochs(asha, 0, (12,)) == 12, "it has no rivals"
    epochs, shares = zip(*asha.expected_share(7, (12,)), strict=True)  # 7 rivals at the first rung, 3 / 8 go on
    assert epochs == (2, 6, 12)
    onward = 7 * 3 / 8
    passing = (onward / 3 + 2 / 3) / (onward + 1)
    assert list(shares) == pytest.approx([5 / 8, 3 / 8 * (1 - passing), 3 / 8 * passing])
    assert asha.expected_share(3000, (12,))[0][1] == pytest.approx(2 / 3, abs=1e-3)
    band = HyperbandJudge(Hyperband(), "max", 9)
    whole = [number for number in range(17) if band.bracket(number) == 0]
    assert expected_epochs(band, whole[0], (9,)) == 9
    assert expected_epochs(band, 0, (9,)) == 9
    assert 1 < expected_epochs(band, 16, (9,)) < 9
    median = MedianJudge(Median(grace_epochs=2, min_trials=3), "max")
    assert [expected_epochs(median, number, (12,)) for number in (0, 2, 3)] == pytest.approx(
        [12, 12, 0.2 * 2 + 0.8 * 12]
    )
    assert expected_epochs(MedianJudge(Median(grace_epochs=1), "max"), 3, (12,)) == 6.5
    for judge in (asha, band, median):
        for number in range(20):
            assert math.fsum(share for _, share in judge.expected_share(number, (9,))) == pytest.approx(1)


def test_rivals_are_the_trials_before_one_of_its_bracket() -> None:
    judges: list[Halving] = [AshaJudge(Asha(brackets=count), "max") for count in (1, 2, 3)]
    for judge in [*judges, HyperbandJudge(Hyperband(), "max", 9)]:
        brackets = [judge.bracket(number) for number in range(60)]
        assert [judge.rivals(number) for number in range(60)] == [
            brackets[:number].count(brackets[number]) for number in range(60)
        ]
