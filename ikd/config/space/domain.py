"""The values that one searched field may take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import pydantic
from pydantic import Field

from ikd.config.paths import from_here
from ikd.config.recipe.recipe import Recipe
from ikd.config.section import Section
from ikd.config.space.conditions import When
from ikd.config.space.search import Factor
from ikd.config.space.sequences import LISTED_SEQUENCES, Sequences

KINDS = {
    "choice": "choice",
    "uniform": "uniform",
    "log_uniform": "log_uniform",
    "int": "integer",
    "log_int": "log_int",
    "sequence": "sequence",
}
"""The kinds of domain as they are written, and their attributes."""
QUANTISED = {"step": ("uniform", "int"), "factor": ("log_uniform", "log_int")}
GRID_VALUES = 100_000
"""More values than this are as good as a continuous range of real numbers."""
WHOLE_LIMIT = 2**53
"""Whole numbers beyond this have no float of their own."""


class Prior(Section):
    """Where good values are expected: model-free draws come from around it, models weigh it less and less."""

    spread: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Standard deviation as a share of the range (in the logarithm for log kinds); of a choice, the share of draws that
    are spread evenly over all values instead of taking the one expected."""
    around: Any = None
    """The value expected; null is the recipe's own."""


EXPECTED_SPREAD, EXPECTED_SPREAD_OF_CHOICES = 0.25, 0.5
"""Of priors around a recipe's own values (`priors: paper`): wide, as those were chosen on other data."""


def _listed(written: Any) -> tuple[Any, ...] | None:
    if written is None or isinstance(written, (list, tuple)):
        return written if written is None else tuple(written)
    raise ValueError("must be a list of values, or a mapping of short names to values")


Choices = Annotated[
    tuple[Any, ...] | None,
    pydantic.PlainValidator(_listed),
    pydantic.PlainSerializer(lambda choice: None if choice is None else list(choice)),
    pydantic.WithJsonSchema(
        {"anyOf": [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}, {"type": "null"}]}
    ),
]


