"""Sweeps: a search space is searched by trials that Ray Tune runs and the study remembers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.progress import wide_console
    from ikd.sweep.confirm.apart import Gain, gain_of, gains_of, strongest_anchor
    from ikd.sweep.confirm.facts import facts_of, plain_gain
    from ikd.sweep.confirm.front import knee, pareto_front
    from ikd.sweep.confirm.said import points, said_of_gain
    from ikd.sweep.confirm.standing import Configuration, Standing
    from ikd.sweep.driver import SweepResult, run_sweep
    from ikd.sweep.effects.posterior import posterior
    from ikd.sweep.look.plain import (
        plain_comparison,
        plain_sheet,
        plain_status,
        plain_sweep,
        plain_trial,
        plain_trial_sheet,
    )
    from ikd.sweep.look.sheets import Comparison, TrialSheet, sweep_sheet, sweeps_table, trial_of
    from ikd.sweep.pages import show_in_tracker
    from ikd.sweep.pictures.trial import picture_trial
    from ikd.sweep.planning import DryRun, dry_run
    from ikd.sweep.rebuild import Rebuilt, rebuild_tracking
    from ikd.sweep.records.trials import Report, TrialRecord
    from ikd.sweep.same_data import noted_data
    from ikd.sweep.status import SweepStatus, best_trial, sweep_status, sweep_statuses, trial_folder, trials_of
    from ikd.sweep.students import checkpoint_of, ended_trial, label
    from ikd.sweep.study.folder import SweepFolder, existing_folder, experiment_of, read_files, stop_sweep, sweep_names
    from ikd.sweep.tune.worker import tune_trainable
    from ikd.sweep.view.ranking import ranking
    from ikd.sweep.view.space import space_table

_HOMES = {
    "Gain": "ikd.sweep.confirm.apart",
    "gain_of": "ikd.sweep.confirm.apart",
    "gains_of": "ikd.sweep.confirm.apart",
    "plain_gain": "ikd.sweep.confirm.facts",
    "plain_trial": "ikd.sweep.look.plain",
    "points": "ikd.sweep.confirm.said",
    "said_of_gain": "ikd.sweep.confirm.said",
    "strongest_anchor": "ikd.sweep.confirm.apart",
    "Configuration": "ikd.sweep.confirm.standing",
    "Standing": "ikd.sweep.confirm.standing",
    "Comparison": "ikd.sweep.look.sheets",
    "TrialSheet": "ikd.sweep.look.sheets",
    "plain_comparison": "ikd.sweep.look.plain",
    "plain_sheet": "ikd.sweep.look.plain",
    "plain_status": "ikd.sweep.look.plain",
    "plain_sweep": "ikd.sweep.look.plain",
    "plain_trial_sheet": "ikd.sweep.look.plain",
    "sweep_sheet": "ikd.sweep.look.sheets",
    "sweep_statuses": "ikd.sweep.status",
    "sweeps_table": "ikd.sweep.look.sheets",
    "trial_of": "ikd.sweep.look.sheets",
    "DryRun": "ikd.sweep.planning",
    "Rebuilt": "ikd.sweep.rebuild",
    "SweepFolder": "ikd.sweep.study.folder",
    "Report": "ikd.sweep.records.trials",
    "SweepResult": "ikd.sweep.driver",
    "SweepStatus": "ikd.sweep.status",
    "TrialRecord": "ikd.sweep.records.trials",
    "best_trial": "ikd.sweep.status",
    "existing_folder": "ikd.sweep.study.folder",
    "checkpoint_of": "ikd.sweep.students",
    "experiment_of": "ikd.sweep.study.folder",
    "dry_run": "ikd.sweep.planning",
    "ended_trial": "ikd.sweep.students",
    "facts_of": "ikd.sweep.confirm.facts",
    "label": "ikd.sweep.students",
    "knee": "ikd.sweep.confirm.front",
    "noted_data": "ikd.sweep.same_data",
    "pareto_front": "ikd.sweep.confirm.front",
    "read_files": "ikd.sweep.study.folder",
    "picture_trial": "ikd.sweep.pictures.trial",
    "posterior": "ikd.sweep.effects.posterior",
    "ranking": "ikd.sweep.view.ranking",
    "rebuild_tracking": "ikd.sweep.rebuild",
    "run_sweep": "ikd.sweep.driver",
    "show_in_tracker": "ikd.sweep.pages",
    "space_table": "ikd.sweep.view.space",
    "stop_sweep": "ikd.sweep.study.folder",
    "sweep_names": "ikd.sweep.study.folder",
    "sweep_status": "ikd.sweep.status",
    "trial_folder": "ikd.sweep.status",
    "trials_of": "ikd.sweep.status",
    "tune_trainable": "ikd.sweep.tune.worker",
    "wide_console": "ikd.progress",
}

__all__ = [
    "Comparison",
    "Configuration",
    "DryRun",
    "Gain",
    "Rebuilt",
    "Report",
    "Standing",
    "SweepFolder",
    "SweepResult",
    "SweepStatus",
    "TrialRecord",
    "TrialSheet",
    "best_trial",
    "checkpoint_of",
    "dry_run",
    "ended_trial",
    "existing_folder",
    "experiment_of",
    "facts_of",
    "gain_of",
    "gains_of",
    "knee",
    "label",
    "noted_data",
    "pareto_front",
    "picture_trial",
    "plain_comparison",
    "plain_gain",
    "plain_sheet",
    "plain_status",
    "plain_sweep",
    "plain_trial",
    "plain_trial_sheet",
    "points",
    "posterior",
    "ranking",
    "read_files",
    "rebuild_tracking",
    "run_sweep",
    "said_of_gain",
    "show_in_tracker",
    "space_table",
    "stop_sweep",
    "strongest_anchor",
    "sweep_names",
    "sweep_sheet",
    "sweep_status",
    "sweep_statuses",
    "sweeps_table",
    "trial_folder",
    "trial_of",
    "trials_of",
    "tune_trainable",
    "wide_console",
]


def __getattr__(name: str) -> Any:
    """Import on first use: showing a status must not load what runs and samples."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ikd.sweep' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
