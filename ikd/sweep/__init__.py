"""Sweeps: a search space is searched by trials that Ray Tune runs and the study remembers."""

from ikd.sweep._driver import SweepResult, run_sweep
from ikd.sweep._dry_run import DryRun, dry_run
from ikd.sweep._folder import stop_sweep, sweep_names
from ikd.sweep._pareto import knee, pareto_front
from ikd.sweep._rebuild import Rebuilt, rebuild_tracking
from ikd.sweep._records import Report, TrialRecord
from ikd.sweep._space_table import space_table
from ikd.sweep._status import SweepStatus, best_trial, sweep_status, trial_folder, trials_of
from ikd.sweep._table import ranking, wide_console
from ikd.sweep._worker import tune_trainable

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
