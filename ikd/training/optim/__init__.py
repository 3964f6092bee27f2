"""How weights move: the optimiser and what surrounds it, the schedule of its rate, the average it leaves."""

from ikd.training.optim.average import StudentAverage
from ikd.training.optim.building import STUDENT, check_parts, optim_wrapper, trained_names
from ikd.training.optim.schedules import falling, learning_rate, param_schedulers
from ikd.training.optim.wrapper import ScaledOptimWrapper, TrialOptimWrapper

__all__ = [
    "STUDENT",
    "ScaledOptimWrapper",
    "StudentAverage",
    "TrialOptimWrapper",
    "check_parts",
    "falling",
    "learning_rate",
    "optim_wrapper",
    "param_schedulers",
    "trained_names",
]
