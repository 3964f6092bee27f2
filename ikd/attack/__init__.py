"""Adversarial copies of the training images: the attack on the teacher, and the store of what it finds."""

from ikd.attack._difgsm import DIFGSM
from ikd.attack._generate import generate, perturbation_key
from ikd.attack._images import TrainingImages
from ikd.attack._losses import classification_loss
from ikd.attack._store import PerturbationStore

__all__ = ["DIFGSM", "PerturbationStore", "TrainingImages", "classification_loss", "generate", "perturbation_key"]
