"""Sweeps: a search space is searched by trials that Ray Tune runs and the study remembers."""

from ikd.sweep.driver import SweepResult, run_sweep
from ikd.sweep.planning import DryRun, dry_run
from ikd.sweep.rebuild import Rebuilt, rebuild_tracking
from ikd.sweep.records.pareto import knee, pareto_front
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.status import SweepStatus, best_trial, sweep_status, trial_folder, trials_of
from ikd.sweep.study.folder import stop_sweep, sweep_names
from ikd.sweep.tune.worker import tune_trainable
from ikd.sweep.view.ranking import ranking, wide_console
from ikd.sweep.view.space import space_table

__all__ = [
    "DryRun",
    "Rebuilt",
    "Report",
    "SweepResult",
    "SweepStatus",
    "TrialRecord",
    "best_trial",
    "dry_run",
    "knee",
    "pareto_front",
    "ranking",
    "rebuild_tracking",
    "run_sweep",
    "space_table",
    "stop_sweep",
    "sweep_names",
    "sweep_status",
    "trial_folder",
    "trials_of",
    "tune_trainable",
    "wide_console",
]