class Domain(Section):
    """The values of one field: exactly one of `choice`, `uniform`, `log_uniform`, `int`, `log_int`, `sequence`."""

    choice: Choices = None
    """Any values of the field, at least one, no two equal; or a mapping of short names to such values."""
    aliases: tuple[str, ...] | None = None
    """Names of the choices, in their order; given by writing `choice` as a mapping."""
    uniform: tuple[float, float] | None = None
    """Lowest and highest value, evenly likely."""
    log_uniform: tuple[float, float] | None = None
    """Lowest and highest value, evenly likely in the logarithm; both above 0."""
    integer: tuple[int, int] | None = Field(default=None, alias="int")
    """Lowest and highest whole number, both included; written `int`."""
    log_int: tuple[int, int] | None = None
    """Lowest and highest whole number, both included, evenly likely in the logarithm; both above 0."""
    sequence: Sequences | None = None
    """Orders of teachers, only for `teachers.sequence`; a loaded space has them as a `choice`."""
    step: Annotated[float, Field(gt=0.0)] | None = None
    """Distance of the values of `uniform` or `int`: low, low + step, ... up to high."""
    factor: Factor | None = None
    """Ratio of the values of `log_uniform` or `log_int`: low, low x factor, ... up to high; whole numbers rounded."""
    prior: Prior | None = None
    """Where good values are expected; null is nowhere in particular."""
    when: When = {}
    """Under which values of other parameters this one exists: parameter -> value, or list of values; all must hold.
    `any` and `all` take lists of conditions, `not` takes one. A value that is a list itself stands in a list, or has a
    short name: `when: {teachers.sequence: [[a, b]]}`."""
    also: tuple[str, ...] = ()
    """Other recipe fields that get the same value, so that one switch may stand for several."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _names_apart(cls, written: Any) -> Any:
        """Part a `choice` that is a mapping of short names to values into the values and their names."""
        if not isinstance(written, dict) or not isinstance(named := written.get("choice"), dict):
            return written
        return {**written, "choice": tuple(named.values()), "aliases": tuple(map(str, named))}

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Domain:
        given = [name for name, attribute in KINDS.items() if getattr(self, attribute) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(KINDS)}, and has {' and '.join(given) or 'none'}")
        for grid, kinds in QUANTISED.items():
            if getattr(self, grid) is not None and given[0] not in kinds:
                raise ValueError(f"{grid} goes with {' or '.join(kinds)}, not with {given[0]}")
        if self.choice is not None:
            self._check_choice(self.choice)
        elif self.sequence is None:
            self._check_range(given[0], *getattr(self, KINDS[given[0]]))
        self._check_aliases()
        return self

    def _check_choice(self, choice: tuple[Any, ...]) -> None:
        if not choice:
            raise ValueError("choice must list at least one value")
        if len(choice) > LISTED_SEQUENCES:
            raise ValueError(f"choice must list at most {LISTED_SEQUENCES} values, and lists {len(choice)}")
        if any(value in choice[:index] for index, value in enumerate(choice)):
            raise ValueError(f"choice must not repeat a value, and is {list(choice)}")
        if any(isinstance(value, float) and not math.isfinite(value) for value in choice):
            raise ValueError(f"choice must list finite numbers, and is {list(choice)}")

    def _check_aliases(self) -> None:
        if self.aliases is None:
            return
        values = self.choice or ()
        if len(self.aliases) != len(values) or len(set(self.aliases)) < len(values):
            raise ValueError("aliases must name every choice, and no two alike; write choice as a mapping of names")
        for name, own in zip(self.aliases, values, strict=True):
            if name in values and own != name:
                raise ValueError(f"the name {name} must not be the value of another choice")

    def _check_range(self, kind: str, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"{kind} must be [low, high] with low below high, and is [{low}, {high}]")
        if kind.startswith("log") and low <= 0:
            raise ValueError(f"{kind} needs a low end above 0, and has {low}")
        if kind.endswith("int"):
            if max(abs(low), abs(high)) > WHOLE_LIMIT:
                raise ValueError(f"{kind} must lie within -2^53 and 2^53, and is [{low}, {high}]")
            if self.step is not None and self.step != round(self.step):
                raise ValueError(f"step of an int must be whole, and is {self.step}")
        elif not math.isfinite(high - low):
            raise ValueError(f"{kind} must not be wider than a float can hold, and is [{low}, {high}]")
        count = self._powers() if self.factor is not None else self.size
        if self.integer is None and (self.log_int is None or self.factor) and GRID_VALUES < count < math.inf:
            raise ValueError(f"step or factor must leave at most {GRID_VALUES} values, and leaves {count:.3g}")

    @property
    def kind(self) -> str:
        """The kind as it is written: `choice`, `uniform`, `log_uniform`, `int`, `log_int` or `sequence`."""
        return next(name for name, attribute in KINDS.items() if getattr(self, attribute) is not None)

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        """Lowest and highest value of a range; None for a choice."""
        return self.uniform or self.log_uniform or self.integer or self.log_int

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a check must try: all choices, or both ends."""
        ends = self.bounds or self.choice
        assert ends is not None, "sequences are a choice in a resolved space"
        return tuple(ends)

    @property
    def size(self) -> float:
        """Number of distinct values; infinite for a continuous range."""
        if self.choice is not None:
            return len(self.choice)
        assert self.bounds is not None, "sequences are a choice in a resolved space"
        low, high = self.bounds
        if self.factor is not None:
            return self._powers() if self.log_int is None else len(self.grid() or ())
        if self.log_int is not None:
            return int(high - low) + 1
        if self.integer is not None:
            return (high - low) // int(self.step or 1) + 1
        return math.floor((high - low) / self.step + 1e-9) + 1 if self.step is not None else math.inf

    def _powers(self) -> int:
        """Return how many times `factor` may be applied from the low end, itself included."""
        assert self.bounds is not None
        assert self.factor is not None
        return math.floor(math.log(self.bounds[1] / self.bounds[0]) / math.log(self.factor) + 1e-9) + 1

    def grid(self) -> Sequence[Any] | None:
        """Return all values, from low to high or in the order of the file; None for a continuous range.

        Steps and factors are taken in decimals, so that 0.1 + 2 x 0.1 is 0.3 and a value has one fingerprint.
        """
        if self.choice is not None:
            return list(self.choice)
        assert self.bounds is not None, "sequences are a choice in a resolved space"
        low, high = self.bounds
        if self.factor is not None:
            start, ratio = Decimal(str(low)), Decimal(str(self.factor))
            values = [min(float(start * ratio**index), high) for index in range(self._powers())]
            return values if self.log_int is None else list(dict.fromkeys(min(high, round(value)) for value in values))
        if self.integer is not None or self.log_int is not None:
            return range(low, high + 1, int(self.step or 1))
        if self.step is None:
            return None
        start, step = Decimal(str(low)), Decimal(str(self.step))
        return [float(start + index * step) for index in range(int(self.size))]

    def alias(self, value: Any) -> str | None:
        """Return the short name of a choice, or None when it has none."""
        named = zip(self.aliases or (), self.choice or (), strict=False)
        return next((name for name, one in named if one == value), None)

    def meant(self, written: Any) -> Any:
        """Return the value that was written, by its short name or as it is."""
        named = dict(zip(self.aliases or (), self.choice or (), strict=False))
        return named.get(written, written) if isinstance(written, str) else written

    def contains(self, value: Any) -> bool:
        """Tell whether a value lies in the domain; between the ends of a quantised range counts too."""
        if self.choice is not None:
            return value in self.choice
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return self.bounds is not None and number and self.bounds[0] <= value <= self.bounds[1]

    def fixed(self, written: Any) -> Domain:
        """Return the domain with one value, given as it is or by its short name."""
        value = self.meant(written)
        name = self.alias(value)
        return Domain(choice=(value,), aliases=None if name is None else (name,), when=self.when, also=self.also)

    def around(self, value: Any) -> Domain:
        """Return a resolved domain that expects good values around one, where it has that and no prior of its own."""
        if self.prior is not None or self.size == 1 or not self.contains(value):
            return self
        spread = EXPECTED_SPREAD if self.choice is None else EXPECTED_SPREAD_OF_CHOICES
        return self.model_copy(update={"prior": Prior(spread=spread, around=value)})

    def resolved(self, name: str, recipe: Recipe) -> Domain:
        """Return the domain of field `name` with `sequence` as the `choice` it stands for, and its prior's centre.

        Paths that a program gave are absolute from here on; those of a file are so already.
        """
        domain = self
        if self.choice is not None:
            domain = self.model_copy(update={"choice": tuple(from_here(name, value) for value in self.choice)})
        if self.sequence is not None:
            ap = {teacher: recipe.teachers.available[teacher].ap for teacher in self.sequence.of}
            domain = self.model_copy(update={"sequence": None, "choice": tuple(self.sequence.listed(ap))})
        if self.prior is None:
            return domain
        centre = self.prior.around
        around = recipe.value(name) if centre is None else from_here(name, domain.meant(centre))
        return domain.model_copy(update={"prior": self.prior.model_copy(update={"around": around})})
