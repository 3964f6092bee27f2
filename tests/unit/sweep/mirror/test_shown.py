"""What a tracker is shown of a sweep: parameters, figures, curves, pages and descriptions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.sweep.confirm.standing import standing
from ikd.sweep.mirror.announce import files_of, page_of
from ikd.sweep.mirror.figures import BY_EPOCHS, BY_TRIALS, figures_of, history, values_of
from ikd.sweep.mirror.params import shown_params
from ikd.sweep.mirror.story import LONGEST, story
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.folder import dataset_name, experiment_of, sweep_folder, with_experiment
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

SPACE = make_space(budget={"trials": 8}, sampler={"random": {}})


@pytest.fixture
def records(open_study: OpenStudy, recipe: Recipe) -> list[TrialRecord]:
    study = open_study()
    play(conduct(SPACE, recipe, study), recipe, Worker())
    return study.records


def files(recipe: Recipe, **runner: Any) -> SweepFiles:
    return SweepFiles(SPACE, recipe, make_runner(**runner))


def test_parameters_are_the_same_for_all_and_say_where_there_is_none(records: list[TrialRecord]) -> None:
    shown = [shown_params(SPACE, record, seed=7) for record in records]
    assert len({tuple(one) for one in shown}) == 1
    mgd = next(one for one in shown if one["distill.host"] == "mgd")
    assert mgd["distill.fgd.alpha"] == mgd["distill.fgd.alpha log10"] == "none"
    assert float(str(mgd["distill.mgd.alpha log10"])) < 0
    texts = [str(one["distill.mgd.alpha"]) for one in shown if one["distill.mgd.alpha"] != "none"]
    assert sorted(texts) == sorted(texts, key=float), "MLflow orders them as text"
    assert mgd["seed"] == 7
    alone = next(one for one, record in zip(shown, records, strict=True) if "student_alone" in record.anchors)
    assert {alone["distill.fgd.alpha"], alone["distill.mgd.alpha"]} == {"none"}


def test_a_value_is_what_is_expected_and_only_of_those_that_have_a_rank(
    records: list[TrialRecord], recipe: Recipe
) -> None:
    known = standing(SPACE, recipe, records)
    assert known is not None
    values = values_of(SPACE, records, known)
    assert sorted(values, key=lambda number: -values[number]) == [one.number for one in known.configurations]
    figures = figures_of(SPACE, records, known)
    stopped = [record.number for record in records if record.state == "stopped"]
    assert stopped
    assert {figures[number]["value"] for number in stopped} == {None}
    assert all("gain/paper" not in figures[one.number] for one in records if "paper" in one.anchors)


def test_without_a_finished_configuration_trials_rank_by_what_they_saw(records: list[TrialRecord]) -> None:
    open_one = [replace(records[0], state="running"), *records[1:]]
    assert values_of(SPACE, open_one, None) == {}, "what it is while trials run would have to be taken back"
    values = values_of(SPACE, records, None)
    assert values == pytest.approx({one.number: one.metric for one in records if one.role == "search"}, abs=1e-6)


def test_curves_of_a_sweep_never_fall(records: list[TrialRecord]) -> None:
    points = history(records, SPACE.objective)
    for name in (BY_TRIALS, BY_EPOCHS):
        own = [point for point in points if point[0] == name]
        assert [step for _, _, step, _ in own] == list(range(1, len(own) + 1))
        assert [value for _, value, _, _ in own] == sorted(value for _, value, _, _ in own)
    assert max(value for name, value, _, _ in points if name == BY_TRIALS) == max(one.metric or 0 for one in records)


def test_a_page_orders_by_value_and_compares_what_every_trial_has(records: list[TrialRecord], recipe: Recipe) -> None:
    page = page_of("s", files(recipe), records, standing(SPACE, recipe, records))
    assert (page.order_by, page.rising) == ("value", True)
    assert page.metrics[:2] == ("value", "best/bbox_mAP")
    assert "gain/student_alone" in page.metrics
    assert page.axes == ("distill.host",), "others do not exist in every trial"
    assert set(page.params) == set(SPACE.parameters)


def test_a_description_says_objective_table_and_what_to_do(records: list[TrialRecord], recipe: Recipe) -> None:
    known = standing(SPACE, recipe, records)
    assert known is not None
    text = story("s", files(recipe), records, known)
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows[: len(known.configurations)] == [str(one.number) for one in known.configurations]
    assert "ikd export s --to student" in text
    assert "student alone (trial 1)" in text
    assert "* chosen: trial" in text
    assert "0 to 1" in text
    assert "no configuration" in story("s", files(recipe), [], None)


def test_names_in_a_description_are_no_markdown(records: list[TrialRecord], recipe: Recipe) -> None:
    odd = recipe.with_values({"data.root": "/data/a`b|c<script>"})
    space = SPACE.model_copy(update={"description": "*all* [x](y) | <b>"})
    text = story("s", SweepFiles(space, odd, make_runner()), [], None)
    assert "``/data/a`b\\|c<script>``" in text
    assert "\\*all\\* \\[x\\](y) \\| &lt;b&gt;" in text


def test_a_long_description_loses_rows_and_stays_whole(records: list[TrialRecord], recipe: Recipe) -> None:
    many = [replace(record, name=f"{record.number} " + "word " * 150) for record in records]
    text = story("s", files(recipe), many, standing(SPACE, recipe, many))
    assert len(text) <= LONGEST
    assert text.rstrip().endswith("```")


def test_the_experiment_is_the_runners_or_that_of_data_and_recipe(recipe: Recipe) -> None:
    assert dataset_name(recipe) == "drawn"
    assert dataset_name(recipe.with_values({"data.root": "/data/aquarium/"})) == "aquarium"
    assert experiment_of(files(recipe)) == "drawn drawn_r18"
    assert experiment_of(files(recipe, tracking={"experiment": "fish"})) == "fish"
    began = files(recipe, tracking={"experiment": "ikd"})
    assert with_experiment(files(recipe), began).runner.tracking.experiment == "ikd", "where it began"


def test_the_files_of_a_sweep_hold_no_password(recipe: Recipe) -> None:
    folder = sweep_folder("s")
    folder.path.mkdir(parents=True)
    secret = "postgresql://ann:secret@host/ikd"
    made = files_of(files(recipe, study=secret, tracking={"uri": "http://ann:secret@host:5000"}), folder)
    assert [file.name for file in made] == ["recipe.yaml", "space.yaml", "runner.yaml"]
    texts = "".join(file.read_text() for file in made)
    assert "secret" not in texts
    assert "ann" in texts
    (folder.path / "report.html").write_text("<html>")
    assert files_of(files(recipe), folder)[-1] == folder.path / "report.html"
