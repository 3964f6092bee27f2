"""Training one recipe: `run_trial`, and what trials share: `prepare`."""

from ikd.ops import install

install()  # before mmdet, which looks for kernels and chatters when it is imported

from ikd.training._checkpoint import resumable  # noqa: E402
from ikd.training._costs import COSTS  # noqa: E402
from ikd.training._data import CocoEvaluator, DataFiles  # noqa: E402
from ikd.training._model import build_model, load_teacher, model_config  # noqa: E402
from ikd.training._optim import optim_wrapper  # noqa: E402
from ikd.training._prepare import Prepared, check, device_of, prepare  # noqa: E402
from ikd.training._processes import check_processes  # noqa: E402
from ikd.training._progress import EpochReport, Report, StopTrial  # noqa: E402
from ikd.training._reset import reset  # noqa: E402
from ikd.training._trial import SweepOptions, TrialResult, run_trial  # noqa: E402

__all__ = [
    "COSTS",
    "CocoEvaluator",
    "DataFiles",
    "EpochReport",
    "Prepared",
    "Report",
    "StopTrial",
    "SweepOptions",
    "TrialResult",
    "build_model",
    "check",
    "check_processes",
    "device_of",
    "load_teacher",
    "model_config",
    "optim_wrapper",
    "prepare",
    "reset",
    "resumable",
    "run_trial",
]
