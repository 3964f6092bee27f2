"""Where the pyramids of student and teacher are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Discriminator, Field, Tag

from ikd.config.section import Section


def _word_or_list(value: Any) -> str:
    return "list" if isinstance(value, (list, tuple)) else "word"


ModuleName = Annotated[str, Field(min_length=1)]
Tapped = Annotated[
    Annotated[Literal["auto", "outputs", "encoder"], Tag("word")] | Annotated[tuple[ModuleName, ...], Tag("list")],
    Discriminator(_word_or_list),
]
"""Where a detector is read; a discriminator, so that a wrong word is refused as a word."""


class TapsSection(Section):
    """Where the maps that are compared are read; one word stands for both sides.

    `auto` is the convolution inside each output of the neck, before norm and activation, as published distillers take
    it, where ikd knows it of that neck (FPN and its relatives, RTMDet's, YOLOX's, that of DETRs), and else `outputs`.
    `outputs` is what the neck puts out, or the backbone where there is no neck. `encoder` is what the encoder of a
    transformer makes of these, cut into maps; of a teacher it costs that encoder. A list names modules that give one
    map each, such as `neck.out_convs.0.conv`.
    """

    student: Tapped = "auto"
    """Of the student."""
    teacher: Tapped = "auto"
    """Of the teacher."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_both(cls, value: Any) -> Any:
        if not isinstance(value, (str, Mapping, TapsSection)):
            raise ValueError("must be auto, outputs or encoder, or a mapping of student and teacher to a word or list")
        return {"student": value, "teacher": value} if isinstance(value, str) else value

    def written(self) -> Any:
        """Return the one word where it stands for both sides, as a person and a space write it."""
        return self.student if isinstance(self.student, str) and self.student == self.teacher else self

    @pydantic.field_validator("student", "teacher")
    @classmethod
    def _named_once(cls, value: Any) -> Any:
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise ValueError("must name at least one module, and none twice")
        return value
