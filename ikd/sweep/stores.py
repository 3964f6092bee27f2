"""How many perturbation stores a sweep makes at most, and how much space they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ikd.config import Recipe, SearchSpace
from ikd.data import Perturbed, perturbed, training_annotations
from ikd.errors import DataError
from ikd.home import BOUND, store_bound
from ikd.sweep.forecast.wants import FEEDS, likely, settings, wants


@dataclass(frozen=True)
class Stores:
    """The perturbation stores of a sweep.

    Attributes:
        count: of stores, at most.
        bytes: of all of them; None where the data is not there to be measured.
        online: trials may craft their copies while training, which takes no space.
    """

    count: int
    bytes: int | None
    online: bool

    def lines(self) -> list[tuple[str, str]]:
        """Return what a dry run says of them; nothing where there are none."""
        found = [("perturbations", self._text())] if self.count else []
        if self.online:
            text = "crafted while training where attack.store is online: no space, the attack in every such step"
            found.append(("" if found else "perturbations", text))
        return found

    def _text(self) -> str:
        text = f"at most {self.count} store{'s' if self.count > 1 else ''}"
        if self.bytes is None:
            return f"{text}; their size is not known before the data is there"
        text += f", {_size(self.bytes)} in all"
        bound = store_bound()
        if self.bytes > bound:
            text += f"; kept within {_size(bound)} ({BOUND}): those not used for longest go, and are made again on need"
        return text


def stores_of(space: SearchSpace, recipe: Recipe, anchors: Iterable[Recipe], trials: int) -> Stores:
    """Return the stores of a sweep, at most.

    Args:
        space: resolved, of the sweep.
        recipe: the base.
        anchors: recipes of the fixed trials.
        trials: how many trials there are, at most.
    """
    every = settings(space, recipe, FEEDS)
    recipes = [*anchors, *(likely(space, recipe) if every is None else every)]
    sources = sorted({one for each in recipes for one in _sources(each)}, key=lambda one: one.content)
    most = trials * max((len(each.stages) for each in recipes), default=1)
    count = min(len(sources), most) if every is not None else most if sources else 0
    return Stores(count, _bytes(sources[:count], count), any(map(_crafts_online, recipes)))


@dataclass(frozen=True)
class _Source:
    """What one store is made from: all that decides its content, and what its cost depends on."""

    content: str
    annotations: Path
    scale: tuple[int, int]
    keep_ratio: bool


def _sources(recipe: Recipe) -> Iterable[_Source]:
    for want in wants(recipe):
        if want.kind == "perturbations":
            yield _Source(want.key, training_annotations(recipe), recipe.input.scale, recipe.input.keep_ratio)


def _crafts_online(recipe: Recipe) -> bool:
    stages = [plan.recipe for plan in recipe.stages]
    return any(one.attack.store == "online" and one.adversarial.enabled and one.teacher is not None for one in stages)


def _bytes(sources: Sequence[_Source], count: int) -> int | None:
    """Return the bytes of `count` stores of which these are known; None where the data is not there."""
    known: dict[tuple[Path, tuple[int, int], bool], Perturbed] = {}  # a file of COCO takes seconds to read
    try:
        for one in sources:
            data = one.annotations, one.scale, one.keep_ratio
            if data not in known:
                known[data] = perturbed(*data)
    except DataError:
        return None  # what is wrong with it the check of the data says
    each = [known[one.annotations, one.scale, one.keep_ratio].bytes for one in sources]
    return round(sum(each) * count / max(1, len(each)))  # where a range is continuous, each is like those counted


def _size(count: float) -> str:
    return (
        f"{count / 1e12:.1f} TB"
        if count >= 1e12
        else f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
    )
