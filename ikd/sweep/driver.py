"""`run_sweep`: start, resume and extend a sweep are the same call."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from ikd.config import Recipe, Runner, SearchSpace, SweepFiles, load_runner, load_sweep
from ikd.data import said_of_data
from ikd.errors import BadInput, IkdError, JobError, first_line, refuse
from ikd.home import at_home, home
from ikd.logs import Log
from ikd.progress import Loudness, loudness, progress_console, wide_console, working
from ikd.signals import ENDING
from ikd.sweep.conductor import FORCED, Conductor
from ikd.sweep.confirm.rounds import said_of_phase
from ikd.sweep.confirm.standing import Standing, exported, standing
from ikd.sweep.extend import as_it_began, beginning, budgeted, warm_up
from ikd.sweep.forecast.clock import TimeLeft
from ikd.sweep.forecast.course import FILE, Course
from ikd.sweep.forecast.kept import keep
from ikd.sweep.forecast.wants import look_up, sampled_recipes
from ikd.sweep.hopeless import without_result
from ikd.sweep.mirror.announce import announce, give_files
from ikd.sweep.pictures.sweep import picture_trials, wanted, without_pictures
from ikd.sweep.preflight import check_start
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.same_data import FINGERPRINT, check_same_data
from ikd.sweep.signals import Interrupts, StopNow, listening
from ikd.sweep.status import remarks
from ikd.sweep.storage.keeping import tidied
from ikd.sweep.storage.objects import is_address
from ikd.sweep.storage.store import open_store
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import COMPLETE, SweepFolder, driving, experiment_of, has_trials, sweep_folder, write_files
from ikd.sweep.study.postgres import held
from ikd.sweep.study.study import StudyLost, SweepStudy
from ikd.sweep.training import OWN, training_of
from ikd.sweep.tune.environment import prepare_environment
from ikd.sweep.tune.worker import Job
from ikd.sweep.view.live import SweepView
from ikd.sweep.view.ranking import choice_lines, described, figure_of, ranking
from ikd.tracking import Tracker, environment_tags, open_tracker
from ikd.trial import TrialFolder, TrialOptions

NO_PICTURES = "ended before all pictures were made"
REPORT = "ikd.report"
"""Module whose `after_sweep` writes the report of a sweep: it stands above this package, so that it is looked up."""
STARTS = "starts"
"""Note of the study: when, by which command and with which versions it was started, the last `MOST_STARTS`."""
MOST_STARTS = 50
TRACKER_SECONDS = 4.0
"""What the tracker gets to deliver after SIGTERM or SIGHUP; the rest waits on disk for the next start."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves.

    Attributes:
        name: of the sweep.
        directory: its folder.
        state: finished; interrupted (the same command goes on); failed (no trial with a teacher has a result, or what
            all of them would meet must be mended first; then the same command goes on).
        reason: why it is not finished.
        trials: all of them, by number.
        best: the training of the chosen configuration; before one has finished, the best trial so far. None when none
            has a result.
        signal: number of the signal that interrupted it, 0 where it was none.
        standing: what is believed of its configurations, None while none has finished.
    """

    name: str
    directory: Path
    state: Literal["finished", "interrupted", "failed"]
    reason: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    signal: int = 0
    standing: Standing | None = None

    @property
    def exit_status(self) -> int:
        """Exit status of a command that ran this sweep; an interrupted one has 128 and the signal (Ctrl-C's: 130)."""
        return {"finished": 0, "failed": 1, "interrupted": 128 + (self.signal or signal.SIGINT)}[self.state]


def resolve(
    space: SearchSpace | str | Path,
    *,
    recipe: Recipe | None = None,
    runner: Runner | str | Path | None = None,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> tuple[SweepFiles, SweepFolder]:
    """Return the checked files of a sweep and its folder; nothing is written.

    Raises:
        BadInput: a file, name or value is wrong.
    """
    if not isinstance(space, SearchSpace):
        if recipe is not None:
            raise BadInput("recipe: a search-space file names its recipe; give a SearchSpace object to use another one")
        path = None if isinstance(runner, Runner) else runner
        files = load_sweep(space, path, values)
        files = SweepFiles(files.space, files.recipe, runner) if isinstance(runner, Runner) else files
        default = Path(space).stem
    else:
        if recipe is None:
            raise BadInput("recipe: is required with a SearchSpace object")
        recipe = recipe.with_values(values) if values else recipe
        chosen = runner if isinstance(runner, Runner) else (load_runner(runner) if runner is not None else Runner())
        files, default = SweepFiles(space.checked(recipe), recipe, chosen), recipe.name
    return files, sweep_folder(default if name is None else name, storage_of(files.runner))


def storage_of(runner: Runner) -> Path:
    """Return the home a runner's sweeps lie under; an object store holds checkpoints only."""
    if runner.storage is None or is_address(runner.storage):
        return home()
    return Path(runner.storage).expanduser().absolute()


def run_sweep(  # noqa: PLR0913 - one keyword for each option of `ikd sweep`
    space: SearchSpace | str | Path,
    *,
    recipe: Recipe | None = None,
    runner: Runner | str | Path | None = None,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
    trials: str | None = None,
    warm_start: str | Sequence[str] | None = None,
    retry_failed: bool = False,
    force: bool = False,
    output: Console | None = None,
    training: str = OWN,
) -> SweepResult:
    """Run a sweep to its budget: start it, go on with it, or extend it.

    The study in the sweep's folder says what has happened; the call does what is left. Trials that ended never run
    again, interrupted ones go on from their last checkpoint with the same values, a larger `budget.trials` adds trials.
    Ctrl-C, SIGTERM and SIGHUP save and end; the same call goes on later.

    Args:
        space: a search-space file, or an object together with `recipe`.
        recipe: the base recipe of a `SearchSpace` object.
        runner: a runner file or object; None is one trial at a time on this machine.
        name: of the sweep; default is the file's name, or the recipe's.
        values: recipe fields fixed by dotted name (`--set`).
        trials: number of trials instead of the space's `budget.trials`; `+20` is twenty more than the sweep had when
            it was last complete.
        warm_start: another sweep, or several, whose trials teach the sampler; given at the first start, kept from then
            on. The effects model learns also from trials that share only some parameters.
        retry_failed: run failed trials again, as further attempts of theirs; also when the sweep is complete.
        force: go on though the anchors have learnt nothing; kept from then on.
        output: where the live table goes; None is standard output.
        training: importable module that trains (see `ikd.sweep.tune.worker.Job`); the default is ikd's own.

    Raises:
        BadInput: files, name or values are wrong, the sweep of this name was made with other ones, or another process
            runs it. Nothing was changed.
        JobError: the disk is full, or the study's database is away; the same call goes on when that is mended.
    """
    files, folder = resolve(space, recipe=recipe, runner=runner, name=name, values=values)
    if retry_failed and not has_trials(folder):
        refuse(
            "--retry-failed", "must go on with a sweep that has begun", folder.name, "leave it out to start this one"
        )
    home_folder = storage_of(files.runner)
    console = output or wide_console()
    files, left_out = as_it_began(beginning(files, folder, trials), folder)
    if left_out:
        console.print(left_out, highlight=False, markup=False, soft_wrap=True)
    with working("looking at what every trial needs"):
        check_start(training, files, folder, begun=has_trials(folder))  # of a tracker that is away the tracker tells
    try:
        with driving(folder), held(files.runner.study, folder.name):
            study = open_study(folder, files, create=True)
            files = SweepFiles(budgeted(files.space, files.recipe, study, trials), files.recipe, files.runner)
            check_same_data(study, files, training, home_folder)
            if warm_start:
                taken = warm_up(study, files.space, warm_start, home_folder)
                progress_console(console).print(taken, highlight=False, markup=False)
            write_files(folder, files)
            uri, experiment = files.runner.tracking.uri, experiment_of(files)
            with open_tracker(uri, home=home_folder, folder=folder.path, experiment=experiment) as tracker:
                drive = _Drive(files, folder, study, tracker=tracker, console=console)
                return drive.run(training, retry_failed=retry_failed, force=force)
    except StudyLost as lost:
        raise JobError(f"{lost}. Nothing that was written is lost; mend it, and the same command goes on") from lost


class _Drive:
    """One start of a sweep."""

    def __init__(
        self,
        files: SweepFiles,
        folder: SweepFolder,
        study: SweepStudy,
        *,
        tracker: Tracker,
        console: Console,
    ) -> None:
        self._files, self._folder, self._study = files, folder, study
        self._tracker, self._console = tracker, console
        self._view = SweepView(
            progress_console(console),
            files.space,
            files.recipe,
            records=lambda: study.records,
            left=lambda: self._left(),
            known=self._standing,
            log=Log(folder.log),
        )
        self._environment = environment_tags()  # asks git: once at a start
        self._announce(self._environment)
        self._store = open_store(files.runner.storage, folder.path)
        tidy = tidied(files.space, files.runner.keep_top, self._remove, self._standing)
        self._course = Course(folder.path / FILE)
        self._left = TimeLeft(
            files,
            folder,
            self._course,
            records=lambda: study.records,
            slots=lambda: self._conductor.slots,
            wall_seconds=lambda: self._conductor.wall_seconds,
        )
        self._conductor = Conductor(
            files, study=study, watcher=self._view, tracker=tracker, tidy=tidy, course=self._course
        )
        self._interrupts = Interrupts(self._conductor.interrupt)

    def _announce(self, environment: Mapping[str, str]) -> None:
        data = self._study.notes.get(FINGERPRINT)
        announce(self._tracker, self._files, self._folder, self._study, data, environment=environment)

    def _standing(self, records: Sequence[TrialRecord]) -> Standing | None:
        return standing(self._files.space, self._files.recipe, records, earlier=self._study.earlier)

    def _remove(self, number: int) -> None:
        """Remove the checkpoints of a trial; what others of a population may still go on from (`epoch-K.pth`) stays."""
        self._store.remove(number, TrialFolder.BEST, TrialFolder.LAST, TrialFolder.PREVIOUS)

    def run(self, training: str, *, retry_failed: bool, force: bool) -> SweepResult:
        """Do what is left and say how it went."""
        if force:
            self._study.note(FORCED, True)
        if retry_failed:
            again = ", ".join(map(str, self._conductor.retry_failed()))
            self._view.say(f"trying again: trials {again}" if again else "--retry-failed: no trial has failed")
        self._conductor.mirror.everything()
        if self._conductor.has_work():
            self._note_start()
            self._look_up(training)
            self._course.note("begin")
            self._work(training)
            self._course.note("over")
            self._keep_costs()
        result = self._result()
        self._show(result)
        result = self._hand_over(result, pictures=training == OWN and self._files.runner.pictures)
        if self._conductor.fault is not None:
            raise JobError(self._conductor.fault)
        return result

    def _note_start(self) -> None:
        """Note by what the sweep is run now, for whoever wants to make the same again."""
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        now = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "command": command, "versions": self._environment}
        self._study.note(STARTS, [*self._study.notes.get(STARTS, ()), now][-MOST_STARTS:])

    def _report(self, result: SweepResult) -> None:
        """Write the report of a sweep that is over; what fails there is one warning."""
        try:
            file = importlib.import_module(REPORT).after_sweep(result.name, self._folder.home)
            self._say(f"report: {file}")
        except Exception as error:  # no page is worth a sweep
            why = f"{type(error).__name__}: {first_line(error)}"
            self._say(f"warning: the report could not be written ({why}); ikd report {result.name} writes it")

    def _look_up(self, training: str) -> None:
        """Note what of all that trials share is there."""
        space, recipe = self._files.space, self._files.recipe
        if any(event.what == "shared" for event in self._course.events):
            return  # an earlier start has
        anchors = [one.recipe for one in anchor_proposals(space, recipe)]
        with at_home(self._folder.home):
            look_up(self._course, [*anchors, *sampled_recipes(space, recipe)], training_of(training))

    def _keep_costs(self) -> None:
        """Keep what this start has shown of the machine; trials that ran elsewhere show nothing of it."""
        if self._files.runner.ray.address != "local":
            return
        sizes = {one.number: TrialFolder(one.directory).largest_checkpoint() for one in self._study.records}
        with at_home(self._folder.home):
            keep(
                self._left.outlook().rows(f"sweep {self._folder.name}", {n: size for n, size in sizes.items() if size})
            )

    def _work(self, training: str) -> None:
        self._view.say(self._headline())
        if phase := said_of_phase(self._files.space, self._files.recipe, self._study.records):
            self._view.say(phase)
        for line in said_of_data(self._files.recipe) if training == OWN else ():
            self._view.say(line)
        self._view.waiting("starting Ray, and what trains in its processes")
        prepare_environment(self._files.runner.ray.address)
        from ikd.sweep.tune.execution import execute  # Ray is loaded only when something runs

        files, conductor = self._files, self._conductor
        objective = files.space.objective
        pbt = files.space.scheduler.pbt
        job = Job(
            files.recipe.as_dict(),
            (objective.metric, objective.mode),
            self._folder.path,
            self._caches(),
            max(1, int(files.runner.trial.cpus / files.runner.trial.processes)),
            training,
            storage=files.runner.storage,
            gpus=files.runner.trial.gpus / files.runner.trial.processes,
            options=TrialOptions(
                costs=tuple(cost for cost in files.space.costs if cost != "gpu_hours"),
                keep_epochs=pbt.interval_epochs if pbt is not None else None,
                processes=files.runner.trial.processes,
                student="best" if objective.value == "best" else "last",
            ),
        )
        interrupts = self._interrupts

        def beat() -> None:
            if self._folder.stop_file.exists():
                conductor.interrupt("ikd stop: ending the sweep")
            interrupts.beat()
            conductor.heartbeat()
            self._view.beat()

        with self._view:
            try:
                execute(conductor, job, files.runner, beat=beat, guard=listening(interrupts))
            except StudyLost:
                raise
            except (StopNow, KeyboardInterrupt):  # of Python's own, where a program's other thread runs the sweep
                conductor.interrupt("stopped at once")
            finally:
                conductor.close()

    def _caches(self) -> Path | None:
        """Return the home whose caches workers use; on a cluster without a shared folder each node has its own."""
        runner = self._files.runner
        own = runner.ray.address != "local" and runner.storage is not None and is_address(runner.storage)
        return None if own else storage_of(runner)

    def _end_population(self, trials: Sequence[TrialRecord]) -> None:
        """Remove what trials of a population could go on from: none of them will."""
        pbt = self._files.space.scheduler.pbt
        for record in trials if pbt is not None else ():
            assert pbt is not None
            self._store.remove(
                record.number,
                *[TrialFolder.kept_name(k) for k in range(0, record.epochs + 1, pbt.interval_epochs)],
            )

    def _headline(self) -> str:
        files, anchors = self._files, anchor_proposals(self._files.space, self._files.recipe)
        done = sum(record.state not in ("waiting", "running") for record in self._study.records)
        word = "new sweep" if not self._study.records else f"going on after {done} ended trials of"
        longest = max(recipe.total_epochs for recipe in (files.recipe, *(one.recipe for one in anchors)))
        size = f"{files.space.budget.trials} trials of at most {longest} epochs"
        return f"{word} {self._folder.name}: {size}, {files.runner.concurrency} at a time; {self._folder.path}"

    def _result(self) -> SweepResult:
        records = list(self._study.records)
        known = self._standing(records)
        best = exported(known, records, self._files.space.objective.mode)
        ending = self._conductor.ending
        state: Literal["finished", "interrupted", "failed"] = "finished"
        reason = ending.reason if ending is not None else ""
        lacking = without_result(records, self._files.recipe)
        if ending is not None and ending.kind != "over":
            state = ending.kind
        elif lacking:
            state, reason = "failed", lacking
        received = self._interrupts.first if state == "interrupted" else 0
        return SweepResult(self._folder.name, self._folder.path, state, reason, tuple(records), best, received, known)

    def _say(self, text: str) -> None:
        """Print a line when the live table is over."""
        self._view.keep(text)
        with contextlib.suppress(OSError):  # the terminal has closed
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _show(self, result: SweepResult) -> None:
        say = self._say
        if result.trials and loudness() is not Loudness.QUIET:
            self._view.show(ranking(result.trials, self._files.space, result.standing))
            for line in remarks(self._files, result.trials, self._study.earlier):
                say(line)
        spent = duration(self._conductor.wall_seconds)
        if result.state == "interrupted":
            say(f"{result.name}: interrupted after {spent}; the same command goes on")
        elif result.state == "failed":
            say(f"{result.name}: failed after {spent}: {result.reason} (what was said: {self._folder.log})")
        for line in self._said_of_choice(result):
            say(line)

    def _said_of_choice(self, result: SweepResult) -> Iterator[str]:
        """Yield what is believed of the chosen configuration, and where its training lies."""
        best, space = result.best, self._files.space
        if best is None:
            return
        if result.standing is not None:
            yield from choice_lines(space, result.trials, result.standing)
            yield f"its training: trial {best.number}, {figure_of(best, space.objective)}, in {best.directory}"
            return
        what = f"trial {best.number} ({described(best, space)})"
        figure = f"{space.objective.metric} {figure_of(best, space.objective)}"
        yield f"best: {what}, {figure}, in {best.directory}; no trial of the search has finished"

    def _hand_over(self, result: SweepResult, *, pictures: bool) -> SweepResult:
        """Tell the tracker what a sweep that ends has found, with pictures and report where it is over."""
        self._announce(environment_tags())  # again: the first trial has told what the data are
        self._conductor.mirror.compare(last=True)
        if result.state == "finished":
            self._study.note(COMPLETE, len(result.trials))
            self._end_population(result.trials)
            self._give_best(result)
        received = self._make_pictures(result) if pictures and result.state == "finished" else 0
        if result.state != "interrupted" and not received:
            self._report(result)
        give_files(self._tracker, self._files, self._folder, result.trials)
        with contextlib.suppress(IkdError):
            self._tracker.end_sweep("stopped" if result.state == "interrupted" else result.state, result.reason)
        if received:
            result = replace(result, state="interrupted", reason=NO_PICTURES, signal=received)
        if result.signal in ENDING:
            self._tracker.close(TRACKER_SECONDS)
        return result

    def _give_best(self, result: SweepResult) -> None:
        """Give the tracker the student that is exported."""
        if result.best is None:
            return
        names = (TrialFolder.BEST, TrialFolder.RECIPE)
        directory = self._store.fetch(result.best.number, *names)
        for file in (directory / name for name in names):
            if file.is_file():
                self._tracker.log_artifacts(result.best.number, file, "best")

    def _make_pictures(self, result: SweepResult) -> int:
        """Make the pictures of anchors and of the chosen training; return the signal that ended it, 0 for none.

        Whatever fails is one warning: the sweep is over, and its results stand.
        """
        stops = list[str]()
        interrupts = Interrupts(stops.append)

        def beat() -> bool:
            interrupts.beat()
            return not (stops or self._folder.stop_file.exists())

        try:
            with listening(interrupts):
                painted = picture_trials(self._folder, self._without_pictures(result), beat)
        except (StopNow, KeyboardInterrupt):
            return interrupts.first or signal.SIGINT
        except (IkdError, OSError) as error:
            self._say(f"warning: pictures: none: {first_line(error)}")
            return 0
        for line in painted.warnings:
            self._say(f"warning: {line}")
        if painted.made:
            numbers = ", ".join(map(str, painted.made))
            self._say(f"pictures: of trials {numbers}, in {self._folder.path / 'trials'}/N/pictures")
        if stops or self._folder.stop_file.exists():
            self._say(f"{result.name}: {NO_PICTURES}; the same command goes on")
            return interrupts.first or signal.SIGINT
        return 0

    def _without_pictures(self, result: SweepResult) -> list[int]:
        def folder(number: int) -> TrialFolder:
            return TrialFolder(self._store.fetch(number, TrialFolder.BEST))

        return [one.number for one in without_pictures(wanted(result.trials, result.best), folder)]
