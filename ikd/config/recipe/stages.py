"""Teacher sequences: where their stages end, and how tables write them."""

from __future__ import annotations

from collections.abc import Mapping

from ikd.config.recipe.sections import RecipeSections

STAGE_FIELDS = ("distill.", "adversarial.", "augment.")
"""What a stage may set for itself: everything else belongs to the student or to the whole training."""

OF_ALL = tuple(
    f"distill.{name}"
    for name in (
        "agreement.",
        "confidence",
        "labels.",
        "me.",
        "measure_gradients",
        "stop_fraction",
        "teacher_precision",
    )
)
"""What of `distill` teachers at once have in common."""

SEQUENCE, TOGETHER = "teachers.sequence", "teachers.together"


def sequence_text(value: object, field: str = SEQUENCE, *, together: bool = False) -> str | None:
    """Write a teacher sequence as tables do, `r101 -> x101`, with shares `r101 (0.3) -> x101`; None for another value.

    Args:
        value: plain.
        field: whose value it is, by dotted name: names in a list are teachers in `teachers.sequence` alone.
        together: they teach at once, `r101 + x101`.
    """
    if not field.endswith(SEQUENCE) or not isinstance(value, (list, tuple)) or not value:
        return None
    stages = [{"teacher": entry} if isinstance(entry, str) else entry for entry in value]
    if not all(isinstance(stage, Mapping) and "teacher" in stage for stage in stages):
        return None
    shares = [f" ({stage['share']:g})" if stage.get("share") is not None else "" for stage in stages]
    return (" + " if together else " -> ").join(
        f"{stage['teacher']}{share}" for stage, share in zip(stages, shares, strict=True)
    )


def stage_ends(recipe: RecipeSections) -> list[int]:
    """Return the last epoch of each stage; shares are rounded to whole epochs where they add up."""
    stages, total = recipe.teachers.stages, recipe.total_epochs
    if len(stages) < 2 or recipe.teachers.at_once:
        return [total]
    shares = recipe.teachers.shares
    return [round(sum(shares[: index + 1]) / sum(shares) * total) for index in range(len(stages))]
