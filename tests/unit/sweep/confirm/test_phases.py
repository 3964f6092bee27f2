"""Search, repeats and trainings kept apart: in which order, with which seeds, and over every interruption."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep.conductor import Conductor
from ikd.sweep.confirm.phases import FIRST_APART, Pause
from ikd.sweep.confirm.rounds import Ahead, ahead_of, round_of, said_of_phase
from ikd.sweep.confirm.standing import standing
from ikd.sweep.proposals.order import order_of
from ikd.sweep.records.trials import Proposal, Report, TrialRecord
from tests.marks import some
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Death, DyingStudy, Worker, conduct, play


def space_of(trials: int = 24, **changes: Any) -> SearchSpace:
    """Return a space with two repeats and two trainings kept apart of each side."""
    confirm = changes.pop("confirm", {"share": 2 / trials, "apart": 2})
    budget = {"trials": trials, "confirm": confirm, **changes.pop("budget", {})}
    return make_space(**{"scheduler": {"none": {}}, "sampler": {"random": {}}, "budget": budget, **changes})


def roles(records: list[TrialRecord]) -> list[str]:
    return [one.role for one in records]


def outcome(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    return [(one.number, dict(one.values), one.state, one.role, one.of, one.metric, one.epochs) for one in records]


def luck(recipe: Recipe) -> float:
    return 0.01 * math.sin(1.7 * recipe.seed + 40 * math.log10(recipe.distill.mgd.alpha))


def ended(number: int, proposal: Proposal, value: float, state: Any = "finished") -> TrialRecord:
    """Return a record of a proposal as a study would have it, its objective at every epoch."""
    reports = tuple(Report(epoch, {"bbox_mAP": value}, epoch, 6 * number + epoch) for epoch in range(1, 7))
    print_ = proposal.recipe.fingerprint()
    return TrialRecord(
        number, "", proposal.anchors, proposal.values, proposal.in_space, print_, Path(), state,
        metric=value, reports=reports, role=proposal.role, of=proposal.of, kept=proposal.kept, stage_ends=(6,),
        ended=float(number + 1),
    )  # fmt: skip


def simulated(space: SearchSpace, recipe: Recipe, records: list[TrialRecord] | None = None) -> list[TrialRecord]:
    """Return the records of a whole sweep, one trial at a time, some luck in each objective."""
    records, order = list(records or ()), order_of(space, recipe, ())
    while len(records) < space.budget.trials:
        proposal = order.next(records)
        if not isinstance(proposal, Proposal):
            break
        worth = 0.2 if proposal.recipe.distill.host == "none" else 0.3 + 0.02 * (proposal.recipe.distill.host == "mgd")
        records.append(ended(len(records), proposal, worth + luck(proposal.recipe)))
    return records


@pytest.mark.parametrize(
    ("trials", "counts"),
    [
        (15, {"search": 15}),
        (16, {"search": 12, "apart": 4}),
        (29, {"search": 25, "apart": 4}),
        (30, {"search": 21, "repeat": 3, "apart": 6}),
        (40, {"search": 30, "repeat": 4, "apart": 6}),
    ],
)
def test_a_budget_is_shared_by_its_size(trials: int, counts: dict[str, int], recipe: Recipe) -> None:
    records = simulated(space_of(trials, confirm={}), recipe)
    assert Counter(roles(records)) == counts
    order = [role for role in ("search", "repeat", "apart") for _ in range(counts.get(role, 0))]
    assert roles(records) == order


@pytest.mark.parametrize(
    ("confirm", "counts"),
    [
        ({"share": 0.0, "apart": 0}, {"search": 40}),
        ({"share": 0.25, "apart": 0}, {"search": 30, "repeat": 10}),
        ({"share": 0.0, "apart": 5}, {"search": 30, "apart": 10}),
    ],
)
def test_what_the_space_says_holds(confirm: dict[str, Any], counts: dict[str, int], recipe: Recipe) -> None:
    assert Counter(roles(simulated(space_of(40, confirm=confirm), recipe))) == counts


def test_repeats_and_trainings_kept_apart_have_seeds_of_their_own(recipe: Recipe) -> None:
    records = simulated(space_of(), recipe)
    repeats = [one for one in records if one.role == "repeat"]
    assert all(one.values["seed"] - recipe.seed in (1, 2) for one in repeats)
    apart = [one for one in records if one.role == "apart"]
    seeds = {of: [one.values["seed"] for one in apart if one.of == of] for of in {one.of for one in apart}}
    assert list(seeds.values()) == [[recipe.seed + FIRST_APART, recipe.seed + FIRST_APART + 1]] * 2, "pairwise equal"
    assert len({one.fingerprint for one in records}) == len(records), "no training is one that there was"
    known = standing(space_of(), recipe, records)
    assert known is not None
    assert set(seeds) == {known.chosen.number, 1}, "of the chosen one and of the student alone"


def test_what_is_repeated_is_the_configuration_of_its_trial(recipe: Recipe) -> None:
    records = simulated(space_of(), recipe)
    for one in records:
        if one.of is not None and one.of != 1:
            first = recipe.with_values(records[one.of].values)
            assert one.fingerprint == first.with_values({"seed": one.values["seed"]}).fingerprint()
    alone = next(one for one in records if one.of == 1)
    assert alone.fingerprint == recipe.anchor("student_alone").with_values({"seed": FIRST_APART}).fingerprint()


def test_what_is_kept_apart_acts_on_nothing(recipe: Recipe) -> None:
    """Neither on the choice nor on the proposals of a sweep that is extended."""
    space, records = space_of(), simulated(space_of(), recipe)
    spoiled = [
        replace(one, reports=tuple(replace(report, metrics={"bbox_mAP": 0.99}) for report in one.reports), metric=0.99)
        if one.role == "apart"
        else one
        for one in records
    ]
    known, other = (standing(space, recipe, these) for these in (records, spoiled))
    assert known is not None
    assert other is not None
    assert [(one.number, one.mean) for one in known.configurations] == [
        (one.number, one.mean) for one in other.configurations
    ]
    for sampler in ("effects", "tpe", "random"):
        longer = space_of(40, sampler={sampler: {}})
        assert outcome(simulated(longer, recipe, records)[24:25]) == outcome(simulated(longer, recipe, spoiled)[24:25])


def test_an_extension_searches_again_and_keeps_others_apart(recipe: Recipe) -> None:
    records = simulated(space_of(), recipe)
    longer = simulated(space_of(48, confirm={"share": 2 / 24, "apart": 2}), recipe, records)
    assert outcome(longer[:24]) == outcome(records)
    assert roles(longer[24:]) == ["search"] * 18 + ["repeat"] * 2 + ["apart"] * 4
    first, second = ({one.values["seed"] for one in part if one.role == "apart"} for part in (records, longer[24:]))
    assert not first & second, "kept apart anew"
    cut = simulated(space_of(22), recipe)
    assert outcome(simulated(space_of(24, confirm={"share": 2 / 24, "apart": 2}), recipe, cut)[:22]) == outcome(cut)


def test_an_extension_with_other_shares_keeps_others_apart_all_the_same(recipe: Recipe) -> None:
    """Of 16 trials two of each side are kept apart, of 40 three: the first four are no part of the later six."""
    first = simulated(space_of(16, confirm={}), recipe)
    longer = simulated(space_of(40, confirm={}), recipe, first)
    assert Counter(roles(first)) == {"search": 12, "apart": 4}
    assert roles(longer[16:]) == ["search"] * 16 + ["repeat"] * 2 + ["apart"] * 6
    begun = simulated(space_of(40, confirm={}), recipe, first[:13])
    assert roles(begun[:16]) == roles(first), "what has begun is finished as it began"
    assert Counter(roles(begun[16:])) == {"search": 16, "repeat": 2, "apart": 6}


def test_an_extension_without_room_is_all_search(recipe: Recipe) -> None:
    records = simulated(space_of(), recipe)
    assert roles(simulated(space_of(27, confirm={"share": 0.0, "apart": 2}), recipe, records)[24:]) == ["search"] * 3


def test_places_wait_until_the_choice_is_settled(recipe: Recipe) -> None:
    """The anchor's trainings come first; of the chosen one none starts while a trial may change the choice."""
    space = space_of()
    records, order = simulated(space, recipe)[:20], order_of(space, recipe, ())
    open_ = [*records[:19], replace(records[19], state="running", reports=())]
    found: list[Any] = []
    while isinstance(proposal := order.next(open_), Proposal):
        found.append((proposal.role, proposal.of))
        open_.append(replace(ended(len(open_), proposal, 0.3), state="running"))
    assert found == [("apart", 1)] * 2
    assert proposal is Pause.LATER
    over = [*records, *open_[20:]]
    settled = order.next(over)
    assert isinstance(settled, Proposal)
    assert (settled.role, settled.of != 1) == ("apart", True)


