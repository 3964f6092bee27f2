"""The attack that a recipe asks for."""

from __future__ import annotations

from ikd.attack.crafting import limit_of
from ikd.attack.difgsm import DIFGSM
from ikd.config import Recipe


def attack_of(recipe: Recipe) -> DIFGSM:
    """Return the attack of a recipe.

    Raises:
        BadInput: a strength that whole grey levels cannot hold.
    """
    settings = recipe.attack
    attack = DIFGSM(
        eps=settings.eps,
        step=min(settings.step, settings.eps),  # eps 0 is no attack at all
        steps=settings.steps,
        momentum=settings.momentum,
        diversity_probability=settings.diversity.probability,
        diversity_min_scale=settings.diversity.min_scale,
        loss=settings.loss,
        published=settings.published,
        seed=settings.seed,
    )
    limit_of(attack)
    return attack


def attacked_at_once(recipe: Recipe) -> int:
    """Return the number of images of a batch under attack; the published attack takes each alone."""
    return 1 if recipe.attack.published else recipe.attack.batch_size
