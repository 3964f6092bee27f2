"""What the elements of a report say, against what the sweep itself says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.played import play, played_space
from ikd.report.build import GROUPS, elements_of
from ikd.report.parts import Chart, Element, Table
from ikd.report.source import Source
from ikd.sweep import ledger, objectives_apart, rungs_of, sweep_status
from tests.marks import some

EMPTY = ("detections", "front")
"""Elements that a usual sweep without costs and pictures has nothing for."""


@pytest.fixture(scope="module")
def source(played_home: Path) -> Source:
    return Source(sweep_status("whole", home=played_home))


@pytest.fixture(scope="module")
def elements(source: Source) -> dict[str, Element]:
    return {one.key: one for one in elements_of(source)}


def rows(element: Element, key: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of a table by their first cell."""
    table = next(one for one in element.tables if one.key == key)
    assert all(len(row) == len(table.heads) for row in table.rows)
    return {row[0]: row[1:] for row in table.rows}


def test_every_element_shows_something_or_says_why_not(elements: dict[str, Element]) -> None:
    assert len(elements) == sum(map(len, GROUPS.values())) == 21
    for key, one in elements.items():
        assert one.lead, key
        assert bool(one.parts) is (key not in EMPTY), key
        for part in one.parts:
            if isinstance(part, Table):
                assert part.rows, key
            if isinstance(part, Chart):
                assert part.figure.data, key
                assert part.said
    assert "ikd show whole" in elements["detections"].lead
    assert "--pictures" in elements["detections"].lead


def test_the_chosen_recipe_is_a_difference(source: Source, elements: dict[str, Element]) -> None:
    known = source.known
    assert known is not None
    found = rows(elements["chosen"], "chosen")
    chosen = known.chosen.trainings[0]
    changed = {name for name, value in chosen.values.items() if source.recipe.value(name) != value}
    assert set(found) == changed
    assert f"Trial {chosen.number} is chosen" in elements["chosen"].lead


def test_gains_are_over_every_finished_anchor(source: Source, elements: dict[str, Element]) -> None:
    found = rows(elements["gains"], "gains")
    assert len(found) == len(source.gains) == 3
    for gain, cells in zip(source.gains, found.values(), strict=True):
        assert cells[0] == f"{gain.difference:+.1f}"
        assert cells[1] == f"{gain.interval[0]:+.1f} to {gain.interval[1]:+.1f}"
        assert cells[-1] == ("trainings kept apart" if gain.confirmed else "belief")
    assert sum(gain.confirmed for gain in source.gains) == 1


def test_optimism_sets_the_best_seen_beside_what_was_kept_apart(source: Source, elements: dict[str, Element]) -> None:
    known = source.known
    assert known is not None
    apart = objectives_apart(source.space, source.records, known.chosen)
    found = rows(elements["optimism"], "optimism")
    assert found[f"mean of {len(apart)} trainings kept apart"][0] == f"{apart.mean():.1f}"
    assert found["of that, expected to be luck"][0] == f"{max(known.luck, 0):.1f}"


def test_history_is_by_cost(source: Source, elements: dict[str, Element]) -> None:
    (chart,) = elements["history"].parts
    assert isinstance(chart, Chart)
    line = next(trace for trace in chart.figure.data if trace.name == "best seen so far")
    assert list(line.y) == sorted(line.y)
    unit = 3600 if "hours" in chart.figure.layout.xaxis.title.text else 60
    assert line.x[-1] == pytest.approx(ledger(source.records).total / unit)


def test_curves_are_whole_and_rungs_are_marked(source: Source, elements: dict[str, Element]) -> None:
    (chart,) = elements["curves"].parts
    assert isinstance(chart, Chart)
    points = sum(value is not None for trace in chart.figure.data if trace.mode == "lines" for value in trace.y)
    assert points == sum(len(record.reports) for record in source.records)
    marked = {shape.x0 for shape in chart.figure.layout.shapes}
    assert marked == {rung.epoch for rung in rungs_of(source.space, source.recipe, source.records)}


