"""What is refused before a sweep writes anything: whatever all its trials would meet. The dry run asks the same."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ikd.config import DRAWN, Detector, Recipe, Runner, SearchSpace, SweepFiles, Teacher, field_names, load_recipe
from ikd.data import places_of
from ikd.errors import BadInput, ConfigError, first_line
from ikd.files import whole
from ikd.home import at_home, store_bound
from ikd.plugins import plugins
from ikd.sweep.forecast.epochs import features_of
from ikd.sweep.forecast.kept import read_kept
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.records.text import readable
from ikd.sweep.storage.keeping import most_checkpoints
from ikd.sweep.storage.objects import any_below, is_address, open_address, shown
from ikd.sweep.stores import stores_of
from ikd.sweep.study.folder import SweepFolder, experiment_of
from ikd.sweep.study.postgres import check_reachable
from ikd.sweep.training import training_of
from ikd.tracking import check_tracking

FITTING = (
    *("teachers.sequence", "teachers.together", "distill.host"),
    *("distill.crosskd.position", "distill.levels", "distill.match"),
    *("distill.sfa.levels", "distill.agreement.enabled", "adversarial.enabled", "attack.loss", "validate"),
    *("input.copy_paste.enabled", "input.copy_paste.by", "distill.labels.form", "distill.response.crosskd.position"),
    *(  # weights of dense heads and of two stages, each of which the other does not go with
        f"{section}.{name}"
        for section in ("distill.crosskd", "distill.response.crosskd")
        for name in ("w_cls", "roi.w_cls")
    ),
    *(name for name in field_names() if name.startswith("distill.response.") and name.endswith(".enabled")),
)
"""Fields whose choices must fit the detectors or the data, besides the recipe itself."""
URL = r"https?://"
FITTING_BELOW = ("student.", "teachers.available.", "data.")
"""Starts of further such fields."""


def check_start(
    training: str, files: SweepFiles, folder: SweepFolder, *, begun: bool = False, home: Path | None = None
) -> str:
    """Refuse what every trial would meet; nothing is written but caches that trials share (a drawn data set).

    What costs nothing is looked at first and told all at once; last the pairs of detectors, each of which makes a step.

    Args:
        training: module that trains.
        files: of the sweep.
        folder: of the sweep, there or not.
        begun: the sweep has trials. Then its recipe has proved to fit, and a tracker that refuses is no reason to stop.
        home: whose caches get what is drawn, indexed and rehearsed for it; None is the home of the folder, where the
            trials to come find it.

    Returns:
        What a person ought to know though it is no reason to stop; empty as a rule.

    Raises:
        BadInput: what does not fit, with file, field, value and what would.
    """
    home = home or folder.home
    with at_home(home):
        faults = [*_resource_faults(files), *_storage_faults(files.runner, folder), *_file_faults(files)]
        faults += [] if begun else _disk_faults(files, folder)
        if faults:
            raise BadInput("\n".join(faults))
        check_reachable(files.runner.study)
        list(plugins("ikd.losses"))
        list(plugins("ikd.detectors"))
        if begun:
            return ""
        where = files.runner.tracking
        said = check_tracking(where.uri, home=folder.home, experiment=experiment_of(files))
    check_training(training, files, home)
    return said


GROWING = ("coco", "checkpoints")
"""Caches whose folders get files after they were made; each has few. In those of other caches a check only reads."""


@contextlib.contextmanager
def scratch_home(home: Path) -> Iterator[Path]:
    """Give a home for the caches of what shall leave nothing: what is cached in `home` is seen there, and stays as is.

    A download alone is kept, as a start would only repeat it.
    """
    with tempfile.TemporaryDirectory(prefix="ikd-check-") as scratch:
        for kind in (home / "cache").glob("*/"):
            for one in kind.iterdir():
                for thing in one.iterdir() if kind.name in GROWING and one.is_dir() else (one,):
                    _linked(Path(scratch) / thing.relative_to(home), thing)
        try:
            yield Path(scratch)
        finally:
            _keep_downloads(Path(scratch) / "cache" / "checkpoints", home / "cache" / "checkpoints")


def _keep_downloads(made: Path, kept: Path) -> None:
    for file in made.glob("[!.]*/[!.]*"):
        if file.is_file() and not file.is_symlink():
            target = kept / file.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as partial:
                shutil.copyfile(file, partial)


def _linked(place: Path, thing: Path) -> None:
    if thing.suffix != ".lock":  # whoever locks what may be made here locks it here
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(thing.absolute())


def check_training(training: str, files: SweepFiles, home: Path) -> None:
    """Refuse what does not fit its data or detectors: the recipe, an anchor, or a choice that no trial could train.

    Args:
        training: module that trains.
        files: of the sweep.
        home: the ikd home of the sweep.

    Raises:
        BadInput: what does not fit, and what would.
    """
    batch, processes = files.recipe.schedule.batch_size, files.runner.trial.processes
    if batch % processes:
        rule = f"must divide schedule.batch_size, which is {batch} over all processes"
        raise BadInput(f"runner: trial.processes: {rule}, but got {processes}")
    distinct: dict[str, tuple[str, Recipe]] = {}
    for who, recipe in _to_check(files.space, files.recipe):
        distinct.setdefault(recipe.fingerprint(), (who, recipe))
    with at_home(home):
        for who, recipe in distinct.values():
            try:
                training_of(training).check(recipe)
            except BadInput as error:
                raise (BadInput(f"{who}: {error}") if who else error) from error


def _to_check(space: SearchSpace, recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipe, the anchors, and one recipe for each choice that detectors must fit."""
    yield "", recipe
    for anchor in anchor_proposals(space, recipe):
        yield f"anchor {anchor.anchors[0]}", anchor.recipe
    for name in (*FITTING, *(name for name in space.parameters if name.startswith(FITTING_BELOW))):
        for value in space.parameters[name].ends if name in space.parameters else ():
            values = space.expanded(space.with_parents(name, value))
            with contextlib.suppress(ConfigError):  # goes only together with other values
                varied = recipe.with_values(values)
                yield f"search space: {name} {readable(value, name)}", _unattacked(varied, name, recipe)


