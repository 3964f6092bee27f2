"""The tracker's copy of a sweep, made again from its study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ikd.errors import BadInput, JobError
from ikd.masking import masked
from ikd.sweep.mirror.announce import announce, give_files
from ikd.sweep.mirror.mirror import Mirror
from ikd.sweep.same_data import FINGERPRINT, noted_data
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import COMPLETE, driving, existing_folder, experiment_of, read_files
from ikd.sweep.study.postgres import held
from ikd.tracking import open_tracker

DELIVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Rebuilt:
    """What was said to the tracker.

    Attributes:
        uri: of the tracker, as the runner has it, without its secrets.
        trials: number of runs.
        reports: number of epochs.
    """

    uri: str
    trials: int
    reports: int


def rebuild_tracking(name: str, *, home: Path | None = None, fresh: bool = False) -> Rebuilt:
    """Write a sweep to its tracker again, from the study alone.

    Runs that are there are found and completed; missing ones are made, with the times of the original.

    Args:
        name: of the sweep.
        home: folder that holds `sweeps`; None is the ikd home.
        fresh: delete the runs there are first, for a tracker that holds something wrong. A registered model keeps its
            files, but no longer leads to a run.

    Raises:
        BadInput: there is no such sweep, it is running, or its runner has no tracker.
        JobError: the tracker does not take it all.
    """
    folder = existing_folder(name, home)
    files = read_files(folder)
    uri = files.runner.tracking.uri
    if uri == "none":
        raise BadInput(f"{folder.files}: runner.tracking.uri: must name a tracker to write to, but got 'none'")
    with driving(folder), held(files.runner.study, folder.name):
        study = open_study(folder, files)
        with open_tracker(uri, home=folder.home, folder=folder.path, experiment=experiment_of(files)) as tracker:
            fingerprint = study.notes.get(FINGERPRINT)
            announce(tracker, files, folder, study, fingerprint)
            if fresh:
                tracker.delete_sweep()
                announce(tracker, files, folder, study, fingerprint)
            mirror = Mirror(tracker, files, study, noted_data(study.notes, files.recipe))
            mirror.sweep_data()
            mirror.everything(opened=True)
            mirror.compare(last=True)
            give_files(tracker, files, folder, study.records)
            complete = study.notes.get(COMPLETE) == len(study.records)
            tracker.end_sweep("finished" if complete else "stopped", "" if complete else "not complete")
            if not tracker.flush(DELIVERY_SECONDS):
                raise JobError(f"tracking.uri: {uri} did not take everything; run the same command when it answers")
    return Rebuilt(masked(uri), len(study.records), sum(len(record.reports) for record in study.records))
