"""A driver that dies in a known window, without Ray: what the next one finds is finished, and nothing else changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from ikd.config import Objective, Recipe, load_recipe
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.study import SweepStudy
from tests.unit.sweep.conftest import OpenStudy, make_space
from tests.unit.sweep.player import Death, Worker, conduct, play

SPACE = make_space(budget={"trials": 6}, scheduler={"asha": {"grace_epochs": 1}})
# the write before which the driver dies: method, start of its key, and at which such write
WINDOWS = {
    "before a trial is written": ("create_new_trial", "", 3),
    "between trial created and started": ("set_trial_user_attr", "starts", 3),
    "between start counted and state told": ("set_trial_state_values", "RUNNING", 3),
    "before the first report": ("set_trial_user_attr", "report:1", 3),
    "between a report and its value": ("set_trial_intermediate_value", "", 9),
    "between report and clock": ("set_study_user_attr", "wall_seconds", 9),
    "before an end is noted": ("set_trial_user_attr", "end", 3),
    "between end noted and told: finished": ("set_trial_state_values", "COMPLETE", 2),
    "between end noted and told: stopped": ("set_trial_state_values", "PRUNED", 1),
}


def die_before(monkeypatch: pytest.MonkeyPatch, method: str, key: str, nth: int) -> list[str]:
    """Let the storage's `nth` write of this kind be the driver's death; return what was written before, growing."""
    call, written, left = getattr(RDBStorage, method), list[str](), [nth]

    def dying(storage: RDBStorage, owner: int, *arguments: Any, **keywords: Any) -> Any:
        name = str(getattr(arguments[0], "name", arguments[0])) if arguments else ""
        if name.startswith(key):
            left[0] -= 1
            if left[0] == 0:
                raise Death
        written.append(name)
        return call(storage, owner, *arguments, **keywords)

    monkeypatch.setattr(RDBStorage, method, dying)
    return written


def story(study: SweepStudy, folder: Path) -> list[tuple[Any, ...]]:
    """Return what was decided, and what Optuna was told; times and attempts are left out."""
    told = optuna.load_study(study_name="s", storage=f"sqlite:///{folder / 'study.db'}").trials
    return [
        (
            record.number, repr(record.values), record.state, record.reason, record.metric, record.best_epoch,
            [(one.epoch, repr(one.metrics), one.order) for one in record.reports],
            trial.state, trial.values, trial.params, trial.distributions, trial.intermediate_values,
        )
        for record, trial in zip(study.records, told, strict=True)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(empty_study: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    folder, recipe = tmp_path_factory.mktemp("undisturbed"), load_recipe("drawn_r18")
    shutil.copy(empty_study, folder / "study.db")
    study = SweepStudy(open_storage(folder, "sqlite"), "s", folder, objective=Objective())
    play(conduct(SPACE, recipe, study), recipe, Worker())
    assert {record.state for record in study.records} == {"finished", "stopped"}
    return story(study, folder)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_death_in_a_window_changes_nothing(
    window: str, open_study: OpenStudy, recipe: Recipe, undisturbed: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    worker = Worker()
    with pytest.MonkeyPatch.context() as patched:
        die_before(patched, *WINDOWS[window])
        with pytest.raises(Death):
            play(conduct(SPACE, recipe, open_study()), recipe, worker)
    study = open_study()
    play(conduct(SPACE, recipe, study), recipe, worker)
    assert story(study, tmp_path) == undisturbed
    assert len(set(worker.trained)) == len(worker.trained), "no epoch was trained twice"