def _unattacked(varied: Recipe, name: str, recipe: Recipe) -> Recipe:
    """Return a recipe that compares something else than the one of the sweep without its adversarial copies.

    How these are made the recipe itself has shown, and it is most of what a check takes.
    """
    compares = name == "distill.host" or (name.startswith("distill.") and recipe.distill.host != "none")
    if not compares or varied.fingerprint() == recipe.fingerprint():
        return varied
    try:
        return varied.with_values({"adversarial.enabled": False})
    except ConfigError:  # something of it asks for them
        return varied


def _file_faults(files: SweepFiles) -> Iterator[str]:
    """Yield the files of data and detectors that are not there, each once, for all that the space may choose."""
    told = set[str]()
    for who, recipe in _to_check(files.space, files.recipe):
        if (fault := _data_fault(recipe)) and fault not in told:
            told.add(fault)
            yield fault
        named: list[tuple[str, Detector]] = [("student", recipe.student)]
        named += [
            (f"teachers.available.{stage.teacher}", recipe.teachers.available[stage.teacher])
            for stage in recipe.teachers.stages
        ]
        for field, detector in named:
            for fault in _detector_faults(field, detector):
                if fault not in told:
                    told.add(fault)
                    yield f"{who}: {fault}" if who.startswith("search space") else f"recipe {recipe.name}: {fault}"


def _data_fault(recipe: Recipe) -> str:
    try:
        if recipe.data.root != DRAWN:  # else it is drawn when the rest is well
            places_of(recipe)
    except BadInput as error:
        return str(error)
    return ""


