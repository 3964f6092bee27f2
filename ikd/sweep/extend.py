"""More trials for a sweep, and what other sweeps have learnt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ikd.config import Anchor, Chosen, Confirm, Recipe, SearchSpace, SweepFiles, room_fault, shares_of
from ikd.errors import BadInput
from ikd.sweep.status import sweep_status
from ikd.sweep.study.folder import BEFORE, COMPLETE, SweepFolder, read_files, with_experiment
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.study.warm import carried, shared_parameters
from ikd.sweep.view.space import values_text

LATE: Anchor = "inherit_alone"
"""An anchor that is younger than people's sweeps."""
UNCONFIRMED = Confirm(share=0.0, apart=0)
"""Nothing is repeated or kept apart, as in all sweeps once."""


def budgeted(space: SearchSpace, recipe: Recipe, study: SweepStudy | None, trials: str | None) -> SearchSpace:
    """Return the space with another number of trials.

    Args:
        space: what is searched.
        recipe: the base.
        study: of the sweep, None where it never was started.
        trials: a number, or `+N`: N more than the sweep had when it was last complete, so that the same command again
            goes on with the same extension after an interruption. None leaves it.

    Raises:
        BadInput: no such number, `+N` of a sweep that was never complete, fewer trials than there are anchors or than
            it has had, or, where it has had none, too few for what `budget.confirm` says.
    """
    if trials is None:
        return space
    if not re.fullmatch(r"\+?[1-9]\d{0,6}", trials):
        raise BadInput(f"--trials: must be a number above 0, or +N for N more, but got {trials!r}")
    number = int(trials)
    if trials.startswith("+"):
        complete = study.notes.get(COMPLETE) if study is not None else None
        if complete is None:
            rule = "extends a sweep that is complete, and this one is not; leave it out to go on, or give a number"
            raise BadInput(f"--trials: {trials} {rule}")
        number += complete
    if number < len(space.anchors):
        raise BadInput(f"--trials: must cover at least the {len(space.anchors)} anchors, but got {trials!r}")
    had = len(study.records) if study is not None else 0
    if number < had:
        raise BadInput(f"--trials: must be at least the {had} trials that the sweep has had, but got {trials!r}")
    given = space.model_copy(update={"budget": space.budget.model_copy(update={"trials": number})})
    if not had and (fault := room_fault(given, recipe)) is not None:
        field, value, rule = fault
        raise BadInput(f"--trials: {trials} does not go with budget.confirm.{field} {value:g}, which {rule}")
    return given


def beginning(files: SweepFiles, folder: SweepFolder, trials: str | None) -> SweepFiles:
    """Return the files of a sweep that has not begun, with what `scheduler: auto` stands for under its own budget.

    What it stands for is chosen once: a sweep that has begun keeps it (`as_it_began`), however many trials are added.

    Raises:
        BadInput: as `budgeted` does.
    """
    if folder.exists or trials is None:
        return files
    budget = budgeted(files.space, files.recipe, None, trials).budget
    return SweepFiles(files.space.stopped_by(files.recipe, budget), files.recipe, files.runner)


def as_it_began(files: SweepFiles, folder: SweepFolder) -> tuple[SweepFiles, str]:
    """Return the files of a sweep for going on with it, and what to tell of that.

    A sweep that began when nothing was called `inherit_alone` goes on as it was: with another anchor its trials would
    be others than those that it would have had. So does one that counts trials by their best epochs, as all did once,
    unless its file says otherwise, which is refused like any other change; one whose sampler is
    effects now, in whose place TPE was, by default and in the shipped spaces; and one whose scheduler is left to us:
    with what it began with. Its runs go on in the MLflow experiment where they began. One whose data set lies elsewhere
    now goes on under the place where it lay; whether the content is the same is asked by `check_same_data`.
    """
    if not folder.exists:
        return with_experiment(files), ""
    try:
        began = read_files(folder)
    except BadInput:  # told by whoever needs the file
        return with_experiment(files), ""
    said = []
    space, recipe = files.space, files.recipe
    kept = tuple(anchor for anchor in space.anchors if anchor != LATE)
    if kept != space.anchors and began.space.anchors == kept:
        space = space.model_copy(update={"anchors": kept})
        said.append(f"anchor {LATE} is left out: {folder.name} began without it")
    confirms = space.budget.confirm == Confirm() and shares_of(space, recipe.total_epochs).acts
    if confirms and began.space.budget.confirm == UNCONFIRMED:
        budget = space.budget.model_copy(update={"confirm": UNCONFIRMED})
        space = space.model_copy(update={"budget": budget})
        said.append(f"nothing is kept apart or repeated: {folder.name} began without that")
    value = began.space.objective.value
    if "value" not in space.objective.model_fields_set and space.objective.value != value == BEFORE:
        objective = space.objective.model_copy(update={"value": value})
        space = space.model_copy(update={"objective": objective})
        said.append(f"objective.value is {value}: {folder.name} began with it")
    if space.sampler.effects is not None and began.space.sampler.tpe is not None:
        space = space.model_copy(update={"sampler": began.space.sampler})
        said.append(f"sampler tpe is kept: {folder.name} began with it")
    if isinstance(space.scheduler, Chosen):
        was = began.space.scheduler
        if was.model_dump() != space.scheduler.model_dump(exclude={"why"}):
            said.append(f"scheduler {was.kind} is kept: {folder.name} began with it")
        kept_scheduler = Chosen.model_validate({**dict(was), "why": "as the sweep began"})
        space = space.model_copy(update={"scheduler": kept_scheduler})
    recipe = recipe.going_on(began.recipe)
    if recipe.data.root != began.recipe.data.root:
        said.append(f"the data set lies in {recipe.data.root} now, and lay in {began.recipe.data.root}")
    return with_experiment(SweepFiles(space, recipe, files.runner), began), "; ".join(said)


