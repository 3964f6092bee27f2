"""How the runs of trials are marked, by names and tags."""

from __future__ import annotations

from ikd.sweep.confirm.standing import Standing
from ikd.sweep.records.trials import TrialRecord

CHOSEN, SEEN = "★", "▲"
"""Begin the names of the runs of the chosen configuration and of the best seen; the second is that of every table."""


def marks(known: Standing | None) -> dict[int, str]:
    """Return what trials are among all, by number.

    `chosen` are the trainings of the chosen configuration that took part in the choice; `exported` is that of them
    whose weights are exported; `best seen` has the highest value, which is luck in part.
    """
    if known is None:
        return {}
    words = {training.number: ["chosen"] for training in known.chosen.trainings}
    words[known.training.number].append("exported")
    words.setdefault(known.seen.number, []).append("best seen")
    return {number: ", ".join(own) for number, own in words.items()}


def marked_name(record: TrialRecord, known: Standing | None) -> str:
    """Return the name of a trial's run: a star before that of the choice, a triangle before the best seen."""
    if known is None:
        return record.name
    signs = [CHOSEN] if known.chosen.number == record.number else []
    signs += [SEEN] if known.seen.number == record.number else []
    return " ".join([*signs, record.name])


def role_of(record: TrialRecord) -> str:
    """Return why a trial was trained, in one word: anchor, search, repeat or apart."""
    return "anchor" if record.anchors and record.role == "search" else record.role
