"""What happens in a training beside its steps: seeds, adversarial copies, prototypes, reports."""

from ikd.training.hooks.average import AverageHook
from ikd.training.hooks.instances import instances_of
from ikd.training.hooks.prototypes import PrototypeHook
from ikd.training.hooks.rise import RiseHook
from ikd.training.hooks.sizes import SizeHook
from ikd.training.hooks.trial import CraftHook, EpochHook, HoldHook, PlaceHook, ReportHook, altering_rule

__all__ = [
    "AverageHook",
    "CraftHook",
    "EpochHook",
    "HoldHook",
    "PlaceHook",
    "PrototypeHook",
    "ReportHook",
    "RiseHook",
    "SizeHook",
    "altering_rule",
    "instances_of",
]
