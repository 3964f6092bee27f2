"""A search space as a table for people: what varies, when, around which value, and who searches it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from ikd.config import Chosen, Domain, Recipe, Sampler, Scheduler, SearchSpace, shares_of
from ikd.sweep.records.text import readable

WIDE = 130
"""From this many columns on names are written in full."""
MOST_CHOICES = 12
_KINDS = {"choice": "choice", "uniform": "uniform", "log_uniform": "log", "int": "int", "log_int": "log int"}
Naming = Callable[[str], str]


class SpaceTable:
    """What `space_table` returns: renders itself for the width there is."""

    def __init__(self, space: SearchSpace, recipe: Recipe) -> None:
        self.space, self.recipe = space, recipe

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = str if options.max_width >= WIDE else short_names(self.space)
        yield Group(_parameters(self.space, self.recipe, name), Text(""), _search(self.space, self.recipe))


def space_table(space: SearchSpace, recipe: Recipe) -> SpaceTable:
    """Return a checked space as a rich renderable: a row per parameter, below it how it is searched.

    Args:
        space: as `load_sweep` returns it.
        recipe: the base; its values stand beside the ranges.
    """
    return SpaceTable(space, recipe)


def short_names(space: SearchSpace) -> Naming:
    """Return what names fields briefly: the last two parts, `noise` for `noise.enabled`, in full where unclear."""
    short = {field: _short(field) for field in space.fields}
    return lambda field: short[field] if list(short.values()).count(short.get(field, "")) == 1 else field


def _short(field: str) -> str:
    *owners, leaf = field.split(".")
    return owners[-1] if leaf == "enabled" and owners else ".".join([*owners[-1:], leaf])


def _parameters(space: SearchSpace, recipe: Recipe, name: Naming) -> Table:
    title = f"{space.recipe}: {space.description}" if space.description else space.recipe
    table = Table(title=Text(title), title_justify="left", highlight=False)
    table.add_column("parameter", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("values", overflow="fold")
    table.add_column("recipe", overflow="fold")
    priors = any(domain.prior is not None for domain in space.parameters.values())
    conditions = any(domain.when for domain in space.parameters.values())
    for title, shown in (("prior", priors), ("only when", conditions)):
        if shown:
            table.add_column(title, overflow="fold")
    for field, domain in space.parameters.items():
        kind = "fixed" if domain.size == 1 else _KINDS[domain.kind]
        own = recipe.value(field)
        written = (domain.alias(own) or short_value(own, field)) + ("" if domain.contains(own) else " *")
        fed = "".join(f"\n+ {name(other)}" for other in domain.also)
        cells = [name(field) + fed, kind, values_text(field, domain), written]
        cells += [_prior(field, domain)] if priors else []
        cells += [condition_text(domain.when, space, name)] if conditions else []
        table.add_row(*(Text(cell) for cell in cells))
    return table


def values_text(field: str, domain: Domain) -> str:
    """Write the values of a domain: `fgd | mgd`, `0.2 to 0.8 by 0.1 (7)`, `8 to 64, each x2 (4)`."""
    if domain.choice is not None:
        named = [(domain.alias(value), short_value(value, field)) for value in domain.choice[:MOST_CHOICES]]
        written = [text if alias is None else f"{alias} = {text}" for alias, text in named]
        more = len(domain.choice) - len(written)
        return " | ".join(written) + (f" | ... ({more} more)" if more else "")
    low, high = domain.ends
    text = f"{short_value(low)} to {short_value(high)}"
    text += f" by {short_value(domain.step)}" if domain.step is not None else ""
    text += f", each x{short_value(domain.factor)}" if domain.factor is not None else ""
    return text + (f" ({domain.size:,.0f})" if domain.size < math.inf else "")


def short_value(value: Any, field: str = "") -> str:
    """Write a value as YAML has it, floats with four digits and switches as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else f"{value:.4g}" if isinstance(value, float) else readable(value, field)


def _prior(field: str, domain: Domain) -> str:
    if domain.prior is None:
        return "-"
    around = domain.alias(domain.prior.around) or short_value(domain.prior.around, field)
    return f"{around} ± {domain.prior.spread:g}"


def condition_text(when: Mapping[str, Any], space: SearchSpace, name: Naming) -> str:
    """Write a condition in words: `host is one of fgd, mgd and noise is on`; `-` where a parameter always exists."""
    return _joined(list(_clauses(when, space, name)), "and") if when else "-"