@pytest.mark.slow
def test_a_space_that_is_exhausted_is_confirmed_all_the_same(recipe: Recipe) -> None:
    space = space_of(parameters={"distill.host": {"choice": ["fgd", "mgd"]}})
    records = simulated(space, recipe)
    assert roles(records) == ["search"] * 3 + ["repeat"] * 2 + ["apart"] * 4
    assert order_of(space, recipe, ()).next(records) is None, "and then it is over"


def in_vain(space: SearchSpace, recipe: Recipe, records: list[TrialRecord] | None = None) -> list[TrialRecord]:
    """Return the records of a sweep in which nothing is better than its third trial, but for what is kept apart."""
    records, order = list(records or ()), order_of(space, recipe, ())
    while len(records) < space.budget.trials and isinstance(proposal := order.next(records), Proposal):
        value = 0.9 if proposal.role != "search" else 0.3 if len(records) == 2 else 0.2 + luck(proposal.recipe)
        records.append(ended(len(records), proposal, value))
    return records


def test_patience_ends_the_search_and_what_it_found_is_confirmed(recipe: Recipe) -> None:
    space = space_of(40, confirm={"share": 0.05, "apart": 2}, budget={"patience": 5})
    records = in_vain(space, recipe)
    assert roles(records) == ["search"] * 8 + ["repeat"] * 2 + ["apart"] * 4
    assert order_of(space, recipe, ()).next(records) is Pause.IN_VAIN
    longer = space_of(40, confirm={"share": 0.05, "apart": 2}, budget={"patience": 8})
    again = in_vain(longer, recipe, records)
    assert roles(again[14:]) == ["search"] * 8 + ["repeat"] + ["apart"] * 4, (
        "counted anew; what was kept apart is no best"
    )
    assert order_of(longer, recipe, ()).next(again) is Pause.IN_VAIN
    raised = space_of(40, confirm={"share": 0.05, "apart": 2}, budget={"patience": 7})
    assert roles(in_vain(raised, recipe, records[:10])[8:11]) == ["repeat", "repeat", "search"], "patience in between"


