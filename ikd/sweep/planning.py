"""What a sweep would do and cost, without starting anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ikd.config import DRAWN, Chosen, Recipe, Runner, SearchSpace, Shares, SweepFiles, shares_of
from ikd.data import said_of_data, said_of_prototypes, training_annotations
from ikd.errors import BadInput
from ikd.home import at_home, home
from ikd.sweep.confirm.rounds import Ahead, ahead_of
from ikd.sweep.driver import resolve
from ikd.sweep.extend import as_it_began, beginning, budgeted
from ikd.sweep.forecast.course import FILE, Course, read_course
from ikd.sweep.forecast.kept import read_kept
from ikd.sweep.forecast.left import Forecast, Outlook, Situation
from ikd.sweep.forecast.wants import everything, look_up, sampled_recipes, wants
from ikd.sweep.measure import measure_now
from ikd.sweep.preflight import check_start, scratch_home
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.text import duration, readable
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.same_data import check_same_data
from ikd.sweep.storage.keeping import most_checkpoints
from ikd.sweep.stores import Stores, stores_of
from ikd.sweep.study.database import check_begun, open_study
from ikd.sweep.study.folder import SweepFolder, has_trials
from ikd.sweep.training import OWN, training_of
from ikd.sweep.view.space import kind_with_settings
from ikd.trial import OPEN, Shared

NUM_SAMPLES = 5
ALL_WELL = "would find data, detectors, teachers, what trials ask of the machine, storage and tracker as they must be"


@dataclass(frozen=True)
class DryRun:
    """The plan of a sweep.

    Attributes:
        name: of the sweep.
        directory: its folder to be.
        files: checked.
        configurations: distinct ones in the space; infinite with a continuous range.
        samples: values of five draws, as the sweep might start with.
        anchors: number of anchor trials.
        size: number of trials that try everything, repeats and anchors included; infinite with a continuous range.
        trials: number of trials, limited by budget and space.
        ahead: those that are still to be begun, by phase.
        ended: trials of a sweep that exists which have ended; None where there is none of this name.
        left: what is expected of what is left.
        bound: what is left when nothing is stopped.
        shared: what trials share, with what of it is there.
        source: where epochs were measured, for people; empty where they were not.
        checkpoint_bytes: of the largest checkpoint of a trial; None where it was not measured.
        checkpoints: how many there are at any time, at most.
        stores: perturbations that are made for it, at most.
        levels: what is said of the levels that the base recipe distils; empty where nothing is, or the data are not
            there yet.
        prototypes: what is said of choosing prototypes; empty where there are none, or the data are not there yet.
        said: what a start would meet, see `ikd.sweep.preflight`; empty where it was not looked at.
        data: what is said of the data; empty where the drawn data set is not drawn yet.
    """

    name: str
    directory: Path
    files: SweepFiles
    configurations: float
    samples: tuple[Mapping[str, Any], ...]
    anchors: int
    size: float
    trials: int
    ahead: Ahead
    ended: int | None
    left: Forecast
    bound: Forecast
    shared: tuple[Shared, ...]
    source: str
    checkpoint_bytes: int | None
    checkpoints: int
    stores: Stores
    levels: str = ""
    prototypes: str = ""
    said: str = ""
    data: tuple[str, ...] = ()

    def render(self) -> RenderableType:
        """Return the plan for a rich console."""
        table = Table(box=None, show_header=False, highlight=False)
        for key, value in self._lines():
            table.add_row(key, value)
        if self._complete:
            return table
        if not self.samples:
            return Group(table, Text("\nno configuration besides the anchors: the recipe takes none of the space"))
        some = Text(f"\n{len(self.samples)} of the configurations; the search draws its own:")
        return Group(table, some, _samples_table(self.samples, self.files.space))

    @property
    def _complete(self) -> bool:
        return self.ended is not None and not self.left.trials

    def _lines(self) -> list[tuple[str, str]]:
        if self._complete:
            return [("sweep", f"{self.name}, in {self.directory}"), ("", "complete, nothing to do")]
        where = "would lie in" if self.ended is None else "in"
        return [
            ("sweep", f"{self.name}, {where} {self.directory}"),
            ("distinct configurations", self._distinct()),
            ("trials", f"{self.trials}, {self.anchors} of them anchors; {self.files.runner.concurrency} at a time"),
            *([("of them", self._confirming())] if self._shares.acts else []),
            *([("so far", self._so_far())] if self.ended is not None else []),
            ("epochs", self._epochs()),
            *self._stopping(),
            *([("once before", self._once())] if self._missing or self.shared else []),
            ("start-up", self._start_up()),
            ("time", self._time()),
            ("disk", self._disk()),
            *self.stores.lines(),
            *([("levels", self.levels)] if self.levels else []),
            *([("prototypes", self.prototypes)] if self.prototypes else []),
            *([("a start", self.said)] if self.said else []),
            *(("data" if not number else "", line.removeprefix("data: ")) for number, line in enumerate(self.data)),
        ]

    @property
    def _shares(self) -> Shares:
        return shares_of(self.files.space, self.files.recipe.total_epochs)

    def _confirming(self) -> str:
        kept, sides = self.ahead.apart, self._shares.sides
        parts = [f"{self.ahead.repeats} repeat what is promising, to choose"] * bool(self.ahead.repeats)
        pairs = f" ({kept // 2} of the chosen one, {kept // 2} of an anchor)" if sides > 1 and not kept % 2 else ""
        parts += [f"{kept} are kept apart, to say what the choice is worth{pairs}"] * bool(kept)
        return "; ".join(parts) or "none that is still to come repeats or is kept apart: they are too few"

    def _so_far(self) -> str:
        return f"{self.ended} ended; {self.left.trials} to run; about {self.left.epochs:.0f} epochs"

    def _epochs(self) -> str:
        early = {"asha": " with ASHA", "hyperband": " with HyperBand", "median": " with the median rule"}
        early["hopeless"] = " without the hopeless"
        stopping = early.get(self.files.space.scheduler.kind, ", nothing is stopped early")
        each = f"at most {self.epochs_bound} ({self.files.recipe.total_epochs} a trial)"
        return f"{each}, about {self.epochs_expected:.0f}{stopping}"

    def _stopping(self) -> list[tuple[str, str]]:
        """Write what `scheduler: auto` stands for, and why."""
        scheduler = self.files.space.scheduler
        if not isinstance(scheduler, Chosen):
            return []
        return [("stopping", f"{kind_with_settings(scheduler)} ({scheduler.why})")]

    @property
    def epochs_bound(self) -> int:
        """Epochs that are still to be trained when nothing is stopped."""
        return self.left.epochs_bound

    @property
    def epochs_expected(self) -> float:
        """Epochs that are still to be trained when early stopping does as expected."""
        return self.left.epochs

    @property
    def _missing(self) -> list[Shared]:
        return [one for one in self.shared if not one.made]

    def _once(self) -> str:
        """Write what is made once, before or beside the trials: each with what of it is there."""
        parts = [_shared_text(one) for one in self.shared if one.kind != "rehearsal"]
        tried = [one for one in self.shared if one.kind == "rehearsal"]
        if tried:
            parts.append(f"{len(tried)} rehearsals on two images (cached: {sum(one.made for one in tried)})")
        took = sum(self.left.shared.values())
        took += self.left.parts["rehearsal"] * sum(not one.made for one in tried)
        return ", ".join(parts) + (f"; about {duration(took)}" if took >= 1 and self._timed else "")

    @property
    def _timed(self) -> bool:
        return self.left.seconds is not None

    def _start_up(self) -> str:
        parts = self.left.parts
        new, warm = parts["cold"] + parts["first"], parts["warm"] + parts["next"]
        return f"Ray {duration(parts['ray'])}, a first trial {duration(new)}, a later one {duration(warm)}"

    def _distinct(self) -> str:
        if math.isinf(self.configurations):
            return "unlimited (a range is continuous)"
        text, grid = f"{self.configurations:,.0f}", self.files.space.sampler.grid
        if grid is None:
            return text
        text += f", each {grid.repeats} times" if grid.repeats > 1 else ""
        part = f"only a part: budget.trials is {self.trials}, all of it with the anchors is {self.size:,.0f}"
        return f"{text}; {'all of them' if self.trials >= self.size else part}"

    def _time(self) -> str:
        expected, bound = self.seconds, self.seconds_bound
        if expected is None or bound is None or self.left.epoch_seconds is None:
            return "not measured yet: nobody here has trained this student on this data; --measure trains an epoch"
        text = f"about {duration(expected)}, at most {duration(bound)} ({self.left.epoch_seconds:.1f} s an epoch in "
        text += f"{self.source})" if self.source else "this sweep)"
        gpus = self.files.runner.trial.gpus
        if gpus:
            text += f"; {self.left.epochs * self.left.epoch_seconds * gpus / 3600:.1f} GPU-hours"
        hours = self.files.space.budget.wall_hours
        return text + (f"; ends after {hours:g} h by budget.wall_hours" if hours else "")

    @property
    def seconds(self) -> float | None:
        """Seconds that it will take from the command on, None when not measured."""
        return self._with_rehearsals(self.left.seconds)

    @property
    def seconds_bound(self) -> float | None:
        """Seconds when nothing is stopped, None when not measured."""
        return self._with_rehearsals(self.bound.seconds)

    def _with_rehearsals(self, seconds: float | None) -> float | None:
        if seconds is None or self.ended is not None:
            return seconds
        tried = sum(one.kind == "rehearsal" and not one.made for one in self.shared)
        return seconds + self.left.parts["rehearsal"] * tried

    def _disk(self) -> str:
        keep = self.files.runner.keep_top
        kept = (
            "of every trial"
            if keep is None
            else f"of the anchors, the best {keep} others, some that may still win, and the running"
        )
        what = f"{self.checkpoints} checkpoints ({kept})"
        size = self.disk_bytes
        unknown = f"at most {what}; their size is not measured yet"
        return unknown if size is None else f"at most {size / 1e6:,.0f} MB: {what}"

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of all checkpoints at most, None when their size is not measured."""
        return None if self.checkpoint_bytes is None else self.checkpoints * self.checkpoint_bytes


