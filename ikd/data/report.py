"""What `check_dataset` found: problems, counts and a table by object size."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ikd.errors import DataError, Problem

SHOWN, SHOWN_OF_KIND = 30, 3  # problems written out in a text; a broken data set has thousands of the same kind
WARNED = 8
"""Kinds of warnings told before a training."""


@dataclass(frozen=True)
class DataProblem(Problem):
    """One fault of a data set.

    Attributes:
        severity: an error stops training; a warning is something that mmdet clips, drops or ignores by itself.
        others: how many further entries of the file have the same fault and are not listed.
    """

    severity: Literal["error", "warning"] = "error"
    others: int = 0

    def __str__(self) -> str:
        return f"{self.severity}: {super().__str__()}" + (f" (and {self.others} others)" if self.others else "")


@dataclass(frozen=True)
class Taught:
    """What of a training part is taught, as mmdet's CocoDataset takes it.

    Attributes:
        images: in the file.
        boxes: in the file, crowds and all.
        taught_images: that are trained on.
        empty_images: of these, without a box; more than none only with `data.keep_empty`, or where no box is left.
        taught_boxes: that are taught.
        without_box: images that are left out because they have no box.
        crowds: boxes of crowds, in which nothing counts as wrong.
        ignored: boxes with `ignore`.
        thin: boxes under 1 px.
        faulty: boxes of which an error tells.
        areas_filled: boxes without an area, which get width x height.
        crowds_filled: boxes without iscrowd, which are taken for single objects.
    """

    images: int
    boxes: int
    taught_images: int
    empty_images: int
    taught_boxes: int
    without_box: int
    crowds: int
    ignored: int
    thin: int
    faulty: int
    areas_filled: int
    crowds_filled: int

    def __str__(self) -> str:
        """Return one line for people."""
        empty = f" ({self.empty_images} without a box)" if self.empty_images else ""
        text = f"{_count(self.images, 'image')}, {_count(self.boxes, 'box')}; taught: "
        text += f"{_count(self.taught_images, 'image')}{empty}, {_count(self.taught_boxes, 'box')}"
        left = [f"{self.without_box} without a box (data.keep_empty: true keeps them)"] if self.without_box else []
        left += [_count(self.crowds, "crowd")] if self.crowds else []
        left += [f"{self.ignored} with ignore"] if self.ignored else []
        left += [f"{_count(self.thin, 'box')} under 1 px"] if self.thin else []
        left += [_count(self.faulty, "faulty box")] if self.faulty else []
        text += f"; left out: {', '.join(left)}" if left else "; nothing left out"
        filled = [f"area of {_count(self.areas_filled, 'box')}"] if self.areas_filled else []
        filled += [f"iscrowd of {_count(self.crowds_filled, 'box')}"] if self.crowds_filled else []
        return text + (f"; filled in: {', '.join(filled)}" if filled else "")


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("x") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


VANISHING_PX = 8.0
"""Side of an object that covers one cell of a detector's finest map, whose stride is 8 px as a rule."""


@dataclass(frozen=True)
class Sizes:
    """How big the taught objects are at the network's input, as the root of width times height.

    Attributes:
        scale: a recipe's `input.scale`, px.
        objects: number of them.
        vanishing: those below `VANISHING_PX`.
        tenth: px, below which a tenth of them are.
        median: px.
        ninth: px, below which nine tenths are.
        suggested: scale at which three quarters are not below `VANISHING_PX`; None where most are not anyway.
    """

    scale: tuple[int, int]
    objects: int
    vanishing: int
    tenth: float
    median: float
    ninth: float
    suggested: tuple[int, int] | None

    def __str__(self) -> str:
        """Return one line for people."""
        share = 100 * self.vanishing / self.objects
        return (
            f"objects at the network's input ({self.scale[0]}x{self.scale[1]}): half are below {self.median:.1f} px, "
            f"a tenth below {self.tenth:.1f}, nine tenths below {self.ninth:.1f}; {self.vanishing} of {self.objects} "
            f"({share:.0f} %) are below {VANISHING_PX:g} px"
        )

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Sizes:
        """Return it from plain values."""
        suggested = tuple(raw["suggested"]) if raw["suggested"] else None
        return cls(**(dict(raw) | {"scale": tuple(raw["scale"]), "suggested": suggested}))

    @property
    def warning(self) -> str:
        """What to say where most objects vanish, else an empty text."""
        if self.suggested is None:
            return ""
        share = 100 * self.vanishing / self.objects
        return (
            f"{share:.0f} % of the objects are below {VANISHING_PX:g} px at the network's input, where detectors find "
            f"next to nothing; try input.scale [{self.suggested[0]}, {self.suggested[1]}]"
        )


@dataclass(frozen=True)
class SizeRow:
    """Boxes of one class in one split, by COCO size bin.

    Attributes:
        split: "train", "val" or "test".
        category: name of the class.
        small: boxes with an area below 32^2 px^2, in pixels of the original image.
        medium: from 32^2 to below 96^2.
        large: from 96^2 on.
    """

    split: str
    category: str
    small: int
    medium: int
    large: int

    @property
    def total(self) -> int:
        """Boxes of all sizes."""
        return self.small + self.medium + self.large


