"""Real trainings: repeats of recorded configurations, and what the searches chose."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.comparing import SEEDS
from benchmarks.search.methods import METHODS
from benchmarks.search.recording import Recording, Training, epoch_seconds, load
from benchmarks.search.surrogate import surrogate
from benchmarks.search.worlds import best_epoch
from ikd.files import write_text

PAPER = "paper's values"


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


def confirm(
    name: str, file: Path, *, methods: Sequence[str], trainings: int, seeds: Sequence[int], root: str | None
) -> None:
    """Train for real what methods chose in their first search, and the paper's values; print the table.

    Args:
        name: of the recording.
        file: keeps these trainings, to go on from.
        methods: whose choices are trained.
        trainings: of the searches.
        seeds: of the real trainings.
        root: folder of the data.
    """
    world = surrogate(load(name))
    chosen: dict[str, Mapping[str, Any]] = {PAPER: world.paper()}
    chosen |= {method: METHODS[method](world, SEEDS[0], [trainings])[trainings].values for method in methods}
    print(f"| chosen by | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | surrogate | values |")
    print(f"|---|{'---:|' * (len(seeds) + 2)}---|")
    for method, values in chosen.items():
        if not values:
            print(f"| {method} | the student alone |", flush=True)
            continue
        real = [100 * max(_curve(world.base, file, values, seed, root)) for seed in seeds]
        cells = " | ".join(f"{one:.1f}" for one in [*real, statistics.mean(real), best_epoch(world.expected(values))])
        print(f"| {method} | {cells} | {json.dumps(values)} |", flush=True)


def _curve(recording: Recording, file: Path, values: Mapping[str, Any], seed: int, root: str | None) -> Sequence[float]:
    known = [one for one in recording.trainings if one.values == values and one.seed == seed]
    if known:
        return known[0].curve
    key = f"{recording.name} trained with seed {seed}: {json.dumps(values, sort_keys=True)}"
    kept: dict[str, list[float]] = json.loads(file.read_text()) if file.is_file() else {}
    if key not in kept:
        kept[key] = list(trained(recording, values, seed, root).curve)
        write_text(file, json.dumps(kept))
    return kept[key]