def test_patience_without_anything_to_confirm_is_the_end(recipe: Recipe) -> None:
    space = space_of(40, confirm={"share": 0.0, "apart": 0}, budget={"patience": 5})
    records = in_vain(space, recipe)
    assert roles(records) == ["search"] * 8
    assert order_of(space, recipe, ()).next(records) is Pause.IN_VAIN


PATIENCE: list[tuple[int, str, list[tuple[str, float | None, tuple[str, ...]]], bool]] = [
    (2, "max", [("finished", 0.3, ()), ("stopped", 0.2, ())], False),
    (2, "max", [("finished", 0.3, ()), ("stopped", 0.2, ()), ("failed", None, ())], True),
    (2, "max", [("finished", 0.3, ()), ("failed", None, ()), ("finished", 0.4, ())], False),
    (1, "max", [("finished", 0.3, ()), ("running", 0.2, ())], False),
    (1, "max", [("finished", 0.3, ()), ("finished", 0.2, ("student_alone",))], False),
    (1, "max", [("finished", 0.3, ()), ("diverged", 0.4, ())], True),
    (1, "max", [("finished", 0.3, ()), ("stopped", 0.2, ()), ("finished", 0.4, ())], True),
    (1, "min", [("finished", 0.2, ()), ("finished", 0.3, ())], True),
    (1, "max", [("finished", 0.2, ()), ("finished", 0.3, ())], False),
]


@pytest.mark.parametrize(("patience", "mode", "trials", "over"), PATIENCE)
def test_what_is_in_vain(
    patience: int, mode: str, trials: list[tuple[Any, float | None, tuple[str, ...]]], over: bool, recipe: Recipe
) -> None:
    space = space_of(50, objective={"mode": mode}, budget={"patience": patience})
    records = [
        TrialRecord(number, "", anchors, {}, True, "", Path(), state=state, metric=value, ended=float(number))
        for number, (state, value, anchors) in enumerate(trials)
    ]
    assert (round_of(space, recipe, records).closed == "patience") == over


