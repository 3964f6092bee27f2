"""One annotation file with its images, and what is found in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ikd.config import Data, Input, Recipe
from ikd.data.columns import Columns, read_columns
from ikd.data.habits import check_areas, check_classes, check_crowds, check_form, check_repeats
from ikd.data.identity import Objects, digest_of
from ikd.data.images import Facts, check_images, place_of
from ikd.data.masks import check_masks
from ikd.data.network_size import rescaled
from ikd.data.reader import LARGE_BYTES
from ikd.data.report import DataProblem, SizeRow, SplitReport
from ikd.data.rules import Bools, Findings, Floats, check_entries
from ikd.data.stamps import facts_about
from ikd.data.taught import count_taught, taken
from ikd.progress import mentioned

SMALL_PX2, LARGE_PX2 = 32**2, 96**2  # COCO's borders between small, medium and large
PartName = Literal["train", "val", "test"]
_DATA, _INPUT = Data(root=""), Input()


@dataclass(frozen=True)
class Settings:
    """What a recipe says of its data that changes what is judged.

    Attributes:
        keep_empty: `data.keep_empty`.
        orientation: `data.orientation`.
        scale: `input.scale`; None without a recipe.
        keep_ratio: `input.keep_ratio`.
        smallest: the sizes, each as `scale`, among which the smallest is that an image may get.
    """

    keep_empty: bool = _DATA.keep_empty
    orientation: Literal["apply", "ignore"] = _DATA.orientation
    scale: tuple[int, int] | None = None
    keep_ratio: bool = _INPUT.keep_ratio
    smallest: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, recipe: Recipe) -> Settings:
        """Return what a recipe says."""
        scale, many = recipe.input.scale, recipe.input.multi_scale
        smaller = many.scales or ((int(scale[0] * many.ratio[0]), int(scale[1] * many.ratio[0])),)
        smallest = (scale, *(smaller if many.enabled else ()))
        return cls(recipe.data.keep_empty, recipe.data.orientation, scale, recipe.input.keep_ratio, smallest)


def vanishing(
    images: Mapping[int, dict[str, Any]], facts: Mapping[int, Facts], settings: Settings
) -> Iterator[tuple[str, object, str]]:
    """Yield the images of which nothing is left at a recipe's input, as field, value and rule.

    Args:
        images: entries by index in the file.
        facts: what is known of their files, by the same index.
        settings: of the recipe.
    """
    read = {index: one for index, one in facts.items() if not one.fault}
    for scale in settings.smallest if settings.keep_ratio and read else ():
        sizes = np.array([(one.width, one.height) for one in read.values()], np.float64)
        gone = rescaled(sizes, scale, keep_ratio=True).min(axis=1) < 1
        for index in [index for index, none in zip(list(read), gone, strict=True) if none]:
            one = read.pop(index)
            rule = f"must be wider and higher than half a pixel at {scale[0]} x {scale[1]} (input): of "
            rule += f"{one.width} x {one.height} px nothing is left; cut it into parts, or leave it out"
            yield f"images[{index}].file_name", images[index]["file_name"], rule
        if not read:
            return


class Part:
    """One annotation file with its images.

    Args:
        name: "train", "val" or "test".
        path: COCO json file.
        images: folder of its images.

    Attributes:
        found: its problems.
        readable: whether the file is COCO json at all; the others are empty otherwise.
        sound: what of it can be used.
        facts: of the image files, by index in the file.
    """

    def __init__(self, name: PartName, path: Path, images: Path) -> None:
        self.name: PartName = name
        self.path, self.images = path, images
        self.found = Findings(str(path), [])
        large = path.is_file() and path.stat().st_size > LARGE_BYTES
        with mentioned(f"reading {path.name}" if large else ""):
            columns, problem = read_columns(path)
        self.readable = problem is None
        self.facts: dict[int, Facts] = {}
        if problem is not None:
            self.found.problems.append(DataProblem(**vars(problem)))
            self.sound = check_entries(columns, Findings("", []))
            return
        self.sound = check_entries(columns, self.found)
        causes = Findings(str(path), [])
        check_form(self.sound, causes)
        self.found.problems[:0] = causes.problems  # of what single boxes show
        self._masked = check_masks(self.sound, self.found)
        check_areas(self.sound, self.found)
        check_repeats(self.sound, self.found)

    @property
    def columns(self) -> Columns:
        """The file as it stands."""
        return self.sound.columns

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes in the order of the file."""
        return tuple(one["name"] for one in self.sound.categories.values())

    @property
    def alone(self) -> Bools:
        """[N], boxes of single objects that are taught, or measured."""
        return taken(self.sound)[1]

    @cached_property
    def by_class(self) -> dict[str, int]:
        """Number of these by class."""
        counts = np.bincount(self.sound.category_of[self.alone], minlength=len(self.columns.categories))
        return {one["name"]: int(counts[index]) for index, one in self.sound.categories.items()}

    def judge(self, settings: Settings, elsewhere: dict[str, int]) -> None:
        """Judge what needs the images, the settings, or the boxes by class of the other part."""
        if not self.readable:
            return
        check_crowds(self.sound, self.alone, self.name, self.found)
        check_classes(self.sound, self.by_class, elsewhere, self.name, self.found)
        if not self.images.is_dir():
            self.found.error("images", str(self.images), "the image folder must exist")
            return
        self._look()
        check_images(self.sound.images, self.images, self.facts, self.found, orientation=settings.orientation)
        self.found.each(vanishing(self.sound.images, self.facts, settings))

    def _look(self) -> None:
        paths: dict[int, Path] = {}
        for index, image in self.sound.images.items():
            if min(image["width"], image["height"]) <= 0:
                key = "width" if image["width"] <= 0 else "height"
                self.found.error(f"images[{index}].{key}", image[key], "must be above 0")
                continue
            path, fault = place_of(image["file_name"], self.images)
            if path is None:
                self.facts[index] = Facts(fault)
            else:
                paths[index] = path
        self.facts |= dict(zip(paths, facts_about(self.images, list(paths.values())), strict=True))

    def fingerprint(self) -> str:
        """Return the hash of a part without errors, as `ikd.data.fingerprint` does."""
        objects: Objects = defaultdict(list)
        for image, category, said in zip(
            self.columns.image_ids, self.columns.category_ids, self.columns.said, strict=True
        ):
            objects[image].append((category, said))
        names = {one["id"]: str(one["name"]) for one in self.columns.categories}
        pixels = {id(image): self.facts[index].sha256 for index, image in self.sound.images.items()}
        return digest_of(names, self.columns.images, objects, lambda image: pixels[id(image)])

    def report(self, settings: Settings, fingerprint: str | None) -> SplitReport:
        """Return the counts of this part."""
        sound = self.sound
        alone = sound.usable & (self.columns.crowds.values != 1)
        with_boxes = np.unique(sound.image_of[sound.usable])
        areas = self._areas
        bigger = np.unique(sound.image_of[alone & (areas >= SMALL_PX2)])
        return SplitReport(
            annotations=self.path,
            images=len(sound.images),
            boxes=int(alone.sum()),
            crowds=int((sound.usable & ~alone).sum()),
            without_boxes=len(sound.images) - len(with_boxes),
            only_small=len(np.setdiff1d(sound.image_of[alone], bigger)),
            without_mask=int((self.alone & ~self._masked).sum()) if self.readable else 0,
            taught=count_taught(sound, keep_empty=settings.keep_empty),
            fingerprint=fingerprint,
        )

    def rows(self) -> list[SizeRow]:
        """Return the boxes by class and size."""
        alone = self.sound.usable & (self.columns.crowds.values != 1)
        bins = np.digitize(self._areas[alone], (SMALL_PX2, LARGE_PX2))
        counts = np.zeros((len(self.columns.categories), 3), int)
        np.add.at(counts, (self.sound.category_of[alone], bins), 1)
        return [
            SizeRow(self.name, one["name"], *counts[index].tolist()) for index, one in self.sound.categories.items()
        ]

    @property
    def _areas(self) -> Floats:
        """[N], those of the boxes where there are none."""
        boxes = self.columns.boxes.values
        with np.errstate(invalid="ignore", over="ignore"):
            found: Floats = boxes[:, 2] * boxes[:, 3]
        known = ~self.columns.areas.missing
        found[known] = self.columns.areas.values[known]
        return found
