"""What a tracker is told of a sweep as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from ikd.config import Recipe, SweepFiles
from ikd.sweep.mirror.announce import announce
from ikd.sweep.study.folder import sweep_folder
from ikd.tracking import NullTracker, Page
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space


class Told(NullTracker):
    """Remembers the description of the sweep."""

    def start_sweep(
        self, name: str, *, tags: Mapping[str, object], params: Mapping[str, object], page: Page | None = None
    ) -> None:
        self.tags, self.params, self.page = tags, params, page


def test_a_sweep_that_is_extended_changes_no_parameter(recipe: Recipe, open_study: OpenStudy) -> None:
    """MLflow keeps the first value of a parameter, and complains of another one."""
    study, folder, told = open_study(), sweep_folder("s"), []
    for trials in (8, 11):
        tracker = Told()
        files = SweepFiles(make_space(budget={"trials": trials}), recipe, make_runner())
        announce(tracker, files, folder, study)
        told.append((dict(tracker.params), tracker.tags["trials"]))
    (before, first), (after, second) = told
    assert before == after
    assert (first, second) == ("8", "11")