TARGET: list[tuple[str, list[tuple[str, float | None, tuple[str, ...]]], bool]] = [
    ("max", [("finished", 0.1, ()), ("stopped", 0.29, ())], False),
    ("max", [("finished", 0.1, ()), ("finished", 0.3, ())], True),
    ("max", [("finished", 0.4, ("paper",))], True),
    ("max", [("running", 0.4, ())], False),
    ("max", [("diverged", 0.4, ())], False),
    ("max", [("failed", None, ())], False),
    ("min", [("finished", 0.31, ())], False),
    ("min", [("finished", 0.3, ())], True),
]


@pytest.mark.parametrize(("mode", "trials", "over"), TARGET)
def test_what_reaches_a_target(
    mode: str, trials: list[tuple[Any, float | None, tuple[str, ...]]], over: bool, recipe: Recipe
) -> None:
    space = space_of(50, objective={"mode": mode}, budget={"target": 0.3})
    records = [
        TrialRecord(number, "", anchors, {}, True, "", Path(), state=state, metric=value, ended=float(number))
        for number, (state, value, anchors) in enumerate(trials)
    ]
    assert (round_of(space, recipe, records).closed == "target") == over


def test_a_target_ends_the_search_and_what_reached_it_is_confirmed(recipe: Recipe) -> None:
    """A training that was kept apart reaches none: it tells whether one was."""
    confirm = {"share": 0.05, "apart": 2}
    space = space_of(40, confirm=confirm, budget={"target": 0.3})
    records = in_vain(space, recipe)
    assert roles(records) == ["search"] * 3 + ["repeat"] * 2 + ["apart"] * 4
    assert order_of(space, recipe, ()).next(records) is Pause.TARGET
    assert ahead_of(space, recipe, records) == Ahead(0)
    higher = space_of(40, confirm=confirm, budget={"target": 0.8})
    assert roles(in_vain(higher, recipe, records)[9:12]) == ["search"] * 3
    alone = space_of(40, confirm={"share": 0.0, "apart": 0}, budget={"target": 0.3})
    assert roles(in_vain(alone, recipe)) == ["search"] * 3
    assert order_of(alone, recipe, ()).next(in_vain(alone, recipe)) is Pause.TARGET


def test_what_is_left_of_each_phase_is_known(recipe: Recipe) -> None:
    space = space_of()
    records = simulated(space, recipe)
    found = [ahead_of(space, recipe, records[:number]) for number in (0, 17, 18, 20, 21, 24)]
    assert found == [Ahead(18, 2, 4), Ahead(1, 2, 4), Ahead(0, 2, 4), Ahead(0, 0, 4), Ahead(0, 0, 3), Ahead(0)]
    said = [said_of_phase(space, recipe, records[:number]) for number in (0, 17, 19, 20, 24)]
    assert said == [
        "search: 0 of 18 trials; then 2 repeats and 4 trainings kept apart",
        "search: 17 of 18 trials; then 2 repeats and 4 trainings kept apart",
        "repeats: 1 of 2; then 4 trainings kept apart",
        "kept apart: 0 of 4 trainings",
        "kept apart: 4 of 4 trainings",
    ]
    running = [*records[:23], replace(records[23], state="running")]
    assert said_of_phase(space, recipe, running) == "kept apart: 3 of 4 trainings"
    assert ahead_of(space, recipe, records[:5], size=7) == Ahead(2, 2, 4), "a small space is confirmed all the same"
    assert ahead_of(space_of(27), recipe, records) == Ahead(3)
    assert said_of_phase(space_of(27), recipe, records) == "search: 0 of 3 trials, too few to keep any apart"
    plain = space_of(40, confirm={"share": 0.0, "apart": 0})
    assert (ahead_of(plain, recipe, records[:4]), said_of_phase(plain, recipe, records[:4])) == (Ahead(36), "")
    vain = space_of(40, confirm={"share": 0.05, "apart": 2}, budget={"patience": 5})
    lost = in_vain(vain, recipe)
    assert [ahead_of(vain, recipe, lost[:number]) for number in (7, 8, 14)] == [
        Ahead(27, 2, 4),
        Ahead(0, 2, 4),
        Ahead(0),
    ]


