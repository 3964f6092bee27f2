"""The three lines by which a sweep says what it has found: what to expect, what it brings, and what was luck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ikd.config import SearchSpace, shares_of
from ikd.sweep.confirm.apart import LEAST, Gain, anchor_apart, gain_of, objectives_apart
from ikd.sweep.confirm.standing import Standing
from ikd.sweep.records.trials import ANCHOR_NAMES, TrialRecord

NEXT = 0.05
"""Other configurations are named that are the best with at least this probability, at most `NAMED`."""
NAMED = 2


def said_of_choice(space: SearchSpace, records: Sequence[TrialRecord], known: Standing, what: str) -> Iterator[str]:
    """Yield the three lines.

    Args:
        space: resolved.
        records: every trial.
        known: of them.
        what: the chosen configuration, for people.
    """
    yield _chosen(space, known, what)
    yield _gain(space, records, known)
    yield _seen(space, known)


def points(space: SearchSpace, value: float, *, sign: bool = False) -> str:
    """Return an objective in points (x100) as it is measured: what is the larger the better here may be a loss.

    Args:
        space: says which way is better.
        value: in points, the larger the better.
        sign: write a plus sign, of a difference.
    """
    shown = value if space.objective.mode == "max" or sign else -value
    return f"{shown:+.1f}" if sign else f"{shown:.1f}"


def _chosen(space: SearchSpace, known: Standing, what: str) -> str:
    chosen, chances = known.chosen, known.chances
    low, high = sorted(float(points(space, one)) for one in chosen.interval)
    others = [one for one in known.configurations[1:] if chances[one.number] >= NEXT]
    others = sorted(others, key=lambda one: -chances[one.number])[:NAMED]
    listed = ", ".join(f"trial {one.number}: {chances[one.number]:.2f}" for one in others)
    best = f"best of all {len(known.configurations)} with probability {chances[chosen.number]:.2f}"
    expected = f"expected {space.objective.metric} {points(space, chosen.mean)} [{low:.1f}, {high:.1f}]"
    return f"chosen: trial {chosen.number} ({what}); {expected}; {best}" + (f" ({listed})" if listed else "")


def _gain(space: SearchSpace, records: Sequence[TrialRecord], known: Standing) -> str:
    gain = gain_of(space, records, known)
    if gain is not None:
        return said_of_gain(space, gain)
    own = len(objectives_apart(space, records, known.chosen))
    if own >= LEAST and anchor_apart(records, known.chosen) is None:
        mean = float(objectives_apart(space, records, known.chosen).mean())
        return (
            f"kept apart: {points(space, mean)} on the mean of {own} trainings; there is no anchor to compare it with"
        )
    running = sum(one.role == "apart" and one.state in ("running", "waiting") for one in records)
    if running:
        return f"not confirmed yet: {running} trainings kept apart have not ended"
    why = (
        f"fewer than {LEAST} trainings of it were kept apart"
        if shares_of(space, known.chosen.trainings[0].epochs).apart
        else "budget.confirm keeps no trainings apart; all of this rests on trainings that took part in the choice"
    )
    return f"not confirmed: {why}"


def said_of_gain(space: SearchSpace, gain: Gain) -> str:
    """Return a gain as a line for people; one that is not confirmed says so."""
    names = " = ".join(ANCHOR_NAMES[name] for name in gain.anchor.anchors)
    low, high = gain.interval
    what = f"{points(space, gain.difference, sign=True)} [{low:.1f}, {high:.1f}]"
    which = "kept apart" if gain.confirmed else "that took part in the choice: believed, not confirmed"
    how = f"from {gain.chosen_trainings} + {gain.anchor_trainings} trainings {which}"
    return (
        f"better than the {names} with probability {gain.probability:.2f}: {what} {space.objective.metric} x100, {how}"
    )


def _seen(space: SearchSpace, known: Standing) -> str:
    value = known.luck
    what = f"best seen: {points(space, known.value(known.seen))} (trial {known.seen.number})"
    if value <= 0:
        return f"{what}; no more than is expected of it"
    return f"{what}; {value:.1f} of it is expected to be the luck of its seed"
