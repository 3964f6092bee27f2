"""What a sweep asks of whatever trains its trials: `ikd.training`, unless a test says otherwise."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ikd.config import Recipe
from ikd.data import DataRecord
from ikd.data import data_of as own_data
from ikd.trial import NotifyOf, Report, Shared, Timed, TrialOptions

OWN = "ikd.training"


class Training(Protocol):
    """A module with these functions; see `ikd.training` for each."""

    def check(self, recipe: Recipe) -> object:
        """Refuse a recipe that does not fit its data or detectors, before anything is trained."""

    def data_of(self, recipe: Recipe) -> DataRecord:
        """Say what the data of a recipe show now."""

    def found(self, recipe: Recipe) -> tuple[Shared, ...]:
        """Return what `prepare` would make, in its order, and how much of it is there; make nothing."""

    def prepare(self, recipe: Recipe, progress: NotifyOf | None = None) -> Any:
        """Make what a trial starts from."""

    def resumable(self, directory: Path) -> Path | None:
        """Return the checkpoint from which the trial in a folder can go on."""

    def run_trial(  # noqa: PLR0913 - as `ikd.training.run_trial`
        self,
        recipe: Recipe,
        report: Report | None = None,
        checkpoint: Path | None = None,
        *,
        directory: Path,
        objective: tuple[str, str],
        threads: int | None,
        prepared: Any,
        options: TrialOptions,
    ) -> object:
        """Train one recipe."""

    def timed(self, recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
        """Measure what a sweep over a recipe is made of, and keep nothing."""

    def reset(self) -> None:
        """Leave the process as it was before the trial."""


def data_of(training: str, recipe: Recipe) -> DataRecord:
    """Return what the data of a recipe show now; ikd's own training, which loads torch, is not loaded for it.

    Raises:
        BadInput: a file is missing or unreadable.
    """
    return own_data(recipe) if training == OWN else training_of(training).data_of(recipe)


def training_of(name: str) -> Training:
    """Import what trains, by its module's name: workers find it by that."""
    module: Any = importlib.import_module(name)
    found: Training = module
    return found
