"""Training one recipe: `run_trial`, and what trials share: `prepare`."""

from ikd.ops import install

install()  # before mmdet, which looks for kernels and chatters when it is imported

from ikd.training._data import CocoEvaluator, DataFiles  # noqa: E402
from ikd.training._model import build_model, load_teacher, model_config  # noqa: E402
from ikd.training._optim import optim_wrapper  # noqa: E402
from ikd.training._prepare import Prepared, check, device_of, prepare  # noqa: E402
from ikd.training._progress import EpochReport, Report, StopTrial  # noqa: E402
from ikd.training._reset import reset  # noqa: E402
from ikd.training._trial import TrialResult, run_trial  # noqa: E402

__all__ = [
    "CocoEvaluator",
    "DataFiles",
    "EpochReport",
    "Prepared",
    "Report",
    "StopTrial",
    "TrialResult",
    "build_model",
    "check",
    "device_of",
    "load_teacher",
    "model_config",
    "optim_wrapper",
    "prepare",
    "reset",
    "run_trial",
]
