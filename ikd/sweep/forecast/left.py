"""How long a sweep still takes: the one model of duration, asked before it starts, while it runs, and afterwards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ikd.config import RIVALS, Recipe, SweepFiles, shares_of
from ikd.errors import IkdError
from ikd.sweep.confirm.apart import strongest_anchor
from ikd.sweep.confirm.rounds import Ahead
from ikd.sweep.forecast.attempts import Attempt, attempts_of
from ikd.sweep.forecast.course import Event
from ikd.sweep.forecast.epochs import NOW, EpochCost, Seen, features_of, features_of_teacher, kinds
from ikd.sweep.forecast.kept import LEAST_PART, Kept, epoch_row
from ikd.sweep.forecast.plan import STILL, Plan
from ikd.sweep.forecast.survival import Survival
from ikd.sweep.forecast.wants import Want, shared_states, wants
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.trials import TrialRecord, recipe_of
from ikd.sweep.schedulers.judges import build_judge
from ikd.trial import OPEN, kind_said

ASSUMED = {"ray": 5.0, "cold": 9.0, "warm": 0.7, "first": 1.5, "next": 1.0, "end": 2.0, "rehearsal": 4.0}
"""Seconds on an idle machine: until Ray has started; until a trial is ready in a new process and in one that is warm;
from there to its first step, likewise; from the last trial to the end; and for a rehearsal."""
DOUBT = 1.0
"""How many observations an assumption weighs."""
MOST = 1000
"""Trials to come that are looked at, at most. Where a budget is no limit, of 100 000 trials say, they stand for all."""
LEAST_SECONDS = 1.0
"""Left while anything runs."""
OF_EPOCH = {"attack": 0.8, "look": 0.25}
"""An attack's step and a look at all images, against an epoch of the teacher's training."""


@dataclass(frozen=True)
class Situation:
    """A sweep at a moment.

    Attributes:
        files: its files.
        records: its trials.
        events: of its course.
        slots: trials at once.
        ahead: trials that are still to be begun.
        now: seconds since 1970; None while no driver runs.
        wall_seconds: spent so far.
        sampled: recipes that trials to come may have.
        kept: what is known of this machine.
    """

    files: SweepFiles
    records: Sequence[TrialRecord]
    events: Sequence[Event]
    slots: int
    ahead: Ahead
    now: float | None
    wall_seconds: float = 0.0
    sampled: Sequence[Recipe] = ()
    kept: Kept = field(default_factory=Kept)


@dataclass(frozen=True)
class Forecast:
    """What is left of a sweep.

    Attributes:
        seconds: until it is over; None where nothing tells what an epoch takes.
        epochs: that are still trained, expected.
        epochs_bound: that are still trained when nothing is stopped.
        trials: that are still to run or to end.
        shared: seconds for each shared thing that is still to be made, by item.
        epoch_seconds: of an epoch of the base recipe; None likewise.
        parts: seconds of the parts that train nothing.
        making: what a trial makes for all at the moment.
    """

    seconds: float | None
    epochs: float
    epochs_bound: int
    trials: int
    shared: Mapping[str, float]
    epoch_seconds: float | None
    parts: Mapping[str, float]
    making: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    """What is left to train.

    Attributes:
        goals: epoch at which each trial is expected to end, by number.
        epochs: expected, in all.
        bound: epochs when nothing is stopped.
    """

    goals: Mapping[int, float]
    epochs: float
    bound: int


class Outlook:
    """What is expected of a sweep in a situation."""

    def __init__(self, situation: Situation) -> None:
        self._at = situation
        self._space, self._base = situation.files.space, situation.files.recipe
        self.attempts = attempts_of(situation.records, situation.events, situation.slots)
        self._anchors = {one.anchors[0]: one.recipe for one in anchor_proposals(self._space, self._base)}
        self._recipes: dict[int, Recipe] = {}
        self.states = shared_states(situation.events)

    def recipe_of(self, record: TrialRecord) -> Recipe:
        """Return the recipe of a trial; the base where this version cannot build it."""
        if record.number not in self._recipes:
            try:
                self._recipes[record.number] = recipe_of(record, self._at.records, self._base)
            except IkdError:
                self._recipes[record.number] = self._base
        return self._recipes[record.number]

    @property
    def student(self) -> str:
        """The base recipe's student among the features of epochs."""
        return self._features(self._base, 1)["student"]

    @cached_property
    def seen(self) -> list[Seen]:
        """Epochs of this sweep."""
        found = []
        records = {record.number: record for record in self._at.records}
        for one in self.attempts:
            if one.trial not in records:
                continue
            before = max((r.epoch for r in records[one.trial].reports if r.time < one.given), default=0)
            recipe = self.recipe_of(records[one.trial])
            for epoch, seconds, count in one.epochs(before):
                fresh = one.cold and not one.making and epoch == one.reports[0].epoch
                features = {**self._features(recipe, epoch), **self._circumstances(fresh=fresh)}
                found.append(Seen(features, seconds, count))
        return found + list(self._seen_of_teachers())

    def _seen_of_teachers(self) -> Iterator[Seen]:
        for one in self.attempts:
            fresh = one.cold
            for item, told in self._making(one).items():
                features = self._teacher(item) if item.startswith("teacher ") else None
                if features is None:
                    continue
                for before, after in itertools.pairwise(told):
                    if (count := after.done - before.done) > 0:
                        yield Seen(
                            {**features, **self._circumstances(fresh=fresh)}, (after.time - before.time) / count, count
                        )
                        fresh = False

    def _features(self, recipe: Recipe, epoch: int) -> dict[str, str]:
        plan = next((one for one in recipe.stages if epoch <= one.last), recipe.stages[-1])
        return {**features_of(plan, epoch), **self._circumstances()}

    def _epoch_seconds(self, recipe: Recipe, epoch: int) -> float:
        return self.cost(self._features(recipe, epoch))

    def _circumstances(self, *, fresh: bool = False) -> dict[str, str]:
        """Return what an epoch costs by besides what is trained: others beside it, a new process, and the day."""
        return {"beside": str(self._at.slots), "fresh": "yes" if fresh else "no", "when": NOW}

    @cached_property
    def cost(self) -> EpochCost:
        """What an epoch takes: by what this sweep has shown, and by what others have with its data and detectors."""
        base = self._features(self._base, 1)
        students = {self._features(one, 1)["student"] for one in (self._base, *self._at.sampled)}
        students |= {features["student"] for features in self._wanted.values()}
        same = [
            one
            for one in self._at.kept.epochs
            if one.features["student"] in students
            and all(one.features.get(name) == base[name] for name in ("data", "input", "batch"))
        ]
        known = self.seen or any(one.features["student"] == base["student"] for one in same)
        return EpochCost([*self.seen, *same] if known else [], self.pace)

    @cached_property
    def pace(self) -> float:
        """How much slower the machine is now than it was, by the start of Ray and of processes; 1 where unknown."""
        kept, now = self._at.kept.parts, self._at.now
        took = {name: list(seen) for name, seen in self.parts_seen.items() if name in ("ray", "cold") and name in kept}
        if now is not None and "cold" in took:  # what takes longer already counts too
            waits = [now - one.given for one in self.attempts if one.cold and one.start is None and one.left is None]
            took["cold"] += [wait for wait in waits if wait > kept["cold"]]
        ratios = [
            math.log(sum(seen) / len(seen) / kept[name]) for name, seen in took.items() if seen and kept[name] > 0
        ]
        return math.exp(sum(ratios) / (len(ratios) + DOUBT))

    def _teacher(self, item: str) -> dict[str, str] | None:
        return next((features for want, features in self._wanted.items() if want.item == item), None)

    @cached_property
    def _wanted(self) -> dict[Want, dict[str, str]]:
        """Everything shared that any recipe at hand needs, with the features of its teacher's training."""
        recipes = [self._base, *self._anchors.values(), *self._at.sampled, *map(self.recipe_of, self._at.records)]
        return {
            want: features_of_teacher(recipe, recipe.teachers.available[want.teacher])
            for recipe in recipes
            for want in wants(recipe)
        }

    def _making(self, attempt: Attempt) -> dict[str, list[Event]]:
        """Return what an attempt told of the things that it made, by item."""
        record = next((one for one in self._at.records if one.number == attempt.trial), None)
        found: dict[str, list[Event]] = {}
        if record is None:
            return found
        open_ = [want for want in wants(self.recipe_of(record)) if not self._was_there(want.item)]
        for event in attempt.making:
            kind = kind_said(event.item)
            mine = [want for want in open_ if want.kind == kind]
            if not mine:
                continue
            rows = found.setdefault(mine[0].item, [])
            if rows and event.done < rows[-1].done and len(mine) > 1:  # the next one of its kind
                open_.remove(mine[0])
                rows = found.setdefault(mine[1].item, [])
            rows.append(event)
        return found

    def _was_there(self, item: str) -> bool:
        done, total = self.states.get(item, (0, 1))
        return done >= total

    @cached_property
    def parts(self) -> dict[str, float]:
        """Seconds of what trains nothing."""
        return _mixed({**ASSUMED, **self._at.kept.parts}, self.parts_seen)

    @cached_property
    def parts_seen(self) -> dict[str, list[float]]:
        """What each part took so far."""
        found: dict[str, list[float]] = {name: [] for name in ASSUMED}
        begin: float | None = None
        left = math.nan
        for event in self._at.events:
            if event.what == "begin":
                begin = event.time
            elif event.what == "given" and begin is not None:
                found["ray"].append(event.time - begin)
                begin = None
            elif event.what == "left":
                left = event.time
            elif event.what == "over" and math.isfinite(left):
                found["end"].append(event.time - left)
        making = [(one.making[0].time, one.prepared) for one in self.attempts if one.making]
        records = {record.number: record for record in self._at.records}
        for one in self.attempts:
            resumed = any(r.time < one.given for r in records[one.trial].reports) if one.trial in records else False
            ready = one.start if resumed else one.prepared
            if ready is None:
                continue
            waited = _overlap(one.start or one.given, ready, making)
            found["cold" if one.cold else "warm"].append(max(0.0, ready - one.given - waited))
            if one.reports and (took := one.epochs(0)):
                pure = took[0][1]
                found["first" if one.cold else "next"].append(max(0.0, one.reports[0].time - ready - pure))
        return found

    def unit(self, want: Want) -> float | None:
        """Return the seconds of one epoch or image of something shared; of perturbations, of an attacked image."""
        rates = []
        for one in self.attempts:
            rows = self._making(one).get(want.item, [])
            if len(rows) > 1 and (made := self._between(want, rows[0], rows[-1].done)) > 0:
                rates.append((rows[-1].time - rows[0].time) / made)
        if rates:
            return rates[-1]
        kept = self._at.kept.units
        if want.item in kept:
            return kept[want.item]
        if not self.cost.known:
            return kept.get(want.kind)
        epoch = self.cost({**self._wanted[want], **self._circumstances()})
        if want.kind == "teacher":
            return epoch
        whole = OF_EPOCH["attack"] * self._base.attack.steps if want.kind == "perturbations" else OF_EPOCH["look"]
        return kept.get(want.kind) or whole * epoch / max(1, self._images(want))

    def _total(self, want: Want) -> int:
        return self.states.get(want.item, (0, 0))[1]

    def _images(self, want: Want) -> int:
        """Return of how many images perturbations or boxes are; of perturbations each counts twice, see `_amount`."""
        return self._total(want) // 2 if want.kind == "perturbations" else self._total(want)

    def _amount(self, want: Want, done: int, total: int) -> float:
        """Return how much of a thing is made, in what `unit` is of.

        Perturbations count each image that is attacked, and then each image of the data, at which the teacher looks
        with and without: that takes a small part of what an attack does.
        """
        if want.kind != "perturbations":
            return float(done)
        attacked = max(0, total - self._images(want))
        look = 2 * OF_EPOCH["look"] / (OF_EPOCH["attack"] * self._base.attack.steps)
        return min(done, attacked) + look * max(0, done - attacked)

    def _between(self, want: Want, since: Event, done: int) -> float:
        """Return how much of a thing is made between an event and when so much of it is there."""
        return self._amount(want, done, since.total) - self._amount(want, since.done, since.total)

    def rows(self, source: str, checkpoint_bytes: Mapping[int, int]) -> Iterator[Mapping[str, Any]]:
        """Yield what this sweep has shown of the machine, to be kept; see `ikd.sweep.forecast.kept`.

        Args:
            source: of the measurements, for people.
            checkpoint_bytes: of the largest checkpoint of each trial that has one.
        """
        sizes = {
            self._features(self.recipe_of(self._at.records[n]), 1)["student"]: b for n, b in checkpoint_bytes.items()
        }
        for one in kinds(self.seen):
            features = {name: value for name, value in one.features.items() if name != "when"}
            size = sizes.get(features["student"], 0)
            yield epoch_row(features, one.seconds, source=source, count=one.count, checkpoint_bytes=size)
        for part, took in self.parts_seen.items():
            if took:
                yield {"part": part, "seconds": round(sum(took) / len(took), 2)}
        for want in self._wanted:
            rows = [rows for one in self.attempts if (rows := self._making(one).get(want.item)) and len(rows) > 1]
            if rows and (unit := self.unit(want)) is not None:
                yield {"unit": want.item, "seconds": round(unit, 4)}

    def _shared(self) -> tuple[dict[str, float], dict[str, int]]:
        """Return seconds still needed for each thing that is not there, and which trial makes it now."""
        made, seconds, makers = self._made(), {}, {}
        running = [one for one in self.attempts if one.left is None]
        for want in self._wanted:
            if want.item in made or (unit := self.unit(want)) is None:
                continue
            done, total = self.states.get(want.item, (0, self._total(want)))
            rest = (self._amount(want, total, total) - self._amount(want, done, total)) * unit
            for one in running:
                rows = self._making(one).get(want.item)
                if rows and self._at.now is not None:
                    after = self._between(want, rows[-1], rows[-1].total) * unit
                    rest = max(after - (self._at.now - rows[-1].time), STILL * after)
                    makers[want.item] = one.trial
            seconds[want.item] = rest
        return seconds, makers

    def _made(self) -> set[str]:
        """Return the items that are there."""
        made = {item for item, (done, total) in self.states.items() if done >= total}
        records = {record.number: record for record in self._at.records}
        for one in self.attempts:
            if one.trial not in records:
                continue
            if one.prepared is not None or one.reports:
                made |= {want.item for want in wants(self.recipe_of(records[one.trial]))}
            elif one.making:  # what it made before what it makes now
                told = list(self._making(one))
                made |= set(told[:-1])
        return made

    def forecast(self, *, stopping: bool = True) -> Forecast:
        """Return what is left.

        Args:
            stopping: let the space's rule stop trials; without, every trial trains to its end.
        """
        at = self._at
        open_ = [record for record in at.records if record.state in OPEN]
        to_come = at.ahead.total
        looked = at.ahead.at_most(MOST)
        more = to_come / looked.total if looked.total else 1.0
        numbers = range(len(at.records), len(at.records) + looked.total)
        coming = list(zip(numbers, self._coming(looked), strict=True))
        work = self._work(open_, coming, more=more, stopping=stopping)
        shared, makers = self._shared()
        seconds = None
        if not open_ and not to_come:
            seconds = 0.0
        elif self.cost.known:
            ready = {item: rest for item, rest in shared.items() if item in makers}
            plan = Plan(
                self.attempts,
                at.events,
                at.slots,
                at.now,
                work.goals,
                shared,
                ready,
                self.parts,
                self.recipe_of,
                self._epoch_seconds,
            )
            seconds = max(LEAST_SECONDS, more * plan.seconds(open_, [(n, recipe) for n, (recipe, _) in coming]))
        epochs, bound, limit = work.epochs, work.bound, self._space.budget.epochs
        if limit is not None:
            rest = max(0, limit - sum(record.epochs for record in at.records))
            if seconds is not None and epochs > 0:
                seconds *= min(1.0, rest / epochs)
            epochs, bound = min(epochs, rest), min(bound, rest)
        if seconds is not None:
            seconds = min([seconds, *self._limits()])
        base = self._epoch_seconds(self._base, 1) if self.cost.known else None
        return Forecast(seconds, epochs, bound, len(open_) + to_come, shared, base, self.parts, tuple(makers))

    def _work(
        self,
        open_: Sequence[TrialRecord],
        coming: Sequence[tuple[int, tuple[Recipe, bool]]],
        *,
        more: float,
        stopping: bool,
    ) -> _Work:
        """Return what open trials and `more` times those to come, each with whether nothing may stop it, will train."""
        survival = Survival(build_judge(self._space, self._base) if stopping else None, self._at.records)
        goals = {one.number: self._goal(survival, one) for one in open_}
        fixed = {number: float(recipe.total_epochs) for number, (recipe, whole) in coming if whole}
        ends = self._space.stage_ends(self._base)  # of every sequence of teachers, all as likely
        each = {
            number: [survival.last_epoch(number, one) for one in ends] for number, (_, whole) in coming if not whole
        }
        sampled = {number: sum(last) / len(last) for number, last in each.items()}
        epochs = sum(goals[one.number] - one.epochs for one in open_)
        epochs += more * (sum(fixed.values()) + sum(sampled.values()))
        bound = sum(self.recipe_of(one).total_epochs - one.epochs for one in open_)
        bound += round(more * sum(recipe.total_epochs for _, (recipe, _) in coming))
        return _Work(goals | fixed | sampled, epochs, bound)

    def _limits(self) -> Iterator[float]:
        budget, gpus = self._space.budget, self._at.files.runner.trial.gpus
        if budget.wall_hours is not None:
            yield max(LEAST_SECONDS, budget.wall_hours * 3600 - self._at.wall_seconds)
        if budget.gpu_hours is not None and gpus:
            left = budget.gpu_hours * 3600 / gpus - ledger(self._at.records).total
            yield max(LEAST_SECONDS, left / self._at.slots)

    def _goal(self, survival: Survival, record: TrialRecord) -> float:
        total = record.total_epochs(self._base.total_epochs)
        if not record.is_judged:
            return float(total)
        return survival.last_epoch(record.number, record.stage_ends or (total,), done=record.epochs)

    def _coming(self, ahead: Ahead) -> Iterator[tuple[Recipe, bool]]:
        """Yield a recipe for each trial to come, and whether it is never stopped.

        Anchors first, then any of the space; repeats of any of them, and what is kept apart: of any of them and of the
        anchor to beat, in turn.
        """
        tried = {name for record in self._at.records for name in record.anchors}
        anchors = [recipe for name, recipe in self._anchors.items() if name not in tried][: ahead.search]
        yield from ((recipe, True) for recipe in anchors)
        sampled = [self.recipe_of(one) for one in self._at.records if one.is_judged]
        pool = [*(self._at.sampled or [self._base]), *sampled]
        for count, whole in ((ahead.search - len(anchors), False), (ahead.repeats, True)):
            yield from ((recipe, whole) for recipe in _spread(pool, count))
        rival = self._rival()
        for index, recipe in enumerate(_spread(pool, ahead.apart)):
            yield recipe if rival is None or index % 2 else rival, True

    def _rival(self) -> Recipe | None:
        """Return the recipe of the anchor that has to be beaten, None where the space has none."""
        if shares_of(self._space, self._base.total_epochs).sides < 2:
            return None
        if (anchor := strongest_anchor(self._space, self._at.records)) is not None:
            return self.recipe_of(anchor)
        return next((recipe for name, recipe in self._anchors.items() if name in RIVALS), None)


