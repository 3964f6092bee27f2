"""Pictures of one trial of a sweep."""

from __future__ import annotations

from ikd.home import at_home
from ikd.pictures import Painter, Pictured
from ikd.sweep.same_data import noted_data
from ikd.sweep.status import SweepStatus
from ikd.sweep.students import checkpoint_of, ended_trial
from ikd.trial import NotifyOf


def picture_trial(
    status: SweepStatus, number: int, *, painter: Painter | None = None, progress: NotifyOf | None = None
) -> Pictured:
    """Make the pictures of a trial, in its folder; see `ikd.pictures`.

    Args:
        status: of its sweep.
        number: of the trial.
        painter: that has looked at teachers of other trials before.
        progress: told what is done, and how much of it.

    Raises:
        BadInput: the trial has no student, or its data are not there or others; names what would be right.
    """
    record = ended_trial(status, number)
    checkpoint, recipe = checkpoint_of(status, record), status.recipe_of(record)
    with at_home(status.directory.parents[1]):
        return (painter or Painter()).paint(
            recipe, checkpoint, base=status.files.recipe, known=noted_data(status.notes, recipe), progress=progress
        )
