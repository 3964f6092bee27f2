"""What `check_dataset` found: problems, counts and a table by object size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ikd.errors import DataError, Problem

SHOWN = 20  # problems written out in a text; a broken data set has thousands of the same kind


@dataclass(frozen=True)
class DataProblem(Problem):
    """One fault of a data set.

    Attributes:
        severity: an error stops training; a warning is something that mmdet clips, drops or ignores by itself.
    """

    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.severity}: {super().__str__()}"


@dataclass(frozen=True)
class SizeRow:
    """Boxes of one class in one split, by COCO size bin.

    Attributes:
        split: "train" or "val".
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
        fingerprint: hash of the content, None when errors prevent it.
    """

    annotations: Path
    images: int
    boxes: int
    crowds: int
    without_boxes: int
    only_small: int
    fingerprint: str | None


@dataclass(frozen=True)
class DataReport:
    """Everything `check_dataset` found out about a data set.

    Attributes:
        directory: the data set's folder.
        categories: class names in the order of the training file.
        splits: counts, keyed "train" and "val".
        rows: boxes by split, class and size.
        problems: all faults, errors first.
        fingerprint: hash of both splits, None when errors prevent it.
    """

    directory: Path
    categories: tuple[str, ...]
    splits: Mapping[str, SplitReport]
    rows: tuple[SizeRow, ...]
    problems: tuple[DataProblem, ...]
    fingerprint: str | None

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

    def raise_for_errors(self) -> None:
        """Refuse a data set with errors.

        Raises:
            DataError: lists the first errors and says how many there are.
        """
        if not self.ok:
            raise DataError(_listing(self.errors))

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
        lines.append(f"fingerprint: {self.fingerprint or 'none, because of the errors below'}")
        lines.append(_listing(self.problems) if self.problems else "no problems")
        return "\n".join(lines)


def _listing(problems: tuple[DataProblem, ...]) -> str:
    lines = [str(problem) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n".join(lines)
