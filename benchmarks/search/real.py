"""Real trainings: repeats of recorded configurations, and what the searches chose."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.comparing import SEEDS, Store, key_of
from benchmarks.search.recording import Recording, Training, epoch_seconds, load
from benchmarks.search.surrogate import Surrogate

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
    name: str, store: Store, *, methods: Sequence[str], seeds: Sequence[int], epochs: int, root: str | None
) -> None:
    """Train for real what methods chose in their first search, and the paper's values; print the table.

    Args:
        name: of the recording.
        store: of the searches; keeps these trainings too.
        methods: whose choices are trained, where the store has them.
        seeds: of the trainings.
        epochs: of the searches.
        root: folder of the data.
    """
    recording = load(name)
    surrogate = Surrogate(recording)
    chosen: dict[str, Mapping[str, Any]] = {PAPER: surrogate.paper()}
    for method in methods:
        if (course := store.content.get(key_of(name, method, SEEDS[0], epochs))) is not None:
            chosen[method] = course["choice"]
    print(f"| chosen by | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | surrogate | values |")
    print(f"|---|{'---:|' * (len(seeds) + 2)}---|")
    for method, values in chosen.items():
        real = [100 * max(_curve(recording, store, values, seed, root)) for seed in seeds]
        told = 100 * float(surrogate.expected(values).max())
        cells = " | ".join(f"{one:.1f}" for one in [*real, statistics.mean(real), told])
        print(f"| {method} | {cells} | {json.dumps(values)} |", flush=True)


def _curve(
    recording: Recording, store: Store, values: Mapping[str, Any], seed: int, root: str | None
) -> Sequence[float]:
    known = [one for one in recording.trainings if one.values == values and one.seed == seed]
    if known:
        return known[0].curve
    key = f"{recording.name} trained with seed {seed}: {json.dumps(values, sort_keys=True)}"
    return list(store.once(key, lambda: trained(recording, values, seed, root).curve))