UNKNOWN = 1
"""How much there is to make of a thing before the data is there; nothing of it is."""


def _shared_text(one: Shared) -> str:
    """Write something shared: `teacher big, 4 epochs (cached: no)`, `boxes of r101, 192 images (cached: yes)`."""
    if one.total == UNKNOWN:
        return f"{'teacher' if one.kind == 'teacher' else f'{one.kind} of'} {one.teacher}, once the data is there"
    images = one.total // 2 if one.kind == "perturbations" else one.total
    there = min(one.done, images)
    cached = "yes" if one.made else str(there) if there else "no"
    what = f"teacher {one.teacher}, {one.total} epochs" if one.kind == "teacher" else ""
    return f"{what or f'{one.kind} of {one.teacher}, {images} images'} (cached: {cached})"


def dry_run(  # noqa: PLR0913 - one keyword for each option of `ikd sweep`
    space: SearchSpace | str | Path,
    *,
    recipe: Recipe | None = None,
    runner: Runner | str | Path | None = None,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
    trials: str | None = None,
    measure: bool = False,
    check: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    training: str = OWN,
) -> DryRun:
    """Plan a sweep: how much there is to try, five samples, epochs, time and disk. Starts nothing.

    Args:
        space: as of `run_sweep`.
        recipe: as of `run_sweep`.
        runner: as of `run_sweep`.
        name: as of `run_sweep`.
        values: as of `run_sweep`.
        trials: as of `run_sweep`.
        measure: measure here and now what the forecast needs: an epoch of the student, one of each teacher that is not
            there yet, and a few images of what is made with it. Kept for later forecasts; nothing else is written, and
            without it nothing at all.
        check: refuse first what a start would refuse, by the same function, as `ikd sweep --dry-run` does. Data,
            detectors and tracker must then be there.
        progress: told what is being measured.
        training: module that trains, see `run_sweep`.

    Raises:
        BadInput: as `run_sweep` does.
    """
    files, folder = resolve(space, recipe=recipe, runner=runner, name=name, values=values)
    files, _ = as_it_began(beginning(files, folder, trials), folder)
    with scratch_home(folder.home) as scratch, at_home(scratch):
        said = check_start(training, files, folder, begun=has_trials(folder), home=scratch) if check else None
        if measure:
            measure_now(files, training_of(training), progress, folder.home)
        return _planned(files, folder, trials, training, "" if said is None else said or ALL_WELL)


