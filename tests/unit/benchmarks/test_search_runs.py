"""Searches on a surrogate: what is trained in which order, and what the figures make of it."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from benchmarks.search.plain import Suggest
from benchmarks.search.runs import METHODS, RUNGS, Run, ours

from benchmarks.search.report import Comparison, Course, as_good, course, draw, epochs_above, paired, quartiles, table
from benchmarks.search.surrogate import Surrogate
from tests.unit.benchmarks.synthetic_recording import EPOCHS, made


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate(made())


def lengths(run: Run) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, epoch, _ in run.events:
        assert epoch == found.get(number, 0) + 1, "the epochs of a trial follow each other"
        found[number] = epoch
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_search_trains_two_trials_at_a_time_up_to_its_epochs(surrogate: Surrogate, method: str) -> None:
    run = ours(surrogate, method, seed=0, epochs=40)
    assert len(run.events) == 40
    assert [number for number, _, _ in run.events[:4]] == [0, 1, 0, 1]
    assert run.values[0] == surrogate.paper(), "the paper's values come first"
    found = lengths(run)
    ended = [epochs for number, epochs in found.items() if number < max(found) - 1]
    stopped = [epochs for epochs in ended if epochs < EPOCHS]
    assert (set(stopped) == {RUNGS["grace_epochs"]}) if "ASHA" in method else not stopped
    assert run.expected == {number: surrogate.expected(values).max() for number, values in run.values.items()}


def test_a_search_depends_on_its_seed_alone(surrogate: Surrogate) -> None:
    first, again, other = (ours(surrogate, "TPE + ASHA", seed=seed, epochs=30) for seed in (1, 1, 2))
    assert first == again
    assert first.values[1] != other.values[1]
    assert first.events[0] != other.events[0], "another seed is another world of noise for the paper's values too"


def test_optuna_is_asked_for_what_exists() -> None:
    suggest = Suggest(made().searched())
    trial = optuna.trial.FixedTrial({"distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.area_threshold": 1024})
    suggest(trial)  # type: ignore[arg-type]
    assert list(trial.params) == ["distill.host", "distill.mgd.alpha", "augment.area_threshold"]


def test_the_course_of_a_search_by_hand() -> None:
    events = [(0, 1, 0.1), (1, 1, 0.3), (0, 2, 0.2), (1, 2, 0.25), (0, 3, 0.31)]
    run = Run(events, values={0: {"a": 1}, 1: {"a": 2}}, expected={0: 0.4, 1: 0.28})
    found = course(run)
    assert found.seen == [0.1, 0.3, 0.3, 0.3, 0.31]
    assert found.worth == [0.4, 0.28, 0.28, 0.28, 0.4], "what was best then, not the best there is"
    assert (found.trials, found.choice) == (2, {"a": 1})
    assert epochs_above(found.seen, 0.3) == 5
    assert math.isinf(epochs_above(found.seen, 0.31)), "equal is not above"


def test_quartiles_are_values_also_where_some_are_infinite() -> None:
    assert quartiles([4, 3, 2, 1]) == [1, 2, 3]
    assert quartiles([math.inf, 5, 6, math.inf]) == [5, 6, math.inf]


def comparison() -> Comparison:
    flat = Course([0.1] * 8, [0.15] * 8, 3, {})
    steep = Course([0.1, 0.2] + [0.4] * 6, [0.15] * 7 + [0.35], 5, {})
    return Comparison("made", {"random": [flat, flat], "TPE + ASHA": [steep, steep]}, [0.3, 0.3], 0.28, EPOCHS)


def test_the_table_by_hand() -> None:
    lines = table(comparison()).splitlines()
    assert lines[2] == "| paper's values | 1 | | | 30.0 [30.0, 30.0] | 30.0 [30.0, 30.0] | 30.0 [30.0, 30.0] | 28.0 |"
    assert lines[3].startswith("| random | 3 | never [never, never] | 1 | 10.0 [10.0, 10.0]")
    assert lines[4].startswith("| TPE + ASHA | 5 | 3 [3, 3] | 1 | 20.0 [20.0, 20.0] | 40.0")
    assert lines[4].endswith("| 35.0 [35.0, 35.0] |")


def test_how_soon_a_method_is_where_another_ends() -> None:
    def climbs(*seen: float) -> list[Course]:
        return [Course(seen, seen, 1, {})] * 3

    assert as_good(climbs(0.1, 0.2, 0.3, 0.4), climbs(0.1, 0.1, 0.1, 0.3)) == "3"
    assert as_good(climbs(0.1, 0.1, 0.1, 0.3), climbs(0.1, 0.2, 0.3, 0.4)) == "never"


def test_methods_are_compared_on_the_seeds_that_both_have() -> None:
    def ended(*values: float) -> list[Course]:
        return [Course([value], [value / 2], 1, {}) for value in values]

    compared = Comparison("made", {"a": ended(0.3, 0.4, 0.9), "b": ended(0.1, 0.1)}, [0.1], 0.1, 1)
    told = paired(compared, "a", "b")  # differences 20 and 30: mean 25, standard error 7.07 / sqrt 2
    assert told == "made: a over b, 2 seeds: best seen +25.00 ± 5.00, retrained +12.50 ± 2.50"


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw([comparison(), comparison()], tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
