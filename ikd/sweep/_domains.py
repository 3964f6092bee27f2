"""A search space's domains as Optuna distributions, and as plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ikd.config import Domain, SearchSpace


def distribution_of(domain: Domain) -> BaseDistribution:
    """Return the Optuna distribution of a domain."""
    if domain.choice is not None:
        return CategoricalDistribution([label(value) for value in domain.choice])
    if domain.integer is not None:
        low, high = domain.integer
        step = int(domain.step or 1)
        return IntDistribution(low, low + (high - low) // step * step, step=step)
    if domain.log_uniform is not None:
        return FloatDistribution(*domain.log_uniform, log=True)
    assert domain.uniform is not None
    low_end, high_end = domain.uniform
    if domain.step is not None:  # Optuna wants the high end on the grid
        high_end = on_grid(domain, int(domain.size) - 1)
    return FloatDistribution(low_end, high_end, step=domain.step)


def on_grid(domain: Domain, index: int) -> float:
    """Return a value of a stepped range, in decimals: 0.1 + 2 x 0.1 is 0.3 and has one fingerprint."""
    assert domain.uniform is not None
    assert domain.step is not None
    return float(Decimal(str(domain.uniform[0])) + index * Decimal(str(domain.step)))


def label(value: Any) -> bool | int | float | str | None:
    """Return a choice as the study stores it: plain values as they are, lists and mappings as JSON."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value, sort_keys=True)


def point(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study's parameters for recipe values: choices are `label`ed, fields of no parameter left out."""
    return {
        name: label(value) if space.parameters[name].choice is not None else value
        for name, value in values.items()
        if name in space.parameters
    }


def distributions(space: SearchSpace, names: Sequence[str]) -> dict[str, BaseDistribution]:
    """Return the distributions of some parameters."""
    return {name: distribution_of(space.parameters[name]) for name in names}


def contains(domain: Domain, value: Any) -> bool:
    """Tell whether a value lies in a domain."""
    if domain.choice is not None:
        return value in domain.choice
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    distribution = distribution_of(domain)
    return distribution._contains(float(value))


def as_chosen(domain: Domain, value: Any) -> Any:
    """Return the choice that means `value`, else `value` in its shortest form: a stage of its own may be a name."""
    short = _short(value)
    return next((one for one in domain.choice or () if _short(one) == short), short)


def _short(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    stages = [{k: v for k, v in one.items() if v} if isinstance(one, Mapping) else one for one in value]
    return [one["teacher"] if isinstance(one, Mapping) and set(one) == {"teacher"} else one for one in stages]


def configurations(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Yield every configuration of a finite space, switched-off parameters left out."""

    def walk(names: tuple[str, ...], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield values
            return
        if not space.is_active(names[0], values):
            yield from walk(names[1:], values)
            return
        for value in _grid(space.parameters[names[0]]):
            yield from walk(names[1:], {**values, names[0]: value})

    yield from walk(space.ordered(), {})


def _grid(domain: Domain) -> Iterator[Any]:
    if domain.choice is not None:
        return iter(domain.choice)
    if domain.integer is not None:
        return iter(range(domain.integer[0], domain.integer[1] + 1, int(domain.step or 1)))
    return (on_grid(domain, index) for index in range(int(domain.size)))