def _spread(pool: Sequence[Recipe], count: int) -> Iterator[Recipe]:
    """Yield so many recipes, evenly over all of a pool: settings of a space stand in its order."""
    yield from (pool[(index * len(pool)) // count % len(pool)] for index in range(count))


def _mixed(assumed: Mapping[str, float], seen: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return what parts take: those seen, and the assumption, slowed down as much as those seen were."""
    assumed = {name: max(seconds, LEAST_PART) for name, seconds in assumed.items()}
    ratios = [math.log(max(sum(took) / len(took), LEAST_PART) / assumed[name]) for name, took in seen.items() if took]
    slow = math.exp(sum(ratios) / (len(ratios) + DOUBT)) if ratios else 1.0
    return {
        name: (DOUBT * usual * slow + sum(seen[name])) / (DOUBT + len(seen[name])) for name, usual in assumed.items()
    }


def _overlap(begin: float, end: float, spans: Sequence[tuple[float, float | None]]) -> float:
    """Return how much of a time lies within any of some spans; an open span has not ended."""
    marks = sorted((max(begin, low), min(end, high if high is not None else end)) for low, high in spans)
    total, reached = 0.0, begin
    for low, high in marks:
        total += max(0.0, high - max(low, reached))
        reached = max(reached, high)
    return total
