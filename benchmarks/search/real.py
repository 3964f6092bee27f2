"""Real trainings: repeats of recorded configurations, and real searches whose choices are trained again."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.methods import finished, train_all
from benchmarks.search.methods import NEW_DEFAULT, OLD_DEFAULT, settings
from benchmarks.search.recording import Recording, Training, epoch_seconds, load
from benchmarks.search.report import Mean
from benchmarks.search.simulate import ANCHORS, training_seed
from benchmarks.search.surrogate import surrogate
from benchmarks.search.worlds import World
from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.files import write_text
from ikd.sweep.records.trials import best_of

ALONE = "student alone"
JUDGES = 500_000
"""First of the seeds that judge: above all that a search trains with."""


def trained(recording: Recording, values: Mapping[str, Any], seed: int, root: str | None) -> Training:
    """Train a configuration for real, on one thread.

    Args:
        recording: whose recipe is the base.
        values: of the trial.
        seed: of the training.
        root: folder of the data; None where ikd draws them.
    """
    import torch

    from ikd.training import prepare, run_trial

    torch.set_num_threads(1)
    recipe = recording.recipe(seed, root).with_values(values)
    metric = recording.space["objective"]["metric"]
    found: list[Mapping[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        run_trial(
            recipe,
            lambda report: found.append(report.metrics),
            directory=Path(folder),
            threads=1,
            prepared=prepare(recipe),
        )
    seconds = tuple(round(epoch_seconds(one), 2) for one in found)
    return Training(dict(values), seed, True, tuple(round(one[metric], 5) for one in found), seconds)


def repeat(name: str, indices: Iterable[int], seeds: Sequence[int], root: str | None) -> None:
    """Add real trainings with other seeds to a recording.

    Args:
        name: of the recording.
        indices: of the trainings whose values are trained again.
        seeds: of the new trainings; those that are there already are left out.
        root: folder of the data.
    """
    for index in indices:
        for seed in seeds:
            recording = load(name)
            values = recording.trainings[index].values
            if any(one.values == values and one.seed == seed for one in recording.trainings):
                continue
            made = trained(recording, values, seed, root)
            dataclasses.replace(recording, trainings=(*recording.trainings, made)).save()
            print(f"training {index}, seed {seed}: {100 * max(made.curve):.1f}", flush=True)


@dataclass(frozen=True)
class Winner:
    """What one real search has chosen.

    Attributes:
        method: that searched.
        search: its seed.
        epochs: that all its trainings took.
        said: what it says of its choice: the best value seen or the expected one, in points of mAP.
        recipe: of its choice.
    """

    method: str
    search: int
    epochs: int
    said: float
    recipe: Recipe

    @property
    def name(self) -> str:
        """Return how a table names it."""
        return f"{self.method}, search {self.search}"


def real(options: argparse.Namespace) -> str:
    """Search for real, train what was chosen with fresh seeds, and return the table as Markdown.

    Args:
        options: `name` of the recording whose space is searched, `data` its folder, `home` of the sweeps, `runner`
            file, `trainings` of a search, `searches` (their seeds), `at_once` of them, `seeds` (how many judge), `jobs`
            trainings at once that judge, `to` file of these. What is there already is not done again.

    Raises:
        BadInput: a sweep could not be brought to its end.
    """
    # Of the sweeps and of what judges them: both find the same teachers and perturbations.
    os.environ["IKD_HOME"] = str(options.home)
    world = surrogate(load(options.name))
    pairs = [(method, search) for search in options.searches for method in (OLD_DEFAULT, NEW_DEFAULT)]
    with ThreadPoolExecutor(options.at_once) as pool:
        winners = list(pool.map(lambda pair: _searched(world, options, *pair), pairs))
    alone = world.base.recipe(0, options.data).student_alone()
    results = finished(options.to)
    judged = {one.name: [one.recipe.with_values({"seed": JUDGES + n}) for n in range(options.seeds)] for one in winners}
    judged |= {ALONE: [alone.with_values({"seed": JUDGES + n}) for n in range(options.seeds)]}
    train_all([one for recipes in judged.values() for one in recipes], results, options)
    return _real_table(winners, {name: [results.get(one.fingerprint()) for one in judged[name]] for name in judged})


def _searched(world: World, options: argparse.Namespace, method: str, search: int) -> Winner:
    """Bring a sweep to its end and return its choice."""
    from ikd.sweep import sweep_status

    name = f"{options.name}-{'new' if method == NEW_DEFAULT else 'old'}-{options.trainings}-{search}"
    how = {"anchors": list(ANCHORS), **settings(world, method, options.trainings), "seed": search}
    options.home.mkdir(parents=True, exist_ok=True)
    space = options.home / f"{name}.yaml"
    write_text(space, yaml.safe_dump({**world.base.space, **how}))
    fixed = {**world.base.changes, "seed": training_seed(search)} | (
        {"data.root": options.data} if options.data else {}
    )
    command = [sys.executable, "-m", "ikd.cli", "sweep", str(space), "--name", name, "--runner", str(options.runner)]
    command += [part for field, value in fixed.items() for part in ("--set", f"{field}={json.dumps(value)}")]
    with (options.home / f"{name}.log").open("a") as log:
        ended = subprocess.run(command, stdout=log, stderr=log)
    if ended.returncode:
        raise BadInput(f"sweep {name}: must end, but left with {ended.returncode}; see {log.name}")
    status = sweep_status(name, home=options.home)
    if method == NEW_DEFAULT:
        assert status.standing is not None, "the paper's values have finished"
        said, best = status.standing.chosen.mean, status.winner
    else:
        best = best_of(status.trials, "max") or status.winner
        said = 100 * (best.metric or 0.0)
    print(f"{name}: {said:.1f}", flush=True)
    return Winner(method, search, sum(one.epochs for one in status.trials), said, status.recipe_of(best))


def _real_table(winners: Sequence[Winner], judged: Mapping[str, Sequence[Mapping[str, float] | None]]) -> str:
    """Return the table: every winner by the seeds that judge, and what the methods differ by."""
    seeds = range(len(judged[ALONE]))
    heads = ["epochs", "it said", *(f"seed {n}" for n in seeds), "last epoch", "over alone", "best epoch", "over alone"]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    by_name = {one.name: one for one in winners}
    for name, found in judged.items():
        winner = by_name.get(name)
        cells = [str(winner.epochs), f"{winner.said:.1f}"] if winner else ["", ""]
        cells += [f"{100 * one['last_bbox_mAP']:.1f}" if one else "failed" for one in found]
        for metric in ("last_bbox_mAP", "bbox_mAP"):
            cells.append(Mean.of([100 * one[metric] for one in found if one]).text())
            cells.append(Mean.of(_differences(found, judged[ALONE], metric)).text("+") if winner else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    pairs = [(by_name[one], by_name[f"{OLD_DEFAULT}, search {by_name[one].search}"]) for one in by_name]
    pairs = [(new, old) for new, old in pairs if new != old]
    for metric, what in (("last_bbox_mAP", "last epoch"), ("bbox_mAP", "best epoch")):
        each = [Mean.of(_differences(judged[new.name], judged[old.name], metric)) for new, old in pairs]
        told = "; ".join(f"search {new.search}: {one.text('+')}" for (new, _), one in zip(pairs, each, strict=True))
        lines.append(f"\n{NEW_DEFAULT} over {OLD_DEFAULT}, {what}: {told}; of all {Mean.over(each).text('+')}.")
    return "\n".join(lines)


def _differences(
    one: Sequence[Mapping[str, float] | None], other: Sequence[Mapping[str, float] | None], metric: str
) -> list[float]:
    return [100 * (a[metric] - b[metric]) for a, b in zip(one, other, strict=True) if a and b]