def _clauses(when: Mapping[str, Any], space: SearchSpace, name: Naming) -> Iterator[str]:
    for key, content in when.items():
        if key == "not":
            yield _negated(content, space, name)
        elif key in ("any", "all"):
            parts = [_joined(list(_clauses(one, space, name)), "and", inside=key == "any") for one in content]
            yield _joined(parts, "or" if key == "any" else "and", inside=len(when) > 1)
        else:
            yield _test(key, content if isinstance(content, list) else [content], space, name)


def _joined(parts: list[str], word: str, *, inside: bool = False) -> str:
    text = f" {word} ".join(parts)
    return f"({text})" if inside and len(parts) > 1 else text


def _negated(content: Mapping[str, Any], space: SearchSpace, name: Naming) -> str:
    (key, value), *more = content.items()
    if more or key in ("any", "all", "not"):
        return f"not ({_joined(list(_clauses(content, space, name)), 'and')})"
    return _test(key, value if isinstance(value, list) else [value], space, name, negated=True)


def _test(parent: str, values: list[Any], space: SearchSpace, name: Naming, *, negated: bool = False) -> str:
    domain = space.parameters[parent]
    words = [
        ("on" if value else "off") if isinstance(value, bool) else domain.alias(value) or short_value(value, parent)
        for value in values
    ]
    if len(words) == 1:
        return f"{name(parent)} is {'not ' if negated else ''}{words[0]}"
    return f"{name(parent)} is {'none' if negated else 'one'} of {', '.join(words)}"


def _search(space: SearchSpace, recipe: Recipe) -> Table:
    """Return how the space is searched, a line each."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    outside = any(not domain.contains(recipe.value(field)) for field, domain in space.parameters.items())
    objective = f"{space.objective.metric}, the {'larger' if space.objective.mode == 'max' else 'smaller'} the better"
    costs = f"; and {', '.join(space.costs)}, the smaller the better" if space.costs else ""
    why = f" ({space.scheduler.why})" if isinstance(space.scheduler, Chosen) else ""
    lines = {
        "": "* the recipe's own value is none of those searched" if outside else "",
        "set": ", ".join(f"{field} {short_value(value, field)}" for field, value in space.set.items()),
        "constraints": "\n".join(space.constraints),
        "objective": objective + costs,
        "sampler": kind_with_settings(space.sampler),
        "scheduler": kind_with_settings(space.scheduler) + why,
        "budget": _budget(space),
        "confirm": _confirm(space, recipe),
        "anchors": ", ".join(space.anchors) or "none",
        "configurations": _configurations(space, recipe),
    }
    for key, text in lines.items():
        if text:
            grid.add_row(key, Text(text))
    return grid


def kind_with_settings(section: Sampler | Scheduler) -> str:
    """Write who proposes or stops: `asha: grace_epochs 4, ...`."""
    settings = [f"{name} {short_value(value)}" for name, value in getattr(section, section.kind) if value is not None]
    return f"{section.kind}: {', '.join(settings)}" if settings else section.kind


def _budget(space: SearchSpace) -> str:
    budget, units = space.budget, {"wall_hours": "hours by the clock", "gpu_hours": "GPU-hours", "epochs": "epochs"}
    limits = [f"{budget.trials} trials"]
    limits += [f"{getattr(budget, name):g} {unit}" for name, unit in units.items() if getattr(budget, name) is not None]
    if budget.target is not None:
        limits.append(f"{space.objective.metric} {budget.target:g}")
    if budget.patience is not None:
        limits.append(f"{budget.patience} trials without a new best")
    return ", or ".join(limits) + (", whichever comes first" if len(limits) > 1 else "")


def _confirm(space: SearchSpace, recipe: Recipe) -> str:
    """Write what of the trials does not search."""
    shares = shares_of(space, recipe.total_epochs)
    parts = [f"{shares.repeats:.0%} of them repeat what is promising"] * bool(shares.repeats)
    sides = "the chosen one" + (" and of an anchor" if shares.sides > 1 else "")
    parts += [f"{shares.apart} trainings each of {sides} are kept apart"] * bool(shares.apart)
    return "; ".join(parts) or "nothing is repeated or kept apart"


def _configurations(space: SearchSpace, recipe: Recipe) -> str:
    every = space.num_configurations()
    if math.isinf(every):
        return "unlimited (a range is continuous)"
    allowed = space.num_configurations(recipe)
    return f"{every:,.0f}" + (f", of which {allowed:,.0f} fulfil the constraints" if allowed < every else "")