@dataclass(frozen=True)
class SplitReport:
    """Counts of one split.

    Attributes:
        annotations: its COCO json file.
        images: number of images.
        boxes: number of boxes, crowd boxes not counted.
        crowds: number of crowd boxes.
        without_boxes: images without a box.
        only_small: images with boxes, all of them small.
        without_mask: boxes from which a detector with masks cannot learn one.
        taught: what of it is taught, were it trained on.
        fingerprint: hash of the content, None when errors prevent it.
    """

    annotations: Path
    images: int
    boxes: int
    crowds: int
    without_boxes: int
    only_small: int
    without_mask: int
    taught: Taught
    fingerprint: str | None


@dataclass(frozen=True)
class DataReport:
    """Everything `check_dataset` found out about a data set.

    Attributes:
        directory: the data set's folder.
        categories: class names in the order of the training file.
        splits: counts, keyed "train", "val", and "test" where there is one.
        rows: boxes by split, class and size.
        problems: all faults, errors first.
        fingerprint: hash of training and validation split, None when errors prevent it.
        sizes: how big objects are at the network's input; None without a recipe, or without objects.
    """

    directory: Path
    categories: tuple[str, ...]
    splits: Mapping[str, SplitReport]
    rows: tuple[SizeRow, ...]
    problems: tuple[DataProblem, ...]
    fingerprint: str | None
    sizes: Sizes | None = None

    @property
    def errors(self) -> tuple[DataProblem, ...]:
        """The faults that stop training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether the data set can be trained on."""
        return not self.errors

    @property
    def exit_status(self) -> int:
        """Exit status of `ikd data check`."""
        return 0 if self.ok else 2

    @property
    def said(self) -> list[str]:
        """What a person is told before a training: one line of what is taught, and one for each kind of warning."""
        warned = self.sizes.warning if self.sizes is not None else ""
        lines = [f"data: {self.splits['train'].taught}", *([f"warning: {warned}"] if warned else [])]
        kinds = _kinds(problem for problem in self.problems if problem.severity == "warning")
        lines += [_of_kind(kind) for kind in kinds[:WARNED]]
        return lines + ([f"... and {len(kinds) - WARNED} more kinds of warning"] if len(kinds) > WARNED else [])

    def raise_for_errors(self) -> None:
        """Refuse a data set with errors.

        Raises:
            DataError: lists the first errors and says how many there are.
        """
        if not self.ok:
            raise DataError(listing(self.errors).removeprefix("error: "))  # whoever shows it says so itself

    def to_json(self) -> str:
        """Return it as a text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> DataReport:
        """Return what `to_json` wrote; faulty values that JSON does not know are texts then."""
        raw: dict[str, Any] = json.loads(text)
        splits = {
            name: SplitReport(**(one | {"annotations": Path(one["annotations"]), "taught": Taught(**one["taught"])}))
            for name, one in raw["splits"].items()
        }
        return cls(
            directory=Path(raw["directory"]),
            categories=tuple(raw["categories"]),
            splits=splits,
            rows=tuple(SizeRow(**one) for one in raw["rows"]),
            problems=tuple(DataProblem(**one) for one in raw["problems"]),
            fingerprint=raw["fingerprint"],
            sizes=Sizes.of(raw["sizes"]) if raw["sizes"] else None,
        )

    def __str__(self) -> str:
        """Return a plain text for terminals and logs: counts, the table, the fingerprint, the first problems."""
        lines = [f"{self.directory}"]
        for name, split in self.splits.items():
            lines.append(
                f"{name}: {split.images} images ({split.without_boxes} without a box, {split.only_small} with small "
                f"boxes only), {split.boxes} boxes, {split.crowds} crowds"
            )
        width = max([len(row.category) for row in self.rows] + [len("category")])
        lines.append(f"{'split':<6} {'category':<{width}} {'small':>7} {'medium':>7} {'large':>7} {'total':>7}")
        for row in self.rows:
            counts = f"{row.small:>7} {row.medium:>7} {row.large:>7} {row.total:>7}"
            lines.append(f"{row.split:<6} {row.category:<{width}} {counts}")
        lines.append(f"data: {self.splits['train'].taught}")
        if self.sizes is not None:
            lines += [str(self.sizes), *([f"warning: {self.sizes.warning}"] if self.sizes.warning else [])]
        lines.append(f"fingerprint: {self.fingerprint or 'none, because of the errors below'}")
        lines.append(listing(self.problems) if self.problems else "no problems")
        return "\n".join(lines)


def listing(problems: Sequence[DataProblem]) -> str:
    """Return the first problems of each kind, one a line, and how many more there are."""
    kinds = _kinds(problems)
    shown = [problem for kind in kinds for problem in kind[:SHOWN_OF_KIND]][:SHOWN]
    hidden = sum(1 + problem.others for problem in problems) - sum(1 + problem.others for problem in shown)
    return "\n".join([*map(str, shown), *([f"... and {hidden} more"] if hidden else [])])


def _kinds(problems: Iterable[DataProblem]) -> list[list[DataProblem]]:
    """Group problems that differ in numbers alone, in the order of the first ones."""
    kinds: dict[tuple[str, ...], list[DataProblem]] = {}
    for problem in problems:
        alike = (problem.severity, problem.file, re.sub(r"\d+", "", problem.field), re.sub(r"[\d.]+", "", problem.rule))
        kinds.setdefault(alike, []).append(problem)
    return list(kinds.values())


def _of_kind(problems: list[DataProblem]) -> str:
    others = sum(1 + problem.others for problem in problems) - 1
    return str(dataclasses.replace(problems[0], others=others))
