"""Simulated searches: what is trained in which order, and what is chosen."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from benchmarks.search.methods import METHODS, NEW, NEW_DEFAULT, OLD, RUNGS, best_seen, by_posterior, new
from benchmarks.search.simulate import Event, Sweep, simulate
from benchmarks.search.surrogate import surrogate
from benchmarks.search.tune import Suggest, plain
from benchmarks.search.worlds import World, at_the_end, best_epoch
from ikd.sweep.confirm.phases import FIRST_APART
from ikd.sweep.confirm.standing import standing
from tests.marks import some
from tests.unit.benchmarks.synthetic_recording import EPOCHS, made


@pytest.fixture(scope="module")
def world() -> World:
    return surrogate(made(noise=0.005))


def how(sampler: str, scheduler: Any, epochs: int) -> dict[str, Any]:
    budget = {"trials": 1000, "epochs": epochs, "confirm": {"share": 0.0, "apart": 0}}
    return {"sampler": sampler, "scheduler": scheduler, "budget": budget}


def lengths(events: list[Event]) -> dict[int, int]:
    found: dict[int, int] = {}
    for event in events:
        assert event.epoch == found.get(event.number, 0) + 1, "the epochs of a trial follow each other"
        found[event.number] = event.epoch
    return found


@pytest.mark.parametrize("sampler", ["random", "tpe", "effects"])
@pytest.mark.parametrize("scheduler", ["none", {"asha": RUNGS}])
def test_a_search_trains_two_trials_at_a_time_up_to_its_epochs(world: World, sampler: str, scheduler: Any) -> None:
    sweep = simulate(world, how(sampler, scheduler, 40), seed=0)
    assert len(sweep.events) == 40
    assert [event.number for event in sweep.events[:4]] == [0, 1, 0, 1]
    assert sweep.records[0].values == world.paper(), "the paper's values come first"
    assert sweep.records[1].anchors == ("student_alone",)
    found = lengths(sweep.events)
    ended = [epochs for number, epochs in found.items() if number < max(found) - 1]
    stopped = [epochs for epochs in ended if epochs < EPOCHS]
    assert (set(stopped) == {RUNGS["grace_epochs"]}) if scheduler != "none" else not stopped
    for record, expected in zip(sweep.records, sweep.expected, strict=True):
        assert (expected == (world.expected(record.values) if record.in_space else world.alone)).all()


def test_trials_count_with_what_the_objective_says(world: World) -> None:
    sweep = simulate(world, how("random", "none", 12), seed=0)
    for record in sweep.records[:-1]:  # the last one had no epoch left
        last = [report.metrics["bbox_mAP"] for report in record.reports][-2:]
        assert record.metric == pytest.approx(sum(last) / 2)


def test_a_search_depends_on_its_seed_alone(world: World) -> None:
    first, again, other = (simulate(world, how("tpe", {"asha": RUNGS}, 30), seed=seed) for seed in (1, 1, 2))
    assert first.events == again.events
    assert first.records == again.records
    assert first.records[2].values != other.records[2].values
    assert first.events[0] != other.events[0], "another seed is another world of noise for the paper's values too"


def test_the_new_default_has_three_phases_and_no_seed_of_another_search(world: World) -> None:
    seeds: list[set[int]] = []
    for seed in (1, 2):
        sweep = simulate(world, new(world, 40), seed=seed)
        assert [record.role for record in sweep.records] == ["search"] * 30 + ["repeat"] * 4 + ["apart"] * 6
        assert {record.state for record in sweep.records} == {"finished"}
        assert len(sweep.events) == 40 * EPOCHS
        base = sweep.recipe.seed
        apart = [record.values["seed"] - base for record in sweep.records[-6:]]
        assert sorted(apart) == sorted([FIRST_APART, FIRST_APART + 1, FIRST_APART + 2] * 2)
        for record in sweep.records[-10:]:
            assert record.of is not None
            assert sweep.expected[record.number] is sweep.expected[record.of]
        seeds.append({base, *(int(record.values["seed"]) for record in sweep.records[-10:])})
    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize(("trainings", "kind", "apart"), [(10, "asha", 0), (20, "asha", 2), (40, "none", 3)])
def test_the_new_default_is_what_ikd_does_with_such_a_budget(
    world: World, trainings: int, kind: str, apart: int
) -> None:
    sweep = simulate(world, new(world, trainings), seed=1)
    assert sweep.space.scheduler.kind == kind
    assert sum(record.role == "apart" for record in sweep.records) == 2 * apart
    assert len(sweep.events) <= trainings * EPOCHS
    assert len(sweep.events) > (trainings - 2) * EPOCHS, "a training at most is left over"


def test_the_new_default_is_what_a_file_gets_that_says_nothing(world: World) -> None:
    for trainings in (20, 40):
        budget = {"budget": {"trials": trainings}}
        assert world.base.searched(**NEW, **budget) == world.base.searched(**budget)


def same(one: Sweep, other: Sweep) -> bool:
    return one.records == other.records and one.events == other.events


@pytest.mark.parametrize(("few", "many"), some([(20, 40), (40, 48)], 1))
def test_a_search_like_a_longer_one_is_the_same_as_by_itself(world: World, few: int, many: int) -> None:
    longer = simulate(world, new(world, many), seed=3)
    assert same(simulate(world, new(world, few), seed=3, like=longer), simulate(world, new(world, few), seed=3))
    others = simulate(world, new(world, many), seed=4)  # teaches nothing of seed 3
    assert same(simulate(world, new(world, few), seed=3, like=others), simulate(world, new(world, few), seed=3))


def test_what_the_new_default_chooses_is_what_ikd_chooses(world: World) -> None:
    sweep = simulate(world, new(world, 20), seed=1)
    known, found = standing(sweep.space, sweep.recipe, sweep.records), by_posterior(sweep)
    assert known is not None
    expected = world.expected(found.values)
    assert found.values == known.chosen.trainings[0].values
    assert found.quality == best_epoch(expected)
    assert found.excess == pytest.approx(known.chosen.mean - at_the_end(expected))
    assert METHODS[NEW_DEFAULT](world, 1, [20]) == {20: found}


def test_the_best_seen_by_hand(world: World) -> None:
    events = [Event(0, 1, 0.1), Event(1, 1, 0.3), Event(0, 2, 0.2), Event(1, 2, 0.25), Event(0, 3, 0.31)]
    values, expected = [{"a": 1}, {"a": 2}], [world.alone, world.alone - 0.1]
    found = best_seen(events, values, expected, 4)
    assert found.values == {"a": 2}, "what was best then"
    assert found.quality == pytest.approx(100 * (world.alone.max() - 0.1))
    assert found.excess == pytest.approx(30 - found.quality)
    assert best_seen(events, values, expected, 5).values == {"a": 1}


def test_the_old_default_counts_its_best_epochs_and_confirms_nothing(world: World) -> None:
    found = METHODS["TPE + ASHA, best seen"](world, 1, [6, 12])
    assert sorted(found) == [6, 12]
    sweep = simulate(
        world, {**OLD, **how("tpe", {"asha": RUNGS}, 36), "objective": {"metric": "bbox_mAP", "value": "best"}}, seed=1
    )
    highest = max(sweep.events, key=lambda event: event.value)
    assert found[12].values == (sweep.records[highest.number].values if sweep.records[highest.number].in_space else {})
    assert max(record.metric or 0 for record in sweep.records) == highest.value


def test_tune_trains_two_at_a_time_too(world: World) -> None:
    found = plain(world, RUNGS, seed=0, epochs=30)
    assert len(found.events) == 30
    assert found.values[0] == world.paper()
    assert found.values[1] == {}, "the student alone, of which Tune is not told"
    assert [event.number for event in found.events[:4]] == [0, 1, 0, 1]
    lengths(found.events)


def test_optuna_is_asked_for_what_exists() -> None:
    suggest = Suggest(made().searched())
    trial = optuna.trial.FixedTrial({"distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.area_threshold": 1024})
    suggest(trial)  # type: ignore[arg-type]
    assert list(trial.params) == ["distill.host", "distill.mgd.alpha", "augment.area_threshold"]
