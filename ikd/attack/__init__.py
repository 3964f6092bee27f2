"""Adversarial copies of the training images: the attack on the teacher, and the store of what it finds."""

from ikd.attack.asked import attack_of, attacked_at_once
from ikd.attack.before import adopt
from ikd.attack.crafting import generate, measured_on, perturbation_key
from ikd.attack.difgsm import DIFGSM
from ikd.attack.images import TrainingImages, open_dataset
from ikd.attack.losses import classification_loss
from ikd.attack.online import adversarial_copies
from ikd.attack.room import Hold, make_room, touch
from ikd.attack.settings import AttackSettings
from ikd.attack.store import PerturbationStore

__all__ = [
    "DIFGSM",
    "AttackSettings",
    "Hold",
    "PerturbationStore",
    "TrainingImages",
    "adopt",
    "adversarial_copies",
    "attack_of",
    "attacked_at_once",
    "classification_loss",
    "generate",
    "make_room",
    "measured_on",
    "open_dataset",
    "perturbation_key",
    "touch",
]