def test_stops_say_what_they_saved(source: Source, elements: dict[str, Element]) -> None:
    stopped = [one for one in source.records if one.state == "stopped"]
    found = rows(elements["spent"], "stops")
    assert set(found) == {str(one.number) for one in stopped}
    total = sum(one.total_epochs(12) - one.epochs for one in stopped)
    assert f"{len(stopped)} stops saved {total} epochs" in elements["spent"].lead


def test_failures_have_their_reasons(elements: dict[str, Element]) -> None:
    found = rows(elements["failures"], "failures")
    assert set(found) == {"9", "11"}
    assert found["9"][0] == "failed (it failed at epoch 3)"
    assert elements["failures"].lead == "1 failed, 1 diverged, 0 attempts crashed."


def test_importance_and_dependence_are_of_every_parameter(source: Source, elements: dict[str, Element]) -> None:
    assert set(rows(elements["importance"], "importance")) == set(source.space.parameters)
    assert len(elements["dependence"].parts) == len(source.space.parameters)
    toggles = next(one for one in elements["toggles"].tables)
    assert {row[0] for row in toggles.rows} == {"distill.host", "adversarial.enabled"}


def test_the_path_ends_at_the_choice(source: Source, elements: dict[str, Element]) -> None:
    insight, known = source.insight, source.known
    assert insight is not None
    assert known is not None
    table = next(one for one in elements["path"].tables if one.key == "path")
    mean, _ = insight.expected(source.space.active(known.chosen.trainings[0].values))
    assert table.rows[-1][1] == f"{mean:.1f}"
    assert table.rows[0][0] == "the recipe"
    assert table.rows[0][-1].startswith("trial 0: "), "the paper's values were trained"


def test_parallel_lines_leave_out_what_does_not_exist(source: Source, elements: dict[str, Element]) -> None:
    (chart,) = elements["parallel"].parts
    assert isinstance(chart, Chart)
    heights = [value for trace in chart.figure.data for value in trace.y if value is not None]
    assert min(heights) < 0, "below its axis stands what a trial does not have"
    assert "does not exist in that trial" in elements["parallel"].lead


@pytest.mark.slow
def test_a_search_with_costs_has_a_front(tmp_path: Path) -> None:
    play(tmp_path, "costly", played_space(8, costs=["gflops"], scheduler={"none": {}}))
    source = Source(sweep_status("costly", home=tmp_path))
    front = next(one for one in elements_of(source) if one.key == "front")
    found = rows(front, "front")
    assert 1 <= len(found) <= 7
    assert any("(knee)" in trial for trial in found)


def test_a_trial_that_is_asked_for_is_shown(played_home: Path) -> None:
    status = sweep_status("whole", home=played_home)
    found = {one.key: one for one in elements_of(Source(status, status.trials[1]))}
    assert found["classes"].tables[0].heads[1] == "trial 1"
    assert "of trial 1 at its last validation" in found["classes"].lead


@pytest.mark.parametrize("name", ["failed", "alone"])
def test_a_sweep_without_a_result_says_so(failed_home: Path, name: str) -> None:
    source = Source(sweep_status(name, home=failed_home))
    found = {one.key: one for one in elements_of(source)}
    assert (source.known is None) is (name == "failed")
    if name == "failed":
        assert "nothing is chosen" in found["gains"].lead
        assert found["failures"].lead.startswith("0 failed, 4 diverged")
    else:
        assert "Trial 0 is chosen" in found["chosen"].lead
        assert "There is no finished anchor" in found["gains"].lead


def test_a_sweep_that_has_only_begun_shows_its_curve(begun_home: Path) -> None:
    found = {one.key: one for one in elements_of(Source(sweep_status("begun", home=begun_home)))}
    assert found["curves"].parts
    assert not found["history"].parts
    assert not found["importance"].parts


