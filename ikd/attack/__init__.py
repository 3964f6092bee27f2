"""Adversarial copies of the training images: the attack on the teacher, and the store of what it finds."""

from ikd.attack.crafting import generate, limit_of, perturbation_key
from ikd.attack.difgsm import DIFGSM
from ikd.attack.images import TrainingImages
from ikd.attack.losses import classification_loss
from ikd.attack.online import adversarial_copies
from ikd.attack.room import Hold, make_room, touch
from ikd.attack.store import PerturbationStore

__all__ = [
    "DIFGSM",
    "Hold",
    "PerturbationStore",
    "TrainingImages",
    "adversarial_copies",
    "classification_loss",
    "generate",
    "limit_of",
    "make_room",
    "perturbation_key",
    "touch",
]
