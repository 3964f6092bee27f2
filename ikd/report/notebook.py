"""A sweep as Python objects, for programs and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikd.config import Recipe, differences
from ikd.report.names import anchor_of, anchors_of
from ikd.sweep import (
    Gain,
    SweepStatus,
    TrialRecord,
    gains_of,
    plain_gain,
    plain_trial,
    said_of_gain,
    strongest_anchor,
    sweep_status,
)

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Believed:
    """A figure that is not known exactly, in the units of the metric (AP in 0..1).

    Attributes:
        value: expected.
        interval: where the true one lies with a probability of 90 %.
        probability: of a gain that it is above 0; of what is expected of the choice that it is the best of all tried.
        confirmed: by trainings that neither the search nor the choice has seen.
        said: the same in a line for people, times 100.
    """

    value: float
    interval: tuple[float, float]
    probability: float
    confirmed: bool
    said: str

    def __str__(self) -> str:
        return self.said


@dataclass(frozen=True)
class Chosen:
    """The configuration that a sweep has chosen: by what is expected of it with any seed.

    Attributes:
        number: the search's trial that it is called by.
        training: the trial that is exported: of its trainings the one nearest to what is expected.
        trainings: numbers of those that took part in the choice.
        values: recipe fields that the search has set, by dotted name.
        changes: fields that differ from the base recipe, with the recipe's value and its own.
        recipe: what it trains.
        expected: of the objective.
    """

    number: int
    training: TrialRecord
    trainings: tuple[int, ...]
    values: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    recipe: Recipe
    expected: Believed

    def __str__(self) -> str:
        return self.expected.said


class Sweep:
    """A sweep, read from its folder while it runs or afterwards; nothing is changed.

    What is read is how it stood when this object was made; `refresh` reads it again.

    Example:
        sweep = ikd.Sweep("mine")
        print(sweep.chosen)
        sweep.frame().sort_values("expected", ascending=False).head()
        sweep.curves().pivot(index="epoch", columns="trial", values="bbox_mAP").plot()
    """

    def __init__(self, name: str, home: str | Path | None = None) -> None:
        """Read a sweep.

        Args:
            name: of the sweep.
            home: folder that holds `sweeps`; None is the ikd home.

        Raises:
            BadInput: there is no such sweep, or its folder is broken.
        """
        self.name = name
        self._home = None if home is None else Path(home).expanduser()
        self.status: SweepStatus = sweep_status(name, home=self._home)

    def __repr__(self) -> str:
        return f"Sweep({self.name!r}: {self.state}, {self.status.progress} trials ended)"

    def refresh(self) -> Sweep:
        """Read the sweep again, and return it.

        Raises:
            BadInput: it is gone.
        """
        self.status = sweep_status(self.name, home=self._home)
        return self

    @property
    def state(self) -> str:
        """`running`, `interrupted` (the same command goes on), `complete`, or `failed` (complete without a result)."""
        return self.status.state

    @property
    def directory(self) -> Path:
        """Its folder."""
        return self.status.directory

    @property
    def metric(self) -> str:
        """What is optimised, as `bbox_mAP`."""
        return self.status.files.space.objective.metric

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials by number: values, state, reports of every validation."""
        return self.status.trials

    @property
    def anchors(self) -> dict[str, TrialRecord]:
        """The trials that gains are measured from, by the anchor's name (`paper`, `student_alone`, ...)."""
        return anchors_of(self.trials)

    @property
    def said(self) -> list[str]:
        """The three lines on the result; none while no trial of the search has finished."""
        return self.status.said_of_choice()

    @property
    def chosen(self) -> Chosen | None:
        """The chosen configuration; None while no trial of the search has finished."""
        facts, known = self.status.choice, self.status.standing
        if facts is None or known is None:
            return None
        first = known.chosen.trainings[0]
        recipe = self.status.recipe_of(first)
        low, high = facts["interval"]
        expected = Believed(facts["expected"], (low, high), facts["probability_best"], False, self.said[0])
        changes = differences(self.status.files.recipe, recipe)
        return Chosen(
            first.number, known.training, tuple(facts["trainings"]), dict(first.values), changes, recipe, expected
        )

    def gain(self, anchor: str | None = None) -> Believed | None:
        """Return how much better the chosen configuration is than an anchor, positive for better.

        By trainings kept apart where there are two of both (`confirmed`), else by those that took part in the choice.

        Args:
            anchor: its name, as in `anchors`; None is the one of which trainings were kept apart, else the strongest
                that a search has to beat.

        Returns:
            None while either has no result, and of an anchor that is itself the choice.

        Raises:
            BadInput: the sweep has no such anchor.
        """
        number = None if anchor is None else anchor_of(self.anchors, anchor, self.name).number
        found = self._gains()
        if anchor is None:
            found = [one for one in found if one.confirmed] or self._strongest(found)
            number = found[-1].anchor.number if found else None
        gain = next((one for one in found if one.anchor.number == number), None)
        if gain is None:
            return None
        facts, said = plain_gain(gain), said_of_gain(self.status.files.space, gain)
        low, high = facts["interval"]
        return Believed(facts["difference"], (low, high), gain.probability, gain.confirmed, said)

    def _gains(self) -> list[Gain]:
        known = self.status.standing
        return [] if known is None else gains_of(self.status.files.space, self.trials, known)

    def _strongest(self, gains: list[Gain]) -> list[Gain]:
        """Return the gain over the anchor that a search has to beat, in a list; the smallest where there is none."""
        strongest = strongest_anchor(self.status.files.space, self.trials)
        own = [one for one in gains if strongest is not None and one.anchor.number == strongest.number]
        return own or sorted(gains, key=lambda one: one.difference)[:1]

    def frame(self) -> pandas.DataFrame:
        """Return a row a trial, by its number: the fields of `ikd status --json` (docs/commands.md).

        Values that were searched are columns by their dotted name (missing where the trial has none), gains are
        `gain/ANCHOR`, costs `cost/NAME`. AP are 0..1, durations seconds.
        """
        import pandas

        rows = [_flat(plain_trial(one, self.status)) for one in self.trials]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if not rows:
            return pandas.DataFrame()
        found = pandas.DataFrame(rows, columns=list(columns)).set_index("number")
        return found.astype({"of": "Int64", "best_epoch": "Int64"})  # whole numbers, though some trials lack them

    def curves(self) -> pandas.DataFrame:
        """Return a row a validation: `trial`, `epoch`, `seconds` of training up to there, and a column a metric.

        AP are 0..1; NaN is not measured.
        """
        import pandas

        rows = [
            {"trial": record.number, "epoch": report.epoch, "seconds": report.seconds, **report.metrics}
            for record in self.trials
            for report in record.reports
        ]
        names = dict.fromkeys(name for row in rows for name in row)
        return pandas.DataFrame(rows, columns=list(names) or ["trial", "epoch", "seconds"])

    def report(self, to: str | Path | None = None, *, tables: Sequence[str] = (), trial: int | None = None) -> Path:
        """Write the report of the sweep as it stands now, and return the page; see `ikd report`.

        Args:
            to: file of the page, or a folder for report.html; None is the sweep's own folder.
            tables: formats in which its tables are written beside it: `markdown`, `latex`, `csv`.
            trial: whose detections, AP and size are shown; None is the trial that is exported.

        Raises:
            BadInput: there is no such trial or format, or `to` cannot be written.
        """
        from ikd.report.write import write_report

        file = None if to is None else Path(to).expanduser()
        return write_report(self.name, file, home=self._home, tables=tables, trial=trial)[0]


def _flat(trial: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's fields without nesting."""
    nested = {"values": "", "gains": "gain/", "costs": "cost/"}
    row = {name: value for name, value in trial.items() if name not in nested}
    row["anchors"] = " ".join(row["anchors"])
    for name, prefix in nested.items():
        row |= {f"{prefix}{key}": value for key, value in trial[name].items()}
    return row
