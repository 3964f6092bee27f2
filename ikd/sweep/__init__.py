"""Sweeps: a search space is searched by trials that Ray Tune runs and the study remembers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ikd.progress import wide_console
    from ikd.sweep.confirm.apart import Gain, gain_between, gain_of, gains_of, objectives_apart, strongest_anchor
    from ikd.sweep.confirm.facts import facts_of, measured, plain_gain
    from ikd.sweep.confirm.front import knee, losses, pareto_front
    from ikd.sweep.confirm.said import points, said_of_gain
    from ikd.sweep.confirm.standing import Configuration, Standing
    from ikd.sweep.driver import SweepResult, run_sweep
    from ikd.sweep.effects.insight import Insight, MainEffect, Pair, Step
    from ikd.sweep.effects.posterior import posterior
    from ikd.sweep.effects.told import objective
    from ikd.sweep.handover import is_tracked, track_files
    from ikd.sweep.look.changes import curve_of
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
    from ikd.sweep.proposals.anchors import anchor_proposals
    from ikd.sweep.rebuild import Rebuilt, rebuild_tracking
    from ikd.sweep.records.ledger import Ledger, ledger
    from ikd.sweep.records.text import duration, percent, readable
    from ikd.sweep.records.trials import ANCHOR_NAMES, Report, TrialRecord, counted, shown_anchors
    from ikd.sweep.same_data import noted_data
    from ikd.sweep.schedulers.rungs import Rung, rungs_of, said_of_stopping
    from ikd.sweep.status import SweepStatus, best_trial, remarks, sweep_status, sweep_statuses, trial_folder, trials_of
    from ikd.sweep.students import checkpoint_of, ended_trial, label
    from ikd.sweep.study.folder import SweepFolder, existing_folder, experiment_of, read_files, stop_sweep, sweep_names
    from ikd.sweep.study.importance import ped_anova
    from ikd.sweep.tune.worker import tune_trainable
    from ikd.sweep.view.ranking import described, ended_how, ranking
    from ikd.sweep.view.space import short_names, short_value, space_table

_HOMES = {
    "ANCHOR_NAMES": "ikd.sweep.records.trials",
    "Comparison": "ikd.sweep.look.sheets",
    "Configuration": "ikd.sweep.confirm.standing",
    "DryRun": "ikd.sweep.planning",
    "Gain": "ikd.sweep.confirm.apart",
    "Insight": "ikd.sweep.effects.insight",
    "Ledger": "ikd.sweep.records.ledger",
    "MainEffect": "ikd.sweep.effects.insight",
    "Pair": "ikd.sweep.effects.insight",
    "Rebuilt": "ikd.sweep.rebuild",
    "Report": "ikd.sweep.records.trials",
    "Rung": "ikd.sweep.schedulers.rungs",
    "Standing": "ikd.sweep.confirm.standing",
    "Step": "ikd.sweep.effects.insight",
    "SweepFolder": "ikd.sweep.study.folder",
    "SweepResult": "ikd.sweep.driver",
    "SweepStatus": "ikd.sweep.status",
    "TrialRecord": "ikd.sweep.records.trials",
    "TrialSheet": "ikd.sweep.look.sheets",
    "anchor_proposals": "ikd.sweep.proposals.anchors",
    "best_trial": "ikd.sweep.status",
    "checkpoint_of": "ikd.sweep.students",
    "counted": "ikd.sweep.records.trials",
    "curve_of": "ikd.sweep.look.changes",
    "described": "ikd.sweep.view.ranking",
    "experiment_of": "ikd.sweep.study.folder",
    "dry_run": "ikd.sweep.planning",
    "duration": "ikd.sweep.records.text",
    "ended_how": "ikd.sweep.view.ranking",
    "ended_trial": "ikd.sweep.students",
    "existing_folder": "ikd.sweep.study.folder",
    "facts_of": "ikd.sweep.confirm.facts",
    "gain_between": "ikd.sweep.confirm.apart",
    "gain_of": "ikd.sweep.confirm.apart",
    "gains_of": "ikd.sweep.confirm.apart",
    "is_tracked": "ikd.sweep.handover",
    "knee": "ikd.sweep.confirm.front",
    "label": "ikd.sweep.students",
    "ledger": "ikd.sweep.records.ledger",
    "losses": "ikd.sweep.confirm.front",
    "measured": "ikd.sweep.confirm.facts",
    "noted_data": "ikd.sweep.same_data",
    "objective": "ikd.sweep.effects.told",
    "objectives_apart": "ikd.sweep.confirm.apart",
    "pareto_front": "ikd.sweep.confirm.front",
    "ped_anova": "ikd.sweep.study.importance",
    "percent": "ikd.sweep.records.text",
    "picture_trial": "ikd.sweep.pictures.trial",
    "plain_comparison": "ikd.sweep.look.plain",
    "plain_gain": "ikd.sweep.confirm.facts",
    "plain_sheet": "ikd.sweep.look.plain",
    "plain_status": "ikd.sweep.look.plain",
    "plain_sweep": "ikd.sweep.look.plain",
    "plain_trial": "ikd.sweep.look.plain",
    "plain_trial_sheet": "ikd.sweep.look.plain",
    "points": "ikd.sweep.confirm.said",
    "posterior": "ikd.sweep.effects.posterior",
    "ranking": "ikd.sweep.view.ranking",
    "read_files": "ikd.sweep.study.folder",
    "readable": "ikd.sweep.records.text",
    "rebuild_tracking": "ikd.sweep.rebuild",
    "remarks": "ikd.sweep.status",
    "run_sweep": "ikd.sweep.driver",
    "rungs_of": "ikd.sweep.schedulers.rungs",
    "said_of_gain": "ikd.sweep.confirm.said",
    "said_of_stopping": "ikd.sweep.schedulers.rungs",
    "short_names": "ikd.sweep.view.space",
    "short_value": "ikd.sweep.view.space",
    "shown_anchors": "ikd.sweep.records.trials",
    "show_in_tracker": "ikd.sweep.pages",
    "space_table": "ikd.sweep.view.space",
    "stop_sweep": "ikd.sweep.study.folder",
    "strongest_anchor": "ikd.sweep.confirm.apart",
    "sweep_names": "ikd.sweep.study.folder",
    "sweep_sheet": "ikd.sweep.look.sheets",
    "sweep_status": "ikd.sweep.status",
    "sweep_statuses": "ikd.sweep.status",
    "sweeps_table": "ikd.sweep.look.sheets",
    "track_files": "ikd.sweep.handover",
    "trial_folder": "ikd.sweep.status",
    "trial_of": "ikd.sweep.look.sheets",
    "trials_of": "ikd.sweep.status",
    "tune_trainable": "ikd.sweep.tune.worker",
    "wide_console": "ikd.progress",
}

__all__ = [
    "ANCHOR_NAMES",
    "Comparison",
    "Configuration",
    "DryRun",
    "Gain",
    "Insight",
    "Ledger",
    "MainEffect",
    "Pair",
    "Rebuilt",
    "Report",
    "Rung",
    "Standing",
    "Step",
    "SweepFolder",
    "SweepResult",
    "SweepStatus",
    "TrialRecord",
    "TrialSheet",
    "anchor_proposals",
    "best_trial",
    "checkpoint_of",
    "counted",
    "curve_of",
    "described",
    "dry_run",
    "duration",
    "ended_how",
    "ended_trial",
    "existing_folder",
    "experiment_of",
    "facts_of",
    "gain_between",
    "gain_of",
    "gains_of",
    "is_tracked",
    "knee",
    "label",
    "ledger",
    "losses",
    "measured",
    "noted_data",
    "objective",
    "objectives_apart",
    "pareto_front",
    "ped_anova",
    "percent",
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
    "readable",
    "rebuild_tracking",
    "remarks",
    "run_sweep",
    "rungs_of",
    "said_of_gain",
    "said_of_stopping",
    "short_names",
    "short_value",
    "show_in_tracker",
    "shown_anchors",
    "space_table",
    "stop_sweep",
    "strongest_anchor",
    "sweep_names",
    "sweep_sheet",
    "sweep_status",
    "sweep_statuses",
    "sweeps_table",
    "track_files",
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