def _planned(files: SweepFiles, folder: SweepFolder, trials: str | None, training: str, said: str) -> DryRun:
    """Plan what is checked; `said` is of the check, or empty. What is made to look at the data lies in the ikd home."""
    study = open_study(folder, files) if folder.exists else None
    if trials is not None:
        files = SweepFiles(budgeted(files.space, files.recipe, study, trials), files.recipe, files.runner)
    if said and study is not None:
        check_begun(study, folder, files)
        check_same_data(study, files, training, home())
    anchors = anchor_proposals(files.space, files.recipe)
    configurations = files.space.num_configurations(files.recipe)
    size = everything(files.space, configurations, sum(not anchor.in_space for anchor in anchors))
    records = list(study.records) if study is not None else []
    ahead = ahead_of(files.space, files.recipe, records, size)
    number = len(records) + ahead.total
    drawn = sampled_recipes(files.space, files.recipe)
    with at_home(folder.home):
        kept = read_kept()  # what was measured just now, too
    stores = stores_of(files.space, files.recipe, [one.recipe for one in anchors], number)
    course = Course()
    course.events += read_course(folder.path / FILE)
    shared = _shared([*(one.recipe for one in anchors), *drawn], course, training)
    there = Situation(
        files, records, course.events, slots=files.runner.concurrency, ahead=ahead, now=None, sampled=drawn, kept=kept
    )
    outlook = Outlook(there)
    return DryRun(
        name=folder.name,
        directory=folder.path,
        files=files,
        configurations=configurations,
        samples=tuple(_samples(files)),
        anchors=len(anchors),
        size=size,
        trials=number,
        ahead=ahead,
        ended=None if study is None else sum(record.state not in OPEN for record in records),
        left=outlook.forecast(),
        bound=outlook.forecast(stopping=False),
        shared=shared,
        source="" if outlook.seen else kept.sources.get(outlook.student, ""),
        checkpoint_bytes=kept.checkpoint_bytes.get(outlook.student),
        checkpoints=most_checkpoints(
            files.space,
            files.recipe,
            keep_top=files.runner.keep_top,
            slots=files.runner.concurrency,
            anchors=len(anchors),
        ),
        stores=stores,
        levels=_levels(files.recipe),
        prototypes=said_of_prototypes(files.recipe),
        said=said,
        data=_data(files.recipe),
    )


