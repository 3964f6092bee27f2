"""Checking a whole data set: both annotation files, all images, and how they fit together."""

from __future__ import annotations

from pathlib import Path

from ikd.config import Recipe
from ikd.data import identity
from ikd.data.alike import near_files, same_files
from ikd.data.files import Places, places_of
from ikd.data.identity import PartRecord, keep_record, states_of
from ikd.data.part import Part, Settings
from ikd.data.report import DataProblem, DataReport
from ikd.data.rules import Findings, plain_name
from ikd.data.stamps import VERSION, kept_report
from ikd.data.taught import sizes_of
from ikd.errors import DataError


def parse_images(text: str) -> str | tuple[str, str]:
    """Return the image folders of both splits as written on the command line: one for both, or `TRAIN,VAL`."""
    train, comma, val = text.partition(",")
    return (train, val) if comma else text


def check_dataset(
    directory: str | Path, train: str = "train.json", val: str = "val.json", images: str | tuple[str, str] = "images"
) -> DataReport:
    """Look for everything in a data set that would stop or quietly spoil a training.

    Every image is decoded, unless it was before and has not changed since; what was found out is kept in the ikd home.

    Args:
        directory: the data set's folder.
        train: COCO json file of the training split, relative to the folder.
        val: the same for validation.
        images: folder that the file names are relative to, itself relative to the data set's folder; two of them when
            training and validation have their own.

    Returns:
        All problems, not only the first; counts; boxes by size, class and split; a fingerprint of the content when
        there are no errors.

    Raises:
        DataError: the folder itself does not exist.
    """
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"the data set's folder must exist, but got {str(root)!r}")
    train_images, val_images = (images, images) if isinstance(images, str) else images
    return _report(root, (root / train, root / train_images, root / val, root / val_images), Settings())


def check_recipe_data(recipe: Recipe) -> DataReport:
    """Check the data of a recipe as it would train on them, see `check_dataset`: once, until a file changes.

    Raises:
        BadInput: a file or folder is missing.
    """
    places = places_of(recipe)
    root, settings = Path(recipe.data.root), Settings.of(recipe)
    states = states_of(places[:2], places[2:])

    def make() -> DataReport:
        report = _report(root, places, settings)
        for split, state in zip(report.splits.values(), states, strict=True):
            if split.fingerprint is not None and state is not None:  # so that no image is hashed once more
                keep_record(state, PartRecord(split.fingerprint, split.taught.images, split.taught.boxes))
        return report

    return make() if None in states else kept_report([VERSION, str(root), states, vars(settings)], make)


def said_of_data(recipe: Recipe) -> list[str]:
    """Return what a person is told of a recipe's data before anything starts: what is taught, and what to look at.

    Raises:
        BadInput: the data cannot be trained on.
    """
    report = check_recipe_data(recipe)
    report.raise_for_errors()
    return report.said


def _report(root: Path, places: Places, settings: Settings) -> DataReport:
    """Judge both parts and put together what was found."""
    train, val = Part("train", *places[:2]), Part("val", *places[2:])
    train.judge(settings, val.by_class)
    val.judge(settings, train.by_class)
    problems = [problem for part in (train, val) for problem in part.found.problems]
    if train.readable and val.readable:
        problems += _compare(train, val)
    # stable: errors first, those of images before those of boxes, which they may cause, otherwise in the order found
    problems.sort(key=lambda problem: (problem.severity, problem.field.startswith("annotations[")))
    sound = not any(problem.severity == "error" for problem in problems)
    fingerprints = [part.fingerprint() if sound else None for part in (train, val)]
    pairs = zip((train, val), fingerprints, strict=True)
    return DataReport(
        directory=root,
        categories=train.categories,
        splits={part.name: part.report(settings, value) for part, value in pairs},
        rows=tuple(row for part in (train, val) for row in part.rows()),
        problems=tuple(problems),
        fingerprint=identity.combine([str(value) for value in fingerprints]) if sound else None,
        sizes=sizes_of(train.sound, settings.scale, keep_ratio=settings.keep_ratio) if settings.scale else None,
    )


def _compare(train: Part, val: Part) -> list[DataProblem]:
    """Find what is wrong only when both splits are seen together."""
    found = Findings(str(val.path), [])
    if train.categories != val.categories:
        rule = f"must be those of {train.path.name} in the same order, {list(train.categories)}: mmdet numbers by it"
        plain = [[plain_name(name) for name in part.categories] for part in (train, val)]
        rule += "; they differ by case, blanks or the form of their letters alone" if plain[0] == plain[1] else ""
        found.error("categories", list(val.categories), rule)
    facts = {part.name: [one for one in part.facts.values() if not one.fault] for part in (train, val)}
    places = {part.name: [index for index, one in part.facts.items() if not one.fault] for part in (train, val)}
    for kind, pairs in (("be", same_files), ("look like", near_files)):
        listed = [
            (val.sound.images[places["val"][one]], train.sound.images[places["train"][other]])
            for one, other in pairs(facts["train"], facts["val"])
        ]
        if listed:
            rule = f"should not {kind} images of {train.path.name}: {len(listed)} {{}}, the first as "
            rule += f"{listed[0][1]['file_name']!r}; the metrics are too good by them"
            does = "are in both splits" if kind == "be" else "do"
            named = ", ".join(one["file_name"] for one, _ in listed[:_NAMED])
            found.warning("images", named, rule.format(does))
    return found.problems


_NAMED = 5
