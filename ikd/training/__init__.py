"""Training one recipe: `run_trial`, and what trials share: `prepare`."""

from ikd.training._data import CocoEvaluator, DataFiles
from ikd.training._model import build_model, load_teacher, model_config
from ikd.training._optim import optim_wrapper
from ikd.training._prepare import Prepared, device_of, prepare
from ikd.training._progress import EpochReport, Report, StopTrial
from ikd.training._reset import reset
from ikd.training._trial import TrialResult, run_trial

__all__ = [
    "CocoEvaluator",
    "DataFiles",
    "EpochReport",
    "Prepared",
    "Report",
    "StopTrial",
    "TrialResult",
    "build_model",
    "device_of",
    "load_teacher",
    "model_config",
    "optim_wrapper",
    "prepare",
    "reset",
    "run_trial",
]