def warm_up(study: SweepStudy, space: SearchSpace, names: str | Sequence[str], home: Path) -> str:
    """Copy the trials of other sweeps that teach something of `space` into the study, for its sampler.

    Returns:
        How many were taken, for people.

    Raises:
        BadInput: no such sweep, or one twice; one shares nothing with this space, has no trial in range, or another
            objective; or this sweep began without them.
    """
    names = [names] if isinstance(names, str) else list(names)
    noted = study.notes.get("warm_start")
    noted = [noted] if isinstance(noted, str) else noted
    if noted == names:
        return f"warm start: {len(study.earlier)} trials of {', '.join(names)} teach the sampler, since the first start"
    if noted is not None or study.records:
        how = f"with {', '.join(noted)}" if noted is not None else "without one"
        rule = f"must be given at the first start, and this sweep began {how}"
        raise BadInput(f"--warm-start: {rule}; got {', '.join(map(repr, names))}")
    if len(set(names)) < len(names):
        raise BadInput(f"--warm-start: must name each sweep once, but got {', '.join(names)}")
    kept, said = [], []
    for name in names:
        taken, count = _taken(space, name, home)
        kept += taken
        lack = sum(not one["whole"] for one in taken)
        part = f" ({lack} of them lack parameters: the effects model alone learns from those)" if lack else ""
        said.append(f"{len(taken)} of the {count} trials of {name}{part}")
    study.warm_up(names, kept)
    return f"warm start: {', '.join(said)} teach the sampler"


def _taken(space: SearchSpace, name: str, home: Path) -> tuple[list[dict[str, Any]], int]:
    """Return what is kept of a sweep's trials, and how many it has."""
    other = sweep_status(name, home=home)
    theirs, ours = other.files.space.objective, space.objective
    if (theirs.metric, theirs.mode) != (ours.metric, ours.mode):
        is_, was = f"{ours.metric} {ours.mode}", f"{theirs.metric} {theirs.mode}"
        raise BadInput(f"--warm-start: must be a sweep with objective {is_}, but {name} has {was}")
    began, lacking = other.files.space, space.sampler.effects is not None
    shared = shared_parameters(began, space)
    if not shared:
        raise BadInput(f"--warm-start: must share a parameter whose range overlaps, but {_apart(name, began, space)}")
    kept = carried(name, other.trials, other.files, space, lacking=lacking)
    if not kept:
        which = f"every value that was searched in range ({', '.join(shared)} are shared)"
        if not lacking:
            which = f"a value in range for every parameter of this space, with sampler {space.sampler.kind}"
        raise BadInput(
            f"--warm-start: trials of {name} must have {which}, but none of the {len(other.trials)} has; "
            "a sampler of kind effects learns also from trials that lack parameters"
        )
    return kept, len(other.trials)


def _apart(name: str, theirs: SearchSpace, ours: SearchSpace) -> str:
    """Write what keeps two spaces apart."""
    parts = [
        f"{one} is {values_text(one, theirs.parameters[one])} in {name}, and {values_text(one, ours.parameters[one])}"
        " here"
        for one in theirs.parameters
        if one in ours.parameters
    ]
    for where, one, other in ((f"in {name}", theirs, ours), ("here", ours, theirs)):
        if alone := [field for field in one.parameters if field not in other.parameters]:
            parts.append(f"{', '.join(alone)} only {where}")
    return "; ".join(parts)
