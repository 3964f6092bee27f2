"""What `scheduler: auto` stands for is chosen once, when a sweep begins, and told by the dry run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from ikd.config import Recipe, SearchSpace, SweepFiles, shares_of
from ikd.errors import BadInput
from ikd.sweep import dry_run, run_sweep, sweep_status
from ikd.sweep.extend import as_it_began, beginning
from ikd.sweep.study.folder import SweepFolder, read_files, sweep_folder, with_experiment, write_files
from ikd.sweep.view.space import space_table
from tests.unit.sweep.conftest import make_runner, make_space
from tests.unit.sweep.player import Worker, play


def files_of(recipe: Recipe, trials: int = 8, **changes: Any) -> SweepFiles:
    space = make_space(**{"scheduler": "auto", "budget": {"trials": trials}, **changes}).checked(recipe)
    return SweepFiles(space, recipe, make_runner())


def shown(renderable: Any) -> str:
    text = io.StringIO()
    Console(file=text, width=300).print(renderable)
    return text.getvalue()


@pytest.fixture
def folder() -> SweepFolder:
    return sweep_folder("mine")


def begun_with(files: SweepFiles, folder: SweepFolder) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    write_files(folder, files)


def test_the_trials_of_the_command_line_count_at_the_start(recipe: Recipe, folder: SweepFolder) -> None:
    files = files_of(recipe)
    assert files.space.scheduler.kind == "asha"
    assert beginning(files, folder, None) is files
    assert beginning(files, folder, "50").space.scheduler.kind == "none"
    assert beginning(files_of(recipe, 50), folder, "8").space.scheduler.kind == "asha"
    named = files_of(recipe, scheduler={"median": {}})
    assert beginning(named, folder, "50").space.scheduler.kind == "median"
    with pytest.raises(BadInput, match="extends a sweep that is complete, and this one is not"):
        beginning(files, folder, "+4")


def test_a_sweep_keeps_what_it_began_with_however_it_grows(recipe: Recipe, folder: SweepFolder) -> None:
    begun_with(files_of(recipe), folder)
    assert yaml.safe_load(folder.files.read_text())["space"]["scheduler"]["asha"]["grace_epochs"] == 2
    assert beginning(files_of(recipe), folder, "50").space.scheduler.kind == "asha"
    larger = files_of(recipe, 50)
    assert larger.space.scheduler.kind == "none"
    kept, said = as_it_began(larger, folder)
    assert kept.space.scheduler.asha == read_files(folder).space.scheduler.asha
    assert said == "scheduler asha is kept: mine began with it"
    assert as_it_began(files_of(recipe), folder)[1] == "", "the same is not worth a word"


def test_a_sweep_that_began_when_nothing_meant_asha_goes_on_with_it(recipe: Recipe, folder: SweepFolder) -> None:
    """Written out by the ikd of that time; or left out, in a file from before there was another one."""
    begun_with(files_of(recipe, scheduler={"asha": {}}), folder)
    for drop in (False, True):
        if drop:
            content = yaml.safe_load(folder.files.read_text())
            del content["space"]["scheduler"]
            folder.files.write_text(yaml.safe_dump(content))
        kept, said = as_it_began(files_of(recipe, 50), folder)
        assert kept.space.scheduler.asha is not None
        assert kept.space.scheduler.asha.grace_epochs == 1
        assert said == "scheduler asha is kept: mine began with it"


def test_a_sweep_that_began_with_tpe_goes_on_with_it(recipe: Recipe, folder: SweepFolder) -> None:
    """By default once, with settings in the shipped spaces, or left out in a file."""
    space = make_space().model_dump(mode="json", exclude_unset=True, by_alias=True)
    del space["sampler"]
    now = SearchSpace.model_validate_json(json.dumps(space)).checked(recipe)
    assert now.sampler.kind == "effects"
    files = SweepFiles(now, recipe, make_runner())
    assert as_it_began(files, folder)[0].space.sampler.kind == "effects", "it has not begun"
    for settings in ({"startup_trials": 6}, {}):
        begun_with(files_of(recipe, scheduler={"asha": {"grace_epochs": 2}}, sampler={"tpe": settings}), folder)
        kept, said = as_it_began(files, folder)
        assert kept.space.sampler == read_files(folder).space.sampler
        assert said == "sampler tpe is kept: mine began with it"
    content = yaml.safe_load(folder.files.read_text())
    del content["space"]["sampler"], content["space"]["budget"]["confirm"]
    folder.files.write_text(yaml.safe_dump(content))
    assert as_it_began(files, folder)[0].space.sampler.kind == "tpe"
    begun_with(files, folder)
    assert as_it_began(files, folder)[0].space.sampler.kind == "effects"
    begun_with(files_of(recipe, scheduler={"asha": {"grace_epochs": 2}}, sampler={"gp": {}}), folder)
    assert as_it_began(files, folder)[0].space.sampler.kind == "effects", "a change that is refused"


def test_a_sweep_that_began_without_it_confirms_nothing(recipe: Recipe, folder: SweepFolder) -> None:
    files = files_of(recipe, 40)
    begun_with(files, folder)
    assert as_it_began(files, folder)[0].space.budget.confirm.apart is None
    content = yaml.safe_load(folder.files.read_text())
    del content["space"]["budget"]["confirm"]
    folder.files.write_text(yaml.safe_dump(content))
    assert not shares_of(read_files(folder).space, recipe.total_epochs).acts, "nor does the status speak of it"
    kept, said = as_it_began(files, folder)
    assert not shares_of(kept.space, recipe.total_epochs).acts
    assert "nothing is kept apart or repeated: mine began without that" in said
    named = files_of(recipe, 40, budget={"trials": 40, "confirm": {"apart": 2}})
    assert as_it_began(named, folder)[0].space.budget.confirm.apart == 2, "what the file says holds"


def test_another_named_scheduler_is_still_refused_by_its_identity(recipe: Recipe, folder: SweepFolder) -> None:
    begun_with(files_of(recipe), folder)
    named = files_of(recipe, scheduler={"median": {}})
    assert as_it_began(named, folder) == (with_experiment(named), "")


def test_a_sweep_begins_goes_on_and_grows_with_one_scheduler(
    recipe: Recipe, ikd_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikd.sweep.driver._Drive._work", lambda self, _: play(self._conductor, recipe, Worker()))
    space = make_space(scheduler="auto", budget={"trials": 50})

    def swept(trials: str) -> str:
        text, training = io.StringIO(), "tests.unit.sweep.fake_training"
        options: dict[str, Any] = {"output": Console(file=text, width=300), "training": training, "trials": trials}
        assert run_sweep(space, recipe=recipe, runner=make_runner(), name="s", **options).exit_status == 0
        return text.getvalue()

    swept("3")
    assert sweep_status("s").files.space.scheduler.kind == "asha", "chosen by the trials of the command, not the file's"
    assert "scheduler asha is kept: s began with it" in swept("+1")
    text = shown(dry_run(space, recipe=recipe, runner=make_runner(), name="s").render())
    assert "asha: grace_epochs 2, " in text
    assert "(as the sweep began)" in text


def test_the_dry_run_says_what_is_chosen_and_why(recipe: Recipe) -> None:
    space = make_space(scheduler="auto", budget={"trials": 50})
    for trials, line in (
        (
            None,
            "stopping none (6 epochs a training, 50 trainings in the budget: from 40 short ones on each may come to ",
        ),
        (
            "8",
            "stopping asha: grace_epochs 2, reduction_factor 3, brackets 1, rungs geometric, first_stage_grace no, by ",
        ),
    ):
        plan = dry_run(space, recipe=recipe, runner=make_runner(), name="new", trials=trials)
        assert line in " ".join(shown(plan.render()).split())
    named = dry_run(make_space(), recipe=recipe, runner=make_runner(), name="new")
    assert "stopping" not in [line.split()[0] for line in shown(named.render()).splitlines() if line.split()]


def test_the_table_of_a_space_says_it_too(recipe: Recipe) -> None:
    text = shown(space_table(files_of(recipe, 50).space, recipe))
    assert "scheduler       none (6 epochs a training, 50 trainings in the budget" in text
