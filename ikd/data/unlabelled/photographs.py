"""Photographs without labels: which there are, what is wrong with them, and whether another part has them too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ikd.config import DRAWN, Recipe
from ikd.data.alike import near_files, same_files
from ikd.data.drawn.draw import drawn_dataset
from ikd.data.identity import PartRecord, combine
from ikd.data.images import Facts, check_images, suffixes
from ikd.data.part import Settings, vanishing
from ikd.data.report import DataProblem
from ikd.data.rules import Findings
from ikd.data.stamps import facts_about
from ikd.errors import BadInput

FIELD = "data.unlabeled"
DRAWN_PHOTOGRAPHS, DRAWN_SEED = 120, 1
_VERSION = "ikd unlabelled 1"
_NAMED = 5


@dataclass(frozen=True)
class Photographs:
    """Photographs without labels, in the order of their digests: what they are called changes nothing.

    Attributes:
        folder: where they lie.
        paths: of the files; of several with the same content the first.
        digests: SHA-256 of each file.
    """

    folder: Path
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def first(self, count: int) -> Photographs:
        """Return a few of them."""
        return replace(self, paths=self.paths[:count], digests=self.digests[:count])

    @property
    def record(self) -> PartRecord:
        """What they show."""
        return PartRecord(combine([_VERSION, *self.digests]), len(self), 0)


def photographs_of(recipe: Recipe) -> Photographs | None:
    """Return the photographs without labels of a recipe; None where it has none.

    Raises:
        BadInput: the folder is not there, or holds no photograph.
    """
    folder = folder_of(recipe)
    if folder is None:
        return None
    paths = files_in(folder)
    known = sorted({one.sha256: str(path) for path, one in reversed(_known(folder, paths)) if one.sha256}.items())
    if not known:
        raise _empty(recipe, folder)
    return Photographs(folder, tuple(path for _, path in known), tuple(sha for sha, _ in known))


def folder_of(recipe: Recipe) -> Path | None:
    """Return the folder of the photographs without labels of a recipe; drawn ones are drawn if need be.

    Raises:
        BadInput: it is not there, or holds no photograph.
    """
    given = recipe.data.unlabeled
    if given is None:
        return None
    if given == DRAWN:
        return drawn_dataset(num_train=DRAWN_PHOTOGRAPHS, num_val=10, seed=DRAWN_SEED) / "images"
    folder = Path(recipe.data.root) / given
    if not folder.is_dir():
        rule = "must be a folder of photographs"
        raise BadInput(f"recipe {recipe.name}: {FIELD}: {rule}, but {folder} is not there, or is no folder")
    if not files_in(folder):
        raise _empty(recipe, folder)
    return folder


def _empty(recipe: Recipe, folder: Path) -> BadInput:
    rule = f"must hold photographs ({' '.join(sorted(suffixes()))})"
    return BadInput(f"recipe {recipe.name}: {FIELD}: {rule}, but {folder} holds none that can be read")


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and those inside it that are called as images are, sorted; hidden ones left out."""
    known, found, seen = suffixes(), [], set[tuple[int, int]]()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place) / name
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in known
        ]
    return found


def _known(folder: Path, paths: Sequence[Path]) -> list[tuple[Path, Facts]]:
    return list(zip(paths, facts_about(folder, paths), strict=True))


def check_photographs(
    folder: Path, parts: Mapping[Any, tuple[Path, Sequence[tuple[str, Facts]]]], settings: Settings
) -> list[DataProblem]:
    """Find what is wrong with photographs without labels.

    Args:
        folder: where they lie.
        parts: of the labelled parts by name, their annotation file, and of each image that can be read its name and
            what is known of it.
        settings: of the recipe.
    """
    found, known = Findings(str(folder), []), _known(folder, files_in(folder))
    facts = {index: one for index, (_, one) in enumerate(known)}
    names = [str(path.relative_to(folder)) for path, _ in known]
    entries = {
        index: {"file_name": names[index], "width": one.width, "height": one.height} for index, one in facts.items()
    }
    if settings.orientation == "ignore":
        stored = {index: one.stored for index, one in facts.items()}
        entries = {i: one | {"width": stored[i][0], "height": stored[i][1]} for i, one in entries.items()}
    check_images(entries, folder, facts, found, orientation=settings.orientation, boxes=False)
    found.each(vanishing(entries, facts, settings))
    found.problems[:] = [replace(one, field=FIELD) for one in found.problems]
    sound = [(name, one) for name, (_, one) in zip(names, known, strict=True) if not one.fault]
    for part, (file, images) in parts.items():
        _shared(sound, part, file, images, found)
    return found.problems


def _shared(
    sound: Sequence[tuple[str, Facts]], part: str, file: Path, images: Sequence[tuple[str, Facts]], found: Findings
) -> None:
    """Complain of photographs that a labelled part has too."""
    ours, theirs = [one for _, one in sound], [one for _, one in images]
    why = {"train": "these have labels", "val": "what is measured on it would be too good"}
    because = why.get(part, "nothing that is measured on it would be a test")
    for kind, alike in (("be", same_files), ("look like", near_files)):
        pairs = alike(theirs, ours)
        if not pairs:
            continue
        named = ", ".join(sound[place][0] for place, _ in pairs[:_NAMED])
        does = "are in both" if kind == "be" else "do"
        first = images[pairs[0][1]][0]
        if kind == "be" or part == "test":
            rule = f"must not {kind} images of {file.name}: {len(pairs)} {does}, the first as {first!r}; {because}. "
            found.error(FIELD, named, rule + "Move them out of the folder")
        else:
            rule = f"should not {kind} images of {file.name}: {len(pairs)} {does}, the first as {first!r}; {because}"
            found.warning(FIELD, named, rule)
