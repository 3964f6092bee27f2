"""Every error ikd raises on purpose.

Two families matter to a caller: `BadInput` (the person gave something wrong; exit status 2, nothing was started) and
`JobError` (the input was fine, the work failed; exit status 1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ikd.masking import masked

LONGEST_VALUE = 200
"""Characters of a wrong value that a message shows."""


class IkdError(Exception):
    """Root of all errors raised by ikd; its text names no password, wherever that came from."""

    exit_status = 1

    def __init__(self, *said: object) -> None:
        super().__init__(*(masked(one) if isinstance(one, str) else one for one in said))


class BadInput(IkdError, ValueError):
    """Something a person wrote or named is wrong; nothing was started and nothing was written."""

    exit_status = 2


@dataclass(frozen=True)
class Problem:
    """One fault in an input file.

    Attributes:
        file: the file that holds the fault.
        field: dotted name of the field.
        value: what was found there, as written.
        rule: what would be right.
        line: 1-based line in `file`, or None where the format has no lines.
    """

    file: str
    field: str
    value: object
    rule: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        shown = masked(repr(self.value))  # before it is cut: half a password is no address any more
        shown = shown if len(shown) <= LONGEST_VALUE else shown[:LONGEST_VALUE] + "..."
        got = "" if self.value is None else f", but got {shown}"
        return masked(f"{where}: {self.field}: {self.rule}{got}")


class ConfigError(BadInput):
    """A recipe, search space or runner file is wrong; lists every fault found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # crosses process borders whole


class DataError(BadInput):
    """A data set is unreadable, empty or inconsistent."""


class CheckpointError(BadInput):
    """A checkpoint is unreadable, unsafe, or belongs to another architecture or class list."""


class ClassesError(CheckpointError):
    """A checkpoint is of other classes than the data set's: in number, names or order."""


class JobError(IkdError):
    """The input was fine, the work failed."""


class DiskFull(JobError):
    """A file could not be written for want of space; what stood there before is intact."""

    def __init__(self, path: str, needed: int, free: int) -> None:
        self.path, self.needed, self.free = path, needed, free
        super().__init__(
            f"disk full while writing {path}: need {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB free; "
            "make room, then run the same command again"
        )

    def __reduce__(self) -> tuple[type[DiskFull], tuple[str, int, int]]:
        return type(self), (self.path, self.needed, self.free)


class DataGone(JobError):
    """A data set that was there has vanished, in whole or in part, while it was being read."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"the data set is no longer there: {what}; put it back and go on, what was saved is whole")

    def __reduce__(self) -> tuple[type[DataGone], tuple[str]]:
        return type(self), (self.what,)


class NonFiniteLoss(JobError):
    """A loss became NaN or infinite; raised before the optimiser step, so the weights are still finite.

    Attributes:
        terms: the losses that are not finite.
        epoch: from 1.
        step: in the epoch, from 1.
        cause: what is wrong with the data or the teacher; empty where it is up to weights of losses and rates.
    """

    def __init__(self, terms: Mapping[str, float], epoch: int, step: int, cause: str = "") -> None:
        self.terms, self.epoch, self.step, self.cause = dict(terms), epoch, step, cause
        bad = ", ".join(f"{name}={value}" for name, value in self.terms.items())
        why = cause or "images, boxes and teacher are in order: lower its weight or the learning rate"
        super().__init__(f"non-finite loss in epoch {epoch}, step {step}: {bad}; {why}")

    def __reduce__(self) -> tuple[type[NonFiniteLoss], tuple[dict[str, float], int, int, str]]:
        return type(self), (self.terms, self.epoch, self.step, self.cause)


class UnsupportedKernel(IkdError, NotImplementedError):
    """A detector asks for an mmcv kernel that only the compiled mmcv has."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without its secrets, its type where it has none."""
    return masked((str(error).splitlines() or [type(error).__name__])[0])


def refuse(field: str, rule: str, value: object, hint: str = "") -> NoReturn:
    """Refuse a value that a person gave.

    Raises:
        BadInput: always; names field, rule and value, and the hint where there is one.
    """
    raise BadInput(f"{field}: {rule}, but got {value!r}" + (f"; {hint}" if hint else ""))


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Say in front of what is refused in this block where it stands: a recipe, a field of it, or both.

    Args:
        place: such as `recipe mine: teacher big`. What begins with all of it already is left as it is, and of what
            begins with its first part that is not said twice.
    """
    try:
        yield
    except ConfigError:
        raise  # each of its problems names file and field
    except BadInput as error:
        if str(error).startswith(place):
            raise
        first, between, _ = place.partition(": ")
        raise type(error)(f"{place}: {str(error).removeprefix(first + between)}") from error
