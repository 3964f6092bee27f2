"""Full factorials: what is trained, in which order, how often; switches of several fields; the table of means."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe, SearchSpace, load_recipe
from ikd.sweep import Report, TrialRecord, dry_run, ranking
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.view.factorial import factorial_table
from ikd.trial import State
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space, with_teachers
from tests.unit.sweep.player import Worker, conduct, play

TOGGLES = {
    "augment.enabled": {"choice": [False, True], "also": ["adversarial.enabled"]},
    "distill.sfa.enabled": {"choice": [False, True]},
}
Values = dict[str, Any]


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("drawn_r18", {"schedule.epochs": 1})


def factorial(repeats: int = 3, **changes: Any) -> SearchSpace:
    defaults = {"parameters": TOGGLES, "scheduler": {"none": {}}, "budget": {"trials": 50}}
    return make_space(**{**defaults, "sampler": {"grid": {"repeats": repeats}}, **changes})


def swept(space: SearchSpace, recipe: Recipe, study: Any) -> list[TrialRecord]:
    conductor = conduct(space, recipe, study)
    play(conductor, recipe, Worker())
    return list(study.records)


def point(record: TrialRecord) -> tuple[bool, bool]:
    return record.values["augment.enabled"], record.values["distill.sfa.enabled"]


def test_every_configuration_once_before_any_repeat(recipe: Recipe, open_study: OpenStudy) -> None:
    records = swept(factorial(), recipe, open_study())
    assert [one.anchors for one in records[:2]] == [("paper",), ("student_alone",)]
    assert point(records[0]) == (True, False), "the paper is one of the four: IKD without SFA"
    assert all(one.recipe.seed == 0 for one in anchor_proposals(factorial(), recipe))
    seeds = [one.values.get("seed") for one in records]
    assert seeds == [None, None] + [0] * 3 + [1] * 4 + [2] * 4
    rounds = [[*records[2:5], records[0]], records[5:9], records[9:13]]
    assert all({point(one) for one in each} == set(itertools.product((False, True), repeat=2)) for each in rounds)
    assert len({one.fingerprint for one in records}) == len(records) == 13
    assert [point(one) for one in rounds[1]] != [point(one) for one in rounds[2]], "shuffled anew for every repeat"


def test_without_repeats_nothing_is_repeated(recipe: Recipe, open_study: OpenStudy, tmp_path: Path) -> None:
    records = swept(factorial(1), recipe, open_study())
    assert [one.values.get("seed") for one in records] == [None] * 5
    assert len({point(one) for one in records if one.in_space}) == 4
    others = [swept(factorial(1, seed=seed), recipe, open_study(tmp_path / str(seed))) for seed in (1, 2, 3)]
    orders = [tuple(one.fingerprint for one in each) for each in (records, *others)]
    assert len({tuple(sorted(order)) for order in orders}) == 1
    assert len(set(orders)) > 1, "another seed, another order"


def test_a_factorial_goes_on_where_it_was(recipe: Recipe, open_study: OpenStudy, tmp_path: Path) -> None:
    whole = swept(factorial(), recipe, open_study(tmp_path / "whole"))
    for trials in (4, 9, 50):
        records = swept(factorial(budget={"trials": trials}), recipe, open_study())
        assert [one.fingerprint for one in records] == [one.fingerprint for one in whole[:trials]]


def test_what_the_recipe_refuses_or_does_not_tell_apart_is_left_out(recipe: Recipe) -> None:
    parameters = {name: {"choice": [1, 2]} for name in ("attack.eps", "attack.step", "attack.batch_size")}
    space = factorial(1, parameters=parameters, anchors=[])
    records: list[TrialRecord] = []
    while (proposal := propose(space, recipe, records)) is not None:
        print_ = proposal.recipe.fingerprint()
        records.append(TrialRecord(len(records), "", (), proposal.values, True, print_, Path(), state="failed"))
    assert sorted((one.values["attack.eps"], one.values["attack.step"]) for one in records) == [(1, 1), (2, 1), (2, 2)]


def test_one_switch_moves_all_its_fields(recipe: Recipe, open_study: OpenStudy) -> None:
    study = open_study()
    records = swept(factorial(1, anchors=[]), recipe, study)
    for one in records:
        trained = recipe.with_values(one.values)
        assert trained.augment.enabled == trained.adversarial.enabled == one.values["augment.enabled"]
        assert trained.fingerprint() == one.fingerprint
    names = {one.name.split(" ", 1)[1] for one in records}
    assert names == {"augment sfa", "augment no sfa", "no augment sfa", "no augment no sfa"}
    assert [set(trial.params) for trial in study._storage.get_all_trials(study._id)] == [set(TOGGLES)] * 4


def test_an_anchor_that_sets_the_fields_apart_lies_outside(recipe: Recipe) -> None:
    half = recipe.with_values({"adversarial.enabled": False})
    paper, _ = anchor_proposals(factorial(), half)
    assert not paper.in_space
    assert paper.values == {"augment.enabled": True, "adversarial.enabled": False, "distill.sfa.enabled": False}
    assert anchor_proposals(factorial(), recipe)[0].in_space


def test_a_switch_of_several_fields_is_sampled_too(recipe: Recipe) -> None:
    space = factorial(sampler={"tpe": {"startup_trials": 1}})
    history: list[TrialRecord] = []
    for number in range(4):
        proposal = propose(space, recipe, history)
        assert proposal is not None
        assert proposal.values["augment.enabled"] == proposal.values["adversarial.enabled"]
        history.append(trial(number, dict(proposal.values), proposal.recipe.fingerprint(), 0.1))
    assert propose(space, recipe, history) is None


def trial(
    number: int, values: Values, print_: str, value: float, state: State = "finished", **metrics: float
) -> TrialRecord:
    report = Report(1, {"bbox_mAP": value, **metrics}, 1.0, number)
    return TrialRecord(
        number, "", (), values, True, print_, Path(), state=state, metric=value, best_epoch=1, reports=(report,)
    )


@pytest.mark.parametrize(
    ("budget", "size", "text"),
    [
        (13, 13, "4, each 3 times; all of them"),
        (50, 13, "4, each 3 times; all of them"),
        (10, 13, "4, each 3 times; only a part: budget.trials is 10, all of it with the anchors is 13"),
    ],
)
def test_a_dry_run_says_when_the_budget_holds_only_a_part(budget: int, size: int, text: str, recipe: Recipe) -> None:
    plan = dry_run(factorial(budget={"trials": budget}), recipe=recipe, runner=make_runner())
    assert (plan.configurations, plan.size, plan.trials) == (4, size, min(budget, size))
    assert ("distinct configurations", text) in plan._lines()


def cells(space: SearchSpace, records: list[TrialRecord]) -> list[list[str]]:
    text = io.StringIO()
    table = factorial_table(records, space)
    assert table is not None
    Console(file=text, width=160).print(table)
    lines = text.getvalue().replace("┃", "│").splitlines()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def test_the_table_has_the_short_names_of_choices() -> None:
    space = factorial(2, parameters={"input.scale": {"choice": {"small": [96, 96], "large": [128, 128]}}})
    records = [trial(0, {"input.scale": [128, 128], "seed": 0}, "0", 0.30, bbox_APs=0.1, bbox_APm=0.3, bbox_APl=0.5)]
    header, small, large = cells(space, records)
    assert (header[0], small[:3], large[:3]) == ("scale", ["small", "0 of 2", "-"], ["large", "1 of 2", "30.0"])


def test_constraints_hold_in_a_factorial(recipe: Recipe) -> None:
    space = factorial(1, constraints=["augment.enabled or distill.sfa.enabled"], anchors=[])
    found: list[tuple[bool, bool]] = []
    records: list[TrialRecord] = []
    while (proposal := propose(space, recipe, records)) is not None:
        values = dict(proposal.values)
        records.append(trial(len(records), values, proposal.recipe.fingerprint(), 0.3))
        found.append(point(records[-1]))
    assert set(found) == {(True, True), (True, False), (False, True)}
    assert len(found) == 3


def test_the_table_shows_mean_and_spread_of_the_repeats() -> None:
    on = {"augment.enabled": True, "adversarial.enabled": True, "distill.sfa.enabled": False}
    off = {**on, "augment.enabled": False, "adversarial.enabled": False}
    records = [
        trial(0, on, "0", 0.30, bbox_APs=0.1, bbox_APm=0.3, bbox_APl=0.5),  # the paper: repeat 0 without a seed
        trial(1, {**on, "seed": 1}, "1", 0.31, bbox_APs=0.1, bbox_APm=float("nan"), bbox_APl=0.5),
        trial(2, {**on, "seed": 2}, "2", 0.35, bbox_APs=0.4, bbox_APm=float("nan"), bbox_APl=0.5),
        trial(3, {**off, "seed": 0}, "3", 0.25, bbox_APs=0.2, bbox_APm=0.3, bbox_APl=0.5),
        trial(4, {**off, "seed": 1}, "4", 0.90, "stopped"),
    ]
    # 30, 31, 35: mean 32, squares 4 + 1 + 9, over 2: sqrt(7) = 2.6. 10, 10, 40: mean 20, sqrt((100 + 100 + 400) / 2).
    assert cells(factorial(), records) == [
        ["augment + adversarial", "sfa", "done", "mAP", "APs", "APm", "APl", "best", "last"],
        ["no", "no", "1 of 3", "25.0", "20.0", "30.0", "50.0", "-", "25.0"],
        ["no", "yes", "0 of 3", "-", "-", "-", "-", "-", "-"],
        ["yes", "no", "3 of 3", "32.0 ± 2.6", "20.0 ± 17.3", "30.0", "50.0 ± 0.0", "-", "32.0 ± 2.6"],
        ["yes", "yes", "0 of 3", "-", "-", "-", "-", "-", "-"],
    ]


def test_only_a_factorial_with_repeats_has_the_table() -> None:
    record = trial(0, {"augment.enabled": True, "distill.sfa.enabled": False}, "0", 0.3)
    for space, there in ((factorial(3), True), (factorial(1), False), (make_space(), False)):
        text = io.StringIO()
        Console(file=text, width=160).print(ranking([record], space))
        assert ("mean ± spread over 3 seeds" in text.getvalue()) == there


def test_sequences_are_a_factor() -> None:
    base = with_teachers(load_recipe("drawn_r18"), "a", "b")
    space = factorial(2, parameters={"teachers.sequence": {"sequence": {"of": ["a", "b"]}}}).checked(base)
    values = [{"teachers.sequence": one, "seed": 0} for one in (["a"], ["a", "b"])]
    rows = cells(space, [trial(n, one, str(n), 0.3) for n, one in enumerate(values)])
    assert [row[:2] for row in rows] == [["sequence", "done"], ["a", "1 of 2"], ["b", "0 of 2"], ["a -> b", "1 of 2"]]