@pytest.mark.slow
def test_a_smaller_objective_can_be_the_better(tmp_path: Path) -> None:
    play(tmp_path, "least", played_space(8, objective={"metric": "bbox_AP50", "mode": "min"}, scheduler={"none": {}}))
    source = Source(sweep_status("least", home=tmp_path))
    found = {one.key: one for one in elements_of(source)}
    (chart,) = found["history"].parts
    assert isinstance(chart, Chart)
    line = next(trace for trace in chart.figure.data if trace.name == "best seen so far")
    assert list(line.y) == sorted(line.y, reverse=True)
    assert "told of bbox_mAP alone" in found["classes"].lead


@pytest.mark.slow
def test_teachers_in_sequence_and_choices_that_are_lists(tmp_path: Path) -> None:
    """Values that no dictionary takes as keys, and that may be written in two ways."""
    shared = {"config": "ikd::retinanet_r18", "recipe": "drawn_r18_teacher"}
    available = {name: {**shared, "arguments": {"base_channels": k}, "ap": k} for name, k in (("a", 8), ("b", 16))}
    values = {"teachers.available": available, "teachers.sequence": ["a"], "student.inherit": False}
    parameters = {
        "teachers.sequence": {"sequence": {"of": ["a", "b"], "length": [1, 2]}},
        "input.scale": {"choice": [[160, 160], [96, 96]]},
    }
    space = played_space(6, parameters=parameters, anchors=["paper"], scheduler={"none": {}})
    play(tmp_path, "listed", space, values=values)
    found = {one.key: one for one in elements_of(Source(sweep_status("listed", home=tmp_path)))}
    assert set(rows(found["importance"], "importance")) == set(parameters)
    assert found["parallel"].parts
    assert found["toggles"].parts
    words = [cell for table in found["toggles"].tables for row in table.rows for cell in row]
    assert any("a -> b" in cell or "a, b" in cell for cell in words), words


@pytest.mark.parametrize("scheduler", some([{"pbt": {"interval_epochs": 2}}, {"median": {}}, {"hyperband": {}}], 1))
def test_every_scheduler_is_told_of(tmp_path: Path, scheduler: dict[str, Any]) -> None:
    parameters = {"distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2]}}
    play(tmp_path, "s", played_space(6, parameters=parameters, anchors=["paper"], scheduler=scheduler))
    found = {one.key: one for one in elements_of(Source(sweep_status("s", home=tmp_path)))}
    assert found["curves"].parts
    assert found["rungs"].lead


@pytest.mark.slow
def test_a_full_factorial_with_repeats(tmp_path: Path) -> None:
    parameters = {"distill.host": {"choice": ["fgd", "mgd"]}, "adversarial.enabled": {"choice": [True, False]}}
    space = played_space(
        9, parameters=parameters, sampler={"grid": {"repeats": 2}}, scheduler={"none": {}}, anchors=["student_alone"]
    )
    play(tmp_path, "grid", space)
    found = {one.key: one for one in elements_of(Source(sweep_status("grid", home=tmp_path)))}
    trainings = {row[4] for row in rows(found["finalists"], "finalists").values()} | {"-"}
    assert trainings
    assert len(rows(found["toggles"], "toggles")) == 2
    assert "4 configurations have finished, 4 of them with more than one seed" in found["finalists"].lead


@pytest.mark.slow
def test_a_recipe_whose_own_value_is_not_searched_says_so(tmp_path: Path) -> None:
    """0.08 lies in the range, but on no step of it."""
    parameters = {
        "augment.noise.sigma": {"uniform": [0.0, 0.28], "step": 0.07},
        "adversarial.enabled": {"choice": [True, False]},
    }
    play(tmp_path, "s", played_space(6, parameters=parameters, anchors=["paper"], scheduler={"none": {}}))
    found = {one.key: one for one in elements_of(Source(sweep_status("s", home=tmp_path)))}
    lead = found["path"].lead
    assert "noise.sigma is none of the values searched" in lead or "no change leads to it" in lead