def test_without_anchors_there_is_one_side(recipe: Recipe) -> None:
    records = simulated(space_of(anchors=[]), recipe)
    assert Counter(roles(records)) == {"search": 20, "repeat": 2, "apart": 2}


def test_nothing_can_be_confirmed_where_nothing_finished(recipe: Recipe) -> None:
    space = space_of()
    order = order_of(space, recipe, ())
    records: list[TrialRecord] = []
    while isinstance(proposal := order.next(records), Proposal):
        records.append(ended(len(records), proposal, 0.3, "failed"))
    assert proposal is Pause.NOTHING
    assert roles(records) == ["search"] * 18


def test_an_anchor_alone_is_not_kept_apart(recipe: Recipe) -> None:
    """Else a sweep whose trials all failed would wait for a choice that never comes, also when it is extended."""
    records: list[TrialRecord] = []
    for trials in (24, 40):
        order = order_of(space_of(trials, confirm={"share": 0.0, "apart": 2}), recipe, ())
        while isinstance(proposal := order.next(records), Proposal):
            outside = "student_alone" in proposal.anchors
            records.append(ended(len(records), proposal, 0.3, "finished" if outside else "failed"))
        assert proposal is Pause.NOTHING
        assert roles(records) == ["search"] * (trials - 4)


def test_epochs_are_kept_for_what_confirms(recipe: Recipe) -> None:
    """Neither half-trained nor missing: the search ends where what follows still has its epochs."""
    space = space_of(200, confirm={"share": 0.1, "apart": 2}, budget={"epochs": 130})
    records = simulated(space, recipe)
    counts = Counter(roles(records))
    assert counts["apart"] == 4
    assert counts["repeat"] == 2, "a tenth of the 21 trainings there are"
    assert sum(one.epochs for one in records) <= 130
    assert counts["search"] == 15
    assert order_of(space, recipe, ()).next(records) is Pause.FULL, "four epochs are no training"


def test_hours_are_kept_for_what_confirms(open_study: OpenStudy, recipe: Recipe) -> None:
    """A clock that counts epochs: the hours hold 24 trainings, and 6 of them are not for the search."""
    space = space_of(400, confirm={"share": 2 / 400, "apart": 2}, budget={"wall_hours": 24 * 6 / 3600})
    study, worker = open_study(), Worker()
    conductor = conduct(space, recipe, study, clock=lambda: float(len(worker.trained)))
    play(conductor, recipe, worker)
    counts = Counter(one.role for one in study.records if one.state == "finished")
    assert counts["apart"] == 4
    assert 14 <= counts["search"] + counts["repeat"] <= 20


@pytest.mark.parametrize("writes", some([19, 7, 1, 40], 1))
def test_a_death_in_any_phase_changes_nothing(
    writes: int, open_study: OpenStudy, recipe: Recipe, tmp_path: Path
) -> None:
    space, worker = space_of(18), Worker()
    reference = open_study(tmp_path / "reference")
    play(conduct(space, recipe, reference), recipe, Worker())
    deaths: Counter[str] = Counter()
    for _ in range(400):
        study = open_study()
        DyingStudy(study, writes + 5)
        try:
            play(conduct(space, recipe, study), recipe, worker)
            break
        except Death:
            deaths[open_study().records[-1].role] += 1
    assert outcome(study.records) == outcome(reference.records)
    assert min(deaths[role] for role in ("search", "repeat", "apart")) >= 1
    assert len(set(worker.trained)) == len(worker.trained), "nothing is trained twice"


@pytest.mark.slow
def test_repeats_are_never_stopped(open_study: OpenStudy, recipe: Recipe) -> None:
    space = space_of(18, scheduler={"asha": {"grace_epochs": 1, "reduction_factor": 2}})
    study = open_study()
    conductor: Conductor = conduct(space, recipe, study, runner=make_runner(concurrency=1))
    play(conductor, recipe, Worker())
    assert {one.state for one in study.records if one.role != "search"} == {"finished"}
    assert "stopped" in {one.state for one in study.records}
