"""A recipe that inherits is compared with a student that only inherits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe, SweepFiles, load_recipe, load_sweep
from ikd.errors import ConfigError
from ikd.sweep.extend import as_it_began
from ikd.sweep.records.trials import TrialRecord, shown_anchors
from ikd.sweep.study.folder import sweep_folder, with_experiment, write_files
from ikd.sweep.view.ranking import ranking
from tests.unit.sweep.conftest import column_titles, make_runner, make_space, with_teachers

ROOT = Path(__file__).resolve().parents[3]


def test_inherit_alone_has_the_teachers_head_and_nothing_else_of_it(recipe: Recipe) -> None:
    alone = recipe.anchor("inherit_alone")
    assert alone.student.inherit
    assert alone.teachers.sequence == recipe.teachers.sequence
    assert (alone.distill.host, alone.adversarial.enabled, alone.augment.enabled) == ("none", False, False)
    assert alone.distill.me.enabled is alone.distill.sfa.enabled is False
    assert alone.total_epochs == recipe.total_epochs
    student = recipe.student_alone()
    assert alone.with_values({"student.inherit": False, "teachers.sequence": []}) == student
    assert len({one.fingerprint() for one in (recipe, alone, student)}) == 3


def test_of_a_sequence_the_first_teacher_gives_its_head_for_all_the_epochs(recipe: Recipe) -> None:
    base = with_teachers(recipe, "a", "b").with_values({"student.inherit": True, "schedule.epochs_per_stage": 6})
    alone = base.anchor("inherit_alone")
    assert [(plan.teacher, plan.first, plan.last, plan.recipe.student.inherit) for plan in alone.stages] == [
        ("a", 1, 12, True)
    ]


@pytest.mark.parametrize("values", [{"student.inherit": False}, None])
def test_a_recipe_that_does_not_inherit_has_none(values: Any, recipe: Recipe) -> None:
    base = recipe.with_values(values) if values else recipe.student_alone()
    assert not base.inherits
    with pytest.raises(ConfigError, match=r"student.inherit: must be true, with a teacher .* but got False"):
        base.anchor("inherit_alone")
    with pytest.raises(ConfigError, match=r"anchors\[1\]: does not go with the recipe: student.inherit must be true"):
        make_space(anchors=["paper", "inherit_alone"]).checked(base)


@pytest.mark.parametrize(
    ("inherit", "trials", "listed", "anchors"),
    [
        (True, 8, None, ("paper", "student_alone", "inherit_alone")),
        (False, 8, None, ("paper", "student_alone")),
        (True, 4, None, ("paper", "student_alone", "inherit_alone")),
        (True, 3, None, ("paper", "student_alone")),
        (True, 8, ["paper", "student_alone"], ("paper", "student_alone")),
        (False, 8, ["student_alone"], ("student_alone",)),
    ],
)
def test_it_is_an_anchor_by_itself_where_none_are_named(
    inherit: bool, trials: int, listed: Any, anchors: Any, recipe: Recipe, tmp_path: Path
) -> None:
    own = f"anchors: {listed}\n" if listed else ""
    file = tmp_path / "space.yaml"
    file.write_text(f"recipe: drawn_r18\nset: {{student.inherit: {inherit}}}\nbudget: {{trials: {trials}}}\n{own}")
    assert load_sweep(file).space.anchors == anchors


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_spaces_name_it_where_the_recipe_inherits(path: Path) -> None:
    files = load_sweep(path)
    assert ("inherit_alone" in files.space.anchors) == load_recipe(files.space.recipe).inherits


def test_a_sweep_that_began_without_it_goes_on_without_it(recipe: Recipe) -> None:
    old, new = (make_space(anchors=["paper", "student_alone", *more]) for more in ([], ["inherit_alone"]))
    files, folder = SweepFiles(new, recipe, make_runner()), sweep_folder("s")
    assert as_it_began(files, folder) == (with_experiment(files), ""), "a new sweep has it"
    folder.path.mkdir(parents=True)
    write_files(folder, SweepFiles(old, recipe, make_runner()))
    kept, said = as_it_began(files, folder)
    assert kept.space == old
    assert said == "anchor inherit_alone is left out: s began without it"
    write_files(folder, files)
    assert as_it_began(files, folder) == (with_experiment(files), "")
    write_files(folder, SweepFiles(make_space(anchors=["paper"]), recipe, make_runner()))
    assert as_it_began(files, folder) == (with_experiment(files), ""), "what else differs is refused by others"


def record(number: int, metric: float | None, *anchors: str) -> TrialRecord:
    return TrialRecord(number, f"trial {number}", anchors, {}, True, str(number), Path(), "finished", metric)


@pytest.mark.parametrize(
    ("alone", "inheriting", "better", "over"),
    [(0.1, 0.3, 0.1, "inherit alone"), (0.35, 0.3, 0.05, "student alone"), (0.1, None, 0.3, "student alone")],
)
def test_a_gain_is_over_the_stronger_training_without_distillation(
    alone: float, inheriting: float | None, better: float, over: str
) -> None:
    trials = [record(0, 0.2, "paper"), record(1, alone, "student_alone"), record(2, inheriting, "inherit_alone")]
    best = record(3, 0.4)
    trials.append(best)
    stronger = trials[1] if over == "student alone" else trials[2]
    assert best.against(stronger) == pytest.approx(better)
    names = {"paper", "student_alone" if over == "student alone" else "inherit_alone"}
    assert set(shown_anchors(trials, "max")) >= names
    text = io.StringIO()
    Console(file=text, width=160).print(ranking(trials, make_space()))
    against = [title for title in column_titles(text.getvalue()) if title.startswith("vs ")]
    assert f"vs {over}" in against
    if inheriting is not None:
        assert against == ["vs paper", f"vs {over}"], "the weaker one has no column"


def test_less_is_better_where_the_objective_is_to_fall() -> None:
    trials = [record(0, 0.5, "student_alone"), record(1, 0.4, "inherit_alone"), record(2, 0.3)]
    assert list(shown_anchors(trials, "min")) == ["inherit_alone"]
