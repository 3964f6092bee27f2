"""Sweeps and trials in plain values, for `--json`: the fields of docs/commands.md, which later versions keep.

Metrics are as the study has them, AP in 0..1; times are seconds, points in time seconds since 1970; null is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ikd.config import Runner, differences
from ikd.masking import masked
from ikd.sweep.confirm.facts import measured
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.status import SweepStatus
from ikd.trial import TrialFolder

LOG_LINES = 15
"""Lines of a trial's log that are shown."""


def plain_sweep(status: SweepStatus) -> dict[str, Any]:
    """Return a sweep as `ikd list` tells of it."""
    best, space = status.best, status.files.space
    return {
        "name": status.name,
        "state": status.state,
        "directory": str(status.directory),
        "metric": space.objective.metric,
        "mode": space.objective.mode,
        "counts": space.objective.value,
        "trials": len(status.trials),
        "ended": status.ended,
        "budget_trials": space.budget.trials,
        "best_trial": best.number if best is not None else None,
        "value": best.metric if best is not None else None,
        "best": best.best if best is not None else None,
        "choice": status.choice,
        "phase": status.phase or None,
        "data": status.files.recipe.data.root,
        "recipe": status.files.recipe.name,
        "began": min((one.began for one in status.trials if one.began), default=None),
        "changed": status.changed,
        "seconds": status.wall_seconds,
    }


def plain_status(status: SweepStatus) -> dict[str, Any]:
    """Return a sweep with its trials by number, as `ikd status` tells of it."""
    return plain_sweep(status) | {"trials": [plain_trial(one, status) for one in status.trials]}


def plain_trial(record: TrialRecord, status: SweepStatus) -> dict[str, Any]:
    """Return a trial."""
    anchors = {name: one for one in status.trials for name in one.anchors}
    known = status.standing
    own = known.of(record) if known is not None else None
    gains = {name: record.against(anchor) for name, anchor in anchors.items() if anchor.number != record.number}
    return {
        "number": record.number,
        "name": record.name,
        "state": record.state,
        "reason": record.reason,
        "anchors": list(record.anchors),
        "values": dict(record.values),
        "role": record.role,
        "of": record.of,
        "value": record.metric,
        "expected": measured(status.files.space, own.mean) if own is not None else None,
        "probability_best": known.chances[own.number] if own is not None and known is not None else None,
        "best": record.best,
        "best_epoch": record.best_epoch,
        "last": _finite(record.last(status.files.space.objective.metric)),
        "gains": gains,
        "costs": {
            name: _finite(cost) for name, cost in zip(status.files.space.costs, _costs(record, status), strict=True)
        },
        "epochs": record.epochs,
        "epochs_planned": record.total_epochs(status.files.recipe.total_epochs),
        "seconds": record.seconds,
        "attempts": record.attempts,
        "crashes": record.crashes,
        "fingerprint": record.fingerprint,
        "directory": str(record.directory),
        "began": record.began or None,
        "ended": record.ended or None,
    }


def plain_sheet(status: SweepStatus) -> dict[str, Any]:
    """Return a sweep with its three files, as `ikd show NAME` tells of it."""
    files = status.files
    return plain_sweep(status) | {
        "space": files.space.model_dump(mode="json", by_alias=True),
        "recipe_values": files.recipe.as_dict(),
        "runner": _runner(files.runner),
    }


def _runner(runner: Runner) -> dict[str, Any]:
    """Return a runner without what may hold passwords and keys."""
    found = runner.model_dump(mode="json", exclude={"study", "storage"})
    return found | {"tracking": found["tracking"] | {"uri": masked(runner.tracking.uri)}}


def plain_trial_sheet(record: TrialRecord, status: SweepStatus) -> dict[str, Any]:
    """Return a trial with all that is recorded of it, as `ikd show NAME TRIAL` tells of it."""
    changes = differences(status.files.recipe, status.recipe_of(record))
    curve = [
        {
            "epoch": report.epoch,
            "seconds": report.seconds,
            "metrics": {k: _finite(v) for k, v in report.metrics.items()},
        }
        for report in record.reports
    ]
    return plain_trial(record, status) | {
        "sweep": status.name,
        "changes": {name: {"base": was, "trial": now} for name, (was, now) in changes.items()},
        "curve": curve,
        "log": log_tail(record),
    }


def plain_comparison(one: TrialRecord, other: TrialRecord, status: SweepStatus) -> dict[str, Any]:
    """Return two trials and where their recipes differ, as `ikd compare` tells of them."""
    recipes = [status.recipe_of(record) for record in (one, other)]
    return {
        "sweep": status.name,
        "trials": [plain_trial_sheet(record, status) for record in (one, other)],
        "differences": {name: list(pair) for name, pair in differences(*recipes).items()},
    }


def log_tail(record: TrialRecord, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a trial's log: of what it printed, or else of its metrics; none where there is none."""
    folder = TrialFolder(record.directory)
    for file in (folder.said, folder.log):
        if file.is_file():
            with file.open("rb") as stream:
                stream.seek(max(0, file.stat().st_size - 64 * 1024))
                return stream.read().decode("utf-8", errors="replace").splitlines()[-lines:]
    return []


def _costs(record: TrialRecord, status: SweepStatus) -> tuple[float, ...]:
    return record.costs(status.files.space.costs)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def best_metrics(record: TrialRecord, status: SweepStatus) -> Mapping[str, float]:
    """Return the AP of the best epoch, by name: the objective and what belongs to it."""
    kind = status.files.space.objective.metric.partition("_")[0]
    return {name: value for name, value in record.metrics.items() if name.startswith(f"{kind}_")}