def _detector_faults(field: str, detector: Detector) -> Iterator[str]:
    config, checkpoint = detector.config, detector.checkpoint
    if isinstance(config, str) and not config.startswith(("mmdet::", "ikd::")) and not _is_file(config):
        rule = "must be mmdet::FOLDER/NAME.py, ikd::NAME, or a config file that is there"
        yield f"{field}.config: {rule}, but got {config!r}"
    if checkpoint is not None:
        if not re.match(URL, checkpoint) and not _is_file(checkpoint):
            yield f"{field}.checkpoint: must be a URL, or a file that is there, but got {checkpoint!r}"
    elif isinstance(detector, Teacher) and detector.recipe is not None:
        try:
            load_recipe(detector.recipe)
        except BadInput as error:
            rule = "must be a shipped recipe, or a recipe file that is there, to train this teacher with"
            yield f"{field}.recipe: {rule}, but got {detector.recipe!r}: {error}"


def _is_file(path: str) -> bool:
    return Path(path).expanduser().is_file()


def _resource_faults(files: SweepFiles) -> Iterator[str]:
    """Yield what trials ask of this machine that it has not. A cluster is asked when it has been joined."""
    runner, device = files.runner, files.recipe.device
    asked = runner.trial.gpus
    if device == "cuda" and not asked:
        yield f"recipe {files.recipe.name}: device: must be auto or cpu where the runner gives a trial no GPU " + (
            f"(trial.gpus is {asked:g}), but got {device!r}"
        )
    if asked and runner.ray.address == "local":
        import torch  # slow, and only needed here

        there = torch.cuda.device_count()
        if asked > there:
            yield f"runner: trial.gpus: must be at most the {there} GPUs of this Ray, but got {asked:g}; " + (
                "use another runner file, or see with `ikd doctor` why none is found"
            )


def _storage_faults(runner: Runner, folder: SweepFolder) -> Iterator[str]:
    """Yield why the sweep's folder, or the store of its trials, cannot be used."""
    field = "runner: storage" if runner.storage is not None and not is_address(runner.storage) else "the ikd home"
    place = _nearest(folder.path)
    cure = "give another folder (runner: storage, or $IKD_HOME), or the right to write there"
    if not place.is_dir():
        yield f"{field}: must be a folder that can be written, but {place} is none; {cure}"
        return
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # told where it strikes, with what was needed
            yield f"{field}: must be a folder that can be written, but {place} cannot be: {error.strerror}; {cure}"
    if runner.storage is not None and is_address(runner.storage):
        filesystem, path = open_address(runner.storage)
        try:
            any_below(filesystem, path)
        except OSError as error:
            rule = "must be a store that can be reached and read"
            yield f"runner: storage: {rule}, but got {shown(runner.storage)!r}: {shown(first_line(error))}"


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def _disk_faults(files: SweepFiles, folder: SweepFolder) -> Iterable[str]:
    """Return what there is no room for, as far as it is known before anything is made."""
    anchors = anchor_proposals(files.space, files.recipe)
    place = _nearest(folder.path)
    free = shutil.disk_usage(place).free
    stores = stores_of(files.space, files.recipe, [one.recipe for one in anchors], files.space.budget.trials)
    made = sum(file.stat().st_size for file in (folder.home / "cache" / "perturbations").glob("*/*") if file.is_file())
    if stores.bytes is not None and (needed := min(stores.bytes, store_bound()) - made) > free:
        yield (
            f"attack: its perturbations take up to {needed / 1e9:.1f} GB more, but {free / 1e9:.1f} GB are free under "
            f"{place}; make room, lower $IKD_STORE_GB, or set attack.store: online"
        )
    student = features_of(files.recipe.stages[0], 1)["student"]
    checkpoint = None if is_address(files.runner.storage) else read_kept().checkpoint_bytes.get(student)
    if checkpoint is None:
        return
    keep, slots = files.runner.keep_top, files.runner.concurrency
    count = most_checkpoints(files.space, files.recipe, keep_top=keep, slots=slots, anchors=len(anchors))
    if (needed := count * checkpoint) > free:
        yield (
            f"runner: keep_top: {count} checkpoints take up to {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are "
            f"free under {place}; make room, keep fewer than {keep}, or take another storage"
        )