def _data(recipe: Recipe) -> tuple[str, ...]:
    """Return what is said of the data, where they are there: nothing is drawn for it, and plans may come first.

    Raises:
        BadInput: the data cannot be trained on.
    """
    if not (annotations := training_annotations(recipe)).is_file():
        return () if recipe.data.root == DRAWN else (f"not checked: {annotations} is not there",)
    return tuple(said_of_data(recipe))


def _levels(recipe: Recipe) -> str:
    """Return what is said of levels; nothing is drawn for it, and what does not fit is told when it is trained."""
    if not training_annotations(recipe).is_file():
        return ""
    from ikd.training import said_of_levels  # torch is slow

    try:
        return "; ".join(said_of_levels(recipe))
    except BadInput:
        return ""


def _shared(recipes: Sequence[Recipe], course: Course, training: str) -> tuple[Shared, ...]:
    """Return what these recipes share and what of it is there, noted in the course too; nothing is drawn for it."""
    if not all(training_annotations(recipe).is_file() for recipe in recipes):
        every = [want for recipe in recipes for want in wants(recipe)]
        return tuple({(one.kind, one.teacher): Shared(one.kind, one.teacher, 0, UNKNOWN) for one in every}.values())
    found = look_up(course, recipes, training_of(training))
    return tuple({(one.kind, one.teacher): one for one in found}.values())


def _samples(files: SweepFiles) -> list[Mapping[str, Any]]:
    drawn: list[TrialRecord] = []
    for number in range(NUM_SAMPLES):
        proposal = propose(files.space, files.recipe, drawn)
        if proposal is None:
            break
        # Counted as failed: taken, but nothing to learn from.
        print_ = proposal.recipe.fingerprint()
        drawn.append(TrialRecord(number, "", (), proposal.values, True, print_, Path(), state="failed"))
    return [record.values for record in drawn]


def _samples_table(samples: Sequence[Mapping[str, Any]], space: SearchSpace) -> Table:
    table = Table(highlight=False)
    table.add_column("parameter", overflow="fold")
    for number in range(1, len(samples) + 1):
        table.add_column(str(number), justify="right")
    for name in dict.fromkeys(name for sample in samples for name in sample):
        domain = space.parameters.get(name)
        aliases = [domain.alias(one.get(name)) if domain is not None and name in one else None for one in samples]
        texts = [readable(sample[name], name) if name in sample else "-" for sample in samples]
        table.add_row(name, *[alias or text for alias, text in zip(aliases, texts, strict=True)])
    return table
