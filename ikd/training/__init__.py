"""Training one recipe: `run_trial`, and what trials share: `prepare`."""

from ikd.ops import install

install()  # before mmdet, which looks for kernels and chatters when it is imported

from ikd.data import DataFiles, data_of  # noqa: E402
from ikd.evaluation import CocoEvaluator  # noqa: E402
from ikd.training.checkpoint import resumable  # noqa: E402
from ikd.training.costs import COSTS, on_test_part  # noqa: E402
from ikd.training.kept.finding import found, stage_there, weights_there  # noqa: E402
from ikd.training.loaders import crafts_online, phases, train_loader, val_loader  # noqa: E402
from ikd.training.model import build_model, build_stage_model  # noqa: E402
from ikd.training.optim import optim_wrapper  # noqa: E402
from ikd.training.prepared import (  # noqa: E402
    Prepared,
    PreparedStage,
    check,
    device_of,
    said_of_levels,
)
from ikd.training.processes import check_processes  # noqa: E402
from ikd.training.rehearsal.timed import timed  # noqa: E402
from ikd.training.run import run_trial  # noqa: E402
from ikd.training.sharing import perturb, perturbed_images, prepare  # noqa: E402
from ikd.training.start import how_to_go_on  # noqa: E402
from ikd.training.teachers.loading import load_teacher, model_config  # noqa: E402
from ikd.training.trial import TrialResult  # noqa: E402
from ikd.training.worker_state import reset  # noqa: E402
from ikd.trial import EpochReport, Report, StopTrial, TrialFolder, TrialOptions, checkpoint_in  # noqa: E402

__all__ = [
    "COSTS",
    "CocoEvaluator",
    "DataFiles",
    "EpochReport",
    "Prepared",
    "PreparedStage",
    "Report",
    "StopTrial",
    "TrialFolder",
    "TrialOptions",
    "TrialResult",
    "build_model",
    "build_stage_model",
    "check",
    "check_processes",
    "checkpoint_in",
    "crafts_online",
    "data_of",
    "device_of",
    "found",
    "how_to_go_on",
    "load_teacher",
    "model_config",
    "on_test_part",
    "optim_wrapper",
    "perturb",
    "perturbed_images",
    "phases",
    "prepare",
    "reset",
    "resumable",
    "run_trial",
    "said_of_levels",
    "stage_there",
    "timed",
    "train_loader",
    "val_loader",
    "weights_there",
]
