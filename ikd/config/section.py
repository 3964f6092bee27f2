"""The base of every configuration class, and the translation of its errors into `Problem`s."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic import Field

from ikd.config.document import Document, Location
from ikd.errors import ConfigError, Problem

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class LossWeight:
    """Marks a field that scales a term and leaves every module as it is: it may change in the middle of a training."""


Weight = Annotated[float, Field(ge=0.0), LossWeight()]

SectionType = TypeVar("SectionType", bound="Section")


class Section(pydantic.BaseModel):
    """A frozen group of fields. Unknown fields, wrong types, NaN and infinities are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def written(self) -> Any:
        """Return what a person writes for it, where that is shorter than its fields."""
        return self

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _list_for_tuple(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Take a list where a tuple is meant, from a program as from a file; sets have no order and stay errors."""
        if not isinstance(value, list):  # nearly all: a recipe is validated for every proposal
            return value
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = (
            getattr(one, "__origin__", one) if hasattr(one, "__metadata__") else one for one in get_args(annotation)
        )
        meant = [one for one in (annotation, *kinds) if get_origin(one) is tuple]
        if not meant:
            return value
        nested = any(get_origin(inner) is tuple for one in meant for inner in get_args(one))
        return tuple(tuple(one) if nested and isinstance(one, list) else one for one in value)


def validate(cls: type[SectionType], document: Document) -> SectionType:
    """Build `cls` from a parsed file.

    Raises:
        ConfigError: lists every fault with file, line, field, value and rule.
    """
    try:
        # JSON mode names what a file holds: an array, an object, where Python mode would say tuple, dictionary.
        return cls.model_validate_json(json.dumps(document.data, default=str))
    except pydantic.ValidationError as error:
        raise ConfigError(_problems(cls, document, [dict(fault) for fault in error.errors()])) from error


def plain(value: Any) -> Any:
    """Return a field's value as JSON has it: mappings, lists, texts and numbers."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _problems(cls: type[Section], document: Document, faults: list[dict[str, Any]]) -> list[Problem]:
    """Return a fault for each place: of a value that may be of several kinds, what each of them would want.

    Where one of the kinds fits and only something inside is wrong, the others have nothing to say.
    """
    places = [_written(document, fault["loc"]) for fault in faults]
    of_kinds = [len(place) < len(fault["loc"]) for place, fault in zip(places, faults, strict=True)]
    inner = [place for place, of_kind in zip(places, of_kinds, strict=True) if of_kind]
    found: dict[Location, Problem] = {}
    for place, of_kind, fault in zip(places, of_kinds, faults, strict=True):
        if of_kind and any(len(one) > len(place) and one[: len(place)] == place for one in inner):
            continue
        problem = _problem(cls, document, fault)
        same = found.get(place) if of_kind else None
        if same is not None and problem.rule not in same.rule.split(", or "):
            problem = dataclasses.replace(same, rule=f"{same.rule}, or {problem.rule}")
        found[place] = problem
    return list(found.values())


def _problem(cls: type[Section], document: Document, fault: Mapping[str, Any]) -> Problem:
    location = _written(document, fault["loc"])
    if fault["type"] == "extra_forbidden":
        return document.problem(location, None, "is not a field here" + _nearest(cls, location))
    if fault["type"] == "missing":
        return document.problem(location, None, "is required")
    value = plain(fault.get("input"))
    # What would be right, in the words of the person's file rather than of the validator.
    text = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return document.problem(location, None if isinstance(value, dict) else value, text[:1].lower() + text[1:])


def _written(document: Document, location: tuple[str | int, ...]) -> Location:
    """Drop the union-member names that pydantic adds to a location; the file never contains them."""
    kept: list[str | int] = []
    node: Any = document.data
    for index, part in enumerate(location):
        inside = (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int))
        if inside:
            node = node[part] if not isinstance(part, int) or part < len(node) else None
            kept.append(part)
        elif index == len(location) - 1 and isinstance(node, dict) and isinstance(part, str) and part.isidentifier():
            kept.append(part)
    return tuple(kept)


def _nearest(cls: type[Section], location: Location) -> str:
    """Suggest the field that was probably meant."""
    owners: list[Any] = [cls]
    for part in location[:-1]:
        owners = [member for owner in owners for below in _below(owner, part) for member in _members(below)]
    sections = [owner for owner in owners if isinstance(owner, type) and issubclass(owner, Section)]
    names = list(dict.fromkeys(name for section in sections for name in section.model_fields))
    found = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; the fields are {', '.join(names)}" if names else ""


def _below(owner: Any, part: str | int) -> list[Any]:
    """Return what `part` of an annotation is annotated with: a field, a value under a free key, an element."""
    if isinstance(owner, type) and issubclass(owner, Section):
        return [owner.model_fields[str(part)].annotation] if part in owner.model_fields else []
    if get_origin(owner) is dict:
        return [get_args(owner)[1]]
    return [get_args(owner)[0]] if get_origin(owner) in (list, tuple) and isinstance(part, int) else []


def _members(annotation: Any) -> list[Any]:
    """Return the kinds that a value may be of, each without its marks."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for one in get_args(annotation) for member in _members(one)]
    return [annotation]
