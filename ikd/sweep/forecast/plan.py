"""When everything is done: what is left, laid on the places of a runner."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ikd.config import Recipe
from ikd.sweep.forecast.attempts import Attempt
from ikd.sweep.forecast.course import Event
from ikd.sweep.forecast.wants import wants
from ikd.sweep.records.trials import TrialRecord

STILL = 0.1
"""Share of a piece of work that is still to come when it takes longer than expected."""


@dataclass
class Plan:
    """Lays what is left on the places of the runner, one trial after the other.

    Attributes:
        attempts: of the sweep so far.
        events: of its course.
        slots: trials at once.
        now: seconds since 1970; None while no driver runs.
        goals: epoch at which each trial is expected to end, by number.
        shared: seconds still needed for each shared thing that is not there, by item.
        ready: seconds from now until each shared thing that is being made is there; added to.
        parts: seconds of the parts that train nothing.
        recipe_of: the recipe of a trial.
        epoch_seconds: what an epoch of a recipe takes.
    """

    attempts: Sequence[Attempt]
    events: Sequence[Event]
    slots: int
    now: float | None
    goals: Mapping[int, float]
    shared: Mapping[str, float]
    ready: dict[str, float]
    parts: Mapping[str, float]
    recipe_of: Callable[[TrialRecord], Recipe]
    epoch_seconds: Callable[[Recipe, int], float]

    def seconds(self, open_: Sequence[TrialRecord], coming: Sequence[tuple[int, Recipe]]) -> float:
        """Return the seconds until everything is done."""
        running = {one.trial: one for one in self.attempts if one.left is None} if self.now else {}
        order = sorted(
            (one for one in open_ if one.number in running), key=lambda one: -len(running[one.number].making)
        )
        free: list[tuple[float, int, bool]] = []  # when a place is free, which, and whether its process is new
        for slot, record in enumerate(order):
            free.append((self._rest(record, running[record.number]), slot, False))
        start = self._until_given()
        new = not running
        free += [(start, slot, new or len(self.attempts) < self.slots) for slot in range(len(free), self.slots)]
        heapq.heapify(free)
        ends = [one[0] for one in free if one[1] < len(order)]
        waiting = [(one.number, self.recipe_of(one), one.epochs) for one in open_ if one.number not in running]
        for number, recipe, done in [*waiting, *((number, recipe, 0) for number, recipe in coming)]:
            at, slot, cold = heapq.heappop(free)
            end = self._whole(at, number, recipe, done, cold=cold)
            heapq.heappush(free, (end, slot, False))
            ends.append(end)
        return max(ends, default=0.0) + self.parts["end"]

    def _until_given(self) -> float:
        if self.now is None:
            return self.parts["ray"]
        begins = [one.time for one in self.events if one.what == "begin"]
        given = [one.time for one in self.events if one.what == "given"]
        if not begins or (given and given[-1] >= begins[-1]):
            return 0.0
        return max(self.parts["ray"] - (self.now - begins[-1]), STILL * self.parts["ray"])

    def _whole(self, at: float, number: int, recipe: Recipe, done: int, *, cold: bool) -> float:
        """Return when a trial that is handed out at a time ends."""
        at += self.parts["cold" if cold else "warm"]
        at = self._after_shared(at, recipe) if not done else at
        return at + self.parts["first" if cold else "next"] + self._epochs(recipe, done, self.goals[number])

    def _after_shared(self, at: float, recipe: Recipe) -> float:
        for want in wants(recipe):
            if want.item in self.ready:
                at = max(at, self.ready[want.item])
            elif want.item in self.shared:
                self.ready[want.item] = at = at + self.shared[want.item]
        return at

    def _epochs(self, recipe: Recipe, done: int, goal: float) -> float:
        total, epoch = 0.0, done
        while epoch < goal:
            part = min(1.0, goal - epoch)
            total += part * self.epoch_seconds(recipe, epoch + 1)
            epoch += 1
        return total

    def _rest(self, record: TrialRecord, attempt: Attempt) -> float:
        """Return how long a trial that a worker holds still takes."""
        now, recipe = self.now or 0.0, self.recipe_of(record)
        goal = self.goals[record.number]
        rest = self._epochs(recipe, record.epochs, goal)
        one = self.epoch_seconds(recipe, record.epochs + 1)
        if attempt.reports:
            spent = now - attempt.reports[-1].time
            return rest - min(one, rest) + max(min(one, rest) - spent, STILL * one)
        build = self.parts["first" if attempt.cold else "next"]
        resumed = bool(record.reports)
        ready = attempt.start if resumed else attempt.prepared
        if ready is not None:
            return rest - one + max(build + one - (now - ready), STILL * one)
        if attempt.making:
            return self._after_shared(0.0, recipe) + build + rest
        load = self.parts["cold" if attempt.cold else "warm"]
        begins = max(load - (now - attempt.given), STILL * load)
        return (begins if resumed else self._after_shared(begins, recipe)) + build + rest
