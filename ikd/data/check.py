"""Checking a whole data set: its annotation files, all images, and how they fit together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ikd.config import Recipe, sees_unlabelled
from ikd.data import identity
from ikd.data.alike import near_files, same_files
from ikd.data.files import Places, places_of, places_of_test
from ikd.data.identity import PartRecord, keep_record, state_below, states_of
from ikd.data.images import Facts
from ikd.data.part import Part, Settings
from ikd.data.report import DataProblem, DataReport
from ikd.data.rules import Findings, plain_name
from ikd.data.stamps import VERSION, kept_report
from ikd.data.taught import sizes_of
from ikd.data.unlabelled.photographs import check_photographs, folder_of
from ikd.errors import DataError, refuse


def parse_images(text: str) -> str | tuple[str, ...]:
    """Return the image folders of the parts as written on the command line: one for all, or `TRAIN,VAL[,TEST]`."""
    folders = tuple(text.split(","))
    return folders[0] if len(folders) == 1 else folders


def check_dataset(
    directory: str | Path,
    train: str = "train.json",
    val: str = "val.json",
    images: str | tuple[str, ...] = "images",
    *,
    test: str | None = None,
) -> DataReport:
    """Look for everything in a data set that would stop or quietly spoil a training.

    Every image is decoded, unless it was before and has not changed since; what was found out is kept in the ikd home.

    Args:
        directory: the data set's folder.
        train: COCO json file of the training split, relative to the folder.
        val: the same for validation.
        images: folder that the file names are relative to, itself relative to the data set's folder; one for each part
            when they have their own.
        test: the same as `train` for the part that nothing looks at, None where there is none.

    Returns:
        All problems, not only the first; counts; boxes by size, class and split; a fingerprint of the content when
        there are no errors.

    Raises:
        DataError: the folder itself does not exist.
    """
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"the data set's folder must exist, but got {str(root)!r}")
    files = [train, val, *([test] if test is not None else [])]
    folders = (images,) * len(files) if isinstance(images, str) else images
    if len(folders) != len(files):
        refuse("images", f"must be one folder for all parts, or one for each of the {len(files)}", ",".join(folders))
    places = [root / one for pair in zip(files, folders, strict=True) for one in pair]
    return _report(root, (places[0], places[1], places[2], places[3]), places[4:], Settings())


def check_recipe_data(recipe: Recipe) -> DataReport:
    """Check the data of a recipe as it would train on them, see `check_dataset`: once, until a file changes.

    Raises:
        BadInput: a file or folder is missing.
    """
    places, test = places_of(recipe), places_of_test(recipe)
    root, settings = Path(recipe.data.root), Settings.of(recipe)
    states = states_of(places[:2], places[2:], *([test] if test is not None else []))
    folder, key = folder_of(recipe), []
    if folder is not None:
        key = [str(folder), state_below(folder)]

    def make() -> DataReport:
        report = _report(root, places, test or (), settings, folder)
        for split, state in zip(report.splits.values(), states, strict=True):
            if split.fingerprint is not None and state is not None:  # so that no image is hashed once more
                keep_record(state, PartRecord(split.fingerprint, split.taught.images, split.taught.boxes))
        return report

    content = [VERSION, _RULES, str(root), states, vars(settings), *key]
    return make() if None in (*states, *key) else kept_report(content, make)


def said_of_data(recipe: Recipe) -> list[str]:
    """Return what a person is told of a recipe's data before anything starts: what is taught, and what to look at.

    Raises:
        BadInput: the data cannot be trained on.
    """
    report = check_recipe_data(recipe)
    report.raise_for_errors()
    idle = recipe.data.unlabeled is not None and not any(sees_unlabelled(plan.recipe) for plan in recipe.stages)
    why = f"recipe {recipe.name}: data.unlabeled is not looked at: distill.labels.enabled, which shows it, is false"
    return [*report.said, *([why] if idle else [])]


def _report(
    root: Path, places: Places, test: Sequence[Path], settings: Settings, unlabelled: Path | None = None
) -> DataReport:
    """Judge all parts and put together what was found; `test` has two paths, or none."""
    train, val = Part("train", *places[:2]), Part("val", *places[2:])
    kept = [Part("test", test[0], test[1])] if test else []
    train.judge(settings, val.by_class)
    for part in (val, *kept):
        part.judge(settings, train.by_class)
    parts = [train, val, *kept]
    problems = [problem for part in parts for problem in part.found.problems]
    if train.readable and val.readable:
        problems += _compare(train, val)
    problems += [problem for part in kept for problem in _compare_kept(part, train, val)]
    if unlabelled is not None:
        named = {part.name: (part.path, _named(part)) for part in parts if part.readable}
        problems += check_photographs(unlabelled, named, settings)
    # stable: errors first, those of images before those of boxes, which they may cause, otherwise in the order found
    problems.sort(key=lambda problem: (problem.severity, problem.field.startswith("annotations[")))
    sound = not any(problem.severity == "error" for problem in problems)
    fingerprints = [part.fingerprint() if sound else None for part in parts]
    return DataReport(
        directory=root,
        categories=train.categories,
        splits={part.name: part.report(settings, value) for part, value in zip(parts, fingerprints, strict=True)},
        rows=tuple(row for part in parts for row in part.rows()),
        problems=tuple(problems),
        fingerprint=identity.combine([str(value) for value in fingerprints[:2]]) if sound else None,
        sizes=sizes_of(train.sound, settings.scale, keep_ratio=settings.keep_ratio) if settings.scale else None,
    )


def _compare(train: Part, val: Part) -> list[DataProblem]:
    """Find what is wrong only when training and validation part are seen together."""
    found = Findings(str(val.path), [])
    _compare_classes(val, train, found)
    for kind, (count, named, first) in _shared(train, val).items():
        does = "are in both splits" if kind == "be" else "do"
        rule = f"should not {kind} images of {train.path.name}: {count} {does}"
        found.warning("images", named, f"{rule}, the first as {first!r}; the metrics are too good by them")
    return found.problems


def _compare_kept(test: Part, train: Part, val: Part) -> list[DataProblem]:
    """Find what makes the test part no test: a student has seen its images, or was chosen by them."""
    found = Findings(str(test.path), [])
    if test.readable and train.readable:
        _compare_classes(test, train, found)
    for other in (train, val) if test.readable else ():
        for kind, (count, named, first) in _shared(other, test).items() if other.readable else ():
            does = "are in both" if kind == "be" else "do"
            rule = (
                f"must not {kind} images of {other.path.name}: {count} {does}, the first as {first!r}; nothing that is "
            )
            rule += (
                "measured on it would be a test. Leave them out of one of the two: `ikd data split` makes a test part "
            )
            found.error("images", named, rule + "that is apart")
    return found.problems


def _compare_classes(part: Part, train: Part, found: Findings) -> None:
    if train.categories != part.categories:
        rule = f"must be those of {train.path.name} in the same order, {list(train.categories)}: mmdet numbers by it"
        plain = [[plain_name(name) for name in one.categories] for one in (train, part)]
        rule += "; they differ by case, blanks or the form of their letters alone" if plain[0] == plain[1] else ""
        found.error("categories", list(part.categories), rule)


def _named(part: Part) -> list[tuple[str, Facts]]:
    """Return name and facts of each image of a part that can be read."""
    return [(part.sound.images[index]["file_name"], one) for index, one in part.facts.items() if not one.fault]


def _shared(one: Part, other: Part) -> dict[str, tuple[int, str, str]]:
    """Return images of `other` that are in `one` too, by whether they `be` the same files or `look like` them.

    Each with how many these are, the names of the first ones, and that of the first's image in `one`.
    """
    sound = [[index for index, fact in part.facts.items() if not fact.fault] for part in (one, other)]
    facts = [[part.facts[index] for index in places] for part, places in zip((one, other), sound, strict=True)]
    found = {}
    for kind, alike in (("be", same_files), ("look like", near_files)):
        pairs = alike(*facts)
        names = [other.sound.images[sound[1][place]]["file_name"] for place, _ in pairs]
        if pairs:
            first = one.sound.images[sound[0][pairs[0][1]]]["file_name"]
            found[kind] = len(pairs), ", ".join(names[:_NAMED]), first
    return found


_NAMED = 5
_RULES = 2  # raise when there is a rule more, or another one
