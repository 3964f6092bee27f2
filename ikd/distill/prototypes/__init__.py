"""Global Knowledge: prototypes that both spaces share, and what is distilled by them."""

from ikd.distill.prototypes.choosing import Choice, choose, hyperparameters
from ikd.distill.prototypes.relation import Prototypes, pooled
from ikd.distill.prototypes.term import PrototypeTerm

__all__ = ["Choice", "PrototypeTerm", "Prototypes", "choose", "hyperparameters", "pooled"]
