"""What a section is that declares a loss."""

from __future__ import annotations

from typing import ClassVar, Literal

from ikd.config.section import Section

BUILDER_KEYWORDS = ("anchors", "channels", "level", "levels", "reduction", "scale")
"""Keywords of a loss that the builder gives it; no hyperparameter has one of these names."""


class Term(Section):
    """The hyperparameters of one loss: a field each, with default, range and meaning.

    A loss of another package derives from this, says where its module is, and registers the section as an entry point
    of the group `ikd.losses` under the name of the loss; `ikd.distill.check_loss` says what the module must be. The
    section's module is loaded while `ikd.config` is, so it takes only what a section needs from there (`Term`,
    `Weight`, `Positive`, `NonNegative`, `Probability`), imports no torch, and is imported after `ikd.config`.
    """

    reconstruction: ClassVar[bool] = False
    """Built from a paper without public code: its results must not be reported as the authors' own."""
    summed: ClassVar[bool] = False
    """Its weights multiply sums over a map, so that they mean another strength at another input size."""
    between_heads: ClassVar[bool] = False
    """It reads what two heads predict: some hyperparameters act where those meet, not in the loss of one level."""
    reads_maps: ClassVar[bool] = True
    """It compares maps of the pyramids, level by level, by the loss of one level."""
    beside: ClassVar[tuple[str, ...]] = ("enabled",)
    """Fields that are no hyperparameters of the loss: the switch, what says how its maps are made, and when it acts."""
    rises: ClassVar[Literal["", "at once", "linearly"]] = ""
    """How it comes to its weight over the `warmup` steps that begin a stage: none of it during these, or in a line."""
    decodes: ClassVar[bool] = False
    """A decoder of the teacher's maps is trained beside the student, and tells the loss where to look."""
    implementation: ClassVar[str] = ""
    """`module:Class` of the loss, for one of another package; ikd's own stand in `ikd.distill.losses.registry`."""

    @classmethod
    def hyperparameters(cls) -> tuple[str, ...]:
        """Return the names of what the loss is built with: all fields but those `beside` it."""
        return tuple(name for name in cls.model_fields if name not in cls.beside)
