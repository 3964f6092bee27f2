"""What a trial counts with in the whole sweep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.config import Objective, Recipe, Runner, SweepFiles
from ikd.errors import BadInput
from ikd.sweep.effects.told import objective
from ikd.sweep.extend import as_it_began
from ikd.sweep.records.trials import Report, TrialRecord, counted, ranked
from ikd.sweep.study.folder import SweepFolder, check_identity, identity, read_files, write_files
from ikd.sweep.study.warm import earlier_records
from tests.unit.sweep.conftest import make_space

NAN = math.nan


def reports(*values: float) -> tuple[Report, ...]:
    return tuple(Report(epoch, {"bbox_mAP": value}, 1.0, epoch) for epoch, value in enumerate(values, 1))


@pytest.mark.parametrize(
    ("values", "last_two", "last", "highest", "lowest"),
    [
        ((0.1, 0.4, 0.2, 0.3), 0.25, 0.3, 0.4, 0.1),
        ((0.1,), 0.1, 0.1, 0.1, 0.1),
        ((0.1, 0.3, NAN), 0.2, 0.3, 0.3, 0.1),
        ((0.1, NAN, 0.3), 0.2, 0.3, 0.3, 0.1),
        ((NAN,), None, None, None, None),
        ((), None, None, None, None),
    ],
)
def test_what_counts_is_said_by_value(
    values: tuple[float, ...], last_two: Any, last: Any, highest: Any, lowest: Any
) -> None:
    for mode, best in (("max", highest), ("min", lowest)):
        found = [counted(reports(*values), Objective(mode=mode, value=one)) for one in ("last_two", "last", "best")]  # type: ignore[arg-type]
        assert found == [None if one is None else pytest.approx(one) for one in (last_two, last, best)]


def test_one_value_ranks_and_teaches() -> None:
    """The one that peaks wins by its best epoch alone."""
    curves = [(0.1, 0.5, 0.1, 0.1), (0.1, 0.2, 0.3, 0.35)]
    for value, winner in (("best", 0), ("last", 1), ("last_two", 1)):
        space = make_space(objective={"value": value})
        records = [
            TrialRecord(n, "", (), {}, True, "", Path(), "finished").with_reports(reports(*one), space.objective)
            for n, one in enumerate(curves)
        ]
        assert ranked(records, "max")[0].number == winner
        assert [objective(space, one) for one in records] == [pytest.approx(100 * (one.metric or 0)) for one in records]
        assert (records[0].best, records[0].best_epoch) == (0.5, 2)


def test_what_another_sweep_tells_counts_as_here() -> None:
    kept = [
        {
            "values": {},
            "state": "finished",
            "fingerprint": "f",
            "reports": {"1": {"bbox_mAP": 0.4}, "2": {"bbox_mAP": 0.2}},
        }
    ]
    found = [earlier_records(kept, Objective(value=value))[0].metric for value in ("best", "last", "last_two")]
    assert found == [0.4, 0.2, pytest.approx(0.3)]


class TestSweepsOfBefore:
    @pytest.fixture
    def folder(self, tmp_path: Path, recipe: Recipe) -> SweepFolder:
        """A sweep whose files do not say what counts."""
        found = SweepFolder("old", tmp_path / "sweeps" / "old")
        found.path.mkdir(parents=True)
        write_files(found, SweepFiles(make_space(), recipe, Runner()))
        content = yaml.safe_load(found.files.read_text())
        assert content["space"]["objective"].pop("value") == "last_two"
        found.files.write_text(yaml.safe_dump(content))
        return found

    def test_they_go_on_by_their_best_epochs(self, folder: SweepFolder, recipe: Recipe) -> None:
        assert read_files(folder).space.objective.value == "best"
        files = SweepFiles(make_space(), recipe, Runner())
        for _ in range(2):  # the first start writes the value down
            found, said = as_it_began(files, folder)
            assert found.space.objective.value == "best"
            assert "objective.value is best: old began with it" in said
            write_files(folder, found)
        assert "value" not in identity(found)["space"]["objective"], "which is the identity that it had"

    def test_a_file_that_says_otherwise_is_refused(self, folder: SweepFolder, recipe: Recipe) -> None:
        before = identity(read_files(folder))
        files = SweepFiles(make_space(objective={"value": "last_two"}), recipe, Runner())
        found, _ = as_it_began(files, folder)
        assert found.space.objective.value == "last_two"
        with pytest.raises(BadInput, match=r"objective\.value: was absent, is now 'last_two'"):
            check_identity("old", before, identity(found))

    def test_a_new_one_keeps_its_own(self, tmp_path: Path, recipe: Recipe) -> None:
        folder = SweepFolder("new", tmp_path / "sweeps" / "new")
        folder.path.mkdir(parents=True)
        files = SweepFiles(make_space(), recipe, Runner())
        write_files(folder, files)
        assert as_it_began(files, folder)[1] == ""
        assert read_files(folder).space.objective.value == "last_two"
