"""One recipe in, the best student out."""

from __future__ import annotations

from pathlib import Path

from ikd.config import Recipe
from ikd.data import told_when_lost
from ikd.training.costs import check_costs
from ikd.training.prepared import Prepared
from ikd.training.processes import check_processes
from ikd.training.sharing import prepare
from ikd.training.trial import TrialResult, train
from ikd.trial import NO_OPTIONS, Report, TrialOptions


def run_trial(  # noqa: PLR0913 - one keyword for each thing that a caller decides
    recipe: Recipe,
    report: Report | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    objective: tuple[str, str] = ("bbox_mAP", "max"),
    threads: int | None = None,
    prepared: Prepared | None = None,
    options: TrialOptions = NO_OPTIONS,
) -> TrialResult:
    """Train one recipe.

    Args:
        recipe: what to train.
        report: called once after each validation; may raise `StopTrial`.
        checkpoint: of the same recipe, to go on from its epoch; `resumable` finds it.
        directory: receives best.pth, last.pth, previous.pth, recipe.yaml and log.jsonl.
        objective: metric that decides the best epoch, and `max` or `min`.
        threads: CPU threads of torch, while the trial runs; None leaves them.
        prepared: what `prepare` gave for this recipe; None prepares now.
        options: what a sweep asks for besides.

    Returns:
        The best epoch's metrics and files.

    Raises:
        BadInput: the recipe does not fit its data, detectors, checkpoints or options; nothing is trained.
        NonFiniteLoss: a loss became NaN or infinite; the last checkpoint is intact.
        DiskFull: a file could not be written; the one before is intact.
        DataGone: the data set has vanished, in whole or in part.
        RuntimeError: one of the trial's further processes died.
    """
    check_costs(options.costs)
    check_processes(recipe, options.processes)
    prepared = prepared or prepare(recipe)
    with told_when_lost(recipe, prepared.files.photographs):
        return train(
            recipe,
            report,
            checkpoint,
            directory=directory,
            objective=objective,
            threads=threads,
            prepared=prepared,
            options=options,
        )
