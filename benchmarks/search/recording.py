"""Recordings: the learning curves of real trials, small enough to be kept with the code."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ikd.config import Objective, Recipe, SearchSpace, load_recipe
from ikd.errors import BadInput
from ikd.sweep import TrialRecord

FOLDER = Path(__file__).resolve().parent.parent / "recorded"
NOT_RECORDED = ("name", "description", "seed", "data.root", "device")
"""Fields of a recipe that say where, not what."""
SEARCHED = ("recipe", "objective", "parameters", "constraints")
"""Parts of a search space that a recording keeps; who searches it is what is compared."""
ANYWHERE = "/data"
"""Data root of recipes that are never trained: fingerprints must not depend on the machine."""


@dataclass(frozen=True)
class Training:
    """One real training.

    Attributes:
        values: recipe fields by dotted name.
        seed: of the training.
        in_space: `values` is a point of the search space.
        curve: objective after each epoch (AP in 0..1).
        seconds: of each epoch, validation included.
    """

    values: Mapping[str, Any]
    seed: int
    in_space: bool
    curve: tuple[float, ...]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recording:
    """Real trainings of one search space.

    Attributes:
        name: of the data.
        space: what `SearchSpace` is made of, without scheduler, sampler and budget.
        changes: fields in which the base recipe differs from the shipped one.
        trainings: of the same number of epochs each.
    """

    name: str
    space: Mapping[str, Any]
    changes: Mapping[str, Any]
    trainings: tuple[Training, ...]

    def recipe(self, seed: int = 0, root: str | None = ANYWHERE) -> Recipe:
        """Return the base recipe with a seed; `root` is the data's folder, not used where ikd draws its own."""
        recipe = load_recipe(self.space["recipe"])
        place = {} if recipe.data.root.startswith("ikd::") or root is None else {"data.root": root}
        return recipe.with_values({**self.changes, **place, "seed": seed})

    def searched(self, **how: Any) -> SearchSpace:
        """Return the space with scheduler, sampler and so on as in a search-space file."""
        space = SearchSpace.model_validate_json(json.dumps({**self.space, **how}))
        return space.checked(self.recipe())

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the recording; one line for each training."""
        head = {"name": self.name, "space": self.space, "changes": self.changes}
        lines = ",\n  ".join(json.dumps(_plain(one)) for one in self.trainings)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "trainings": [\n  {lines}\n ]\n}}\n')
        return file


def load(name: str, folder: Path = FOLDER) -> Recording:
    """Read a recording.

    Raises:
        BadInput: there is none of this name, or its trainings differ in length.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.json"))) or "none"
        raise BadInput(f"recording: must be one of {known}, but got {name!r}")
    content = json.loads(file.read_text())
    trainings = tuple(
        Training(one["values"], one["seed"], one["in_space"], tuple(one["curve"]), tuple(one["seconds"]))
        for one in content["trainings"]
    )
    if len({len(one.curve) for one in trainings}) != 1:
        raise BadInput(f"{file}: must hold trainings of one length, but has {[len(one.curve) for one in trainings]}")
    return Recording(content["name"], content["space"], content["changes"], trainings)


def recorded(name: str, files: Mapping[str, Any], trials: Iterable[TrialRecord]) -> Recording:
    """Return a recording of a sweep's trials that were trained to the end.

    Args:
        name: of the recording.
        files: content of the sweep's `sweep.yaml`.
        trials: all of the sweep.

    Raises:
        BadInput: the recipe is not a shipped one, or no trial was trained to the end.
    """
    space = {key: _given(files["space"][key]) for key in SEARCHED if files["space"].get(key)}
    metric = space["objective"]["metric"]
    whole = [one for one in trials if one.state == "finished" and one.reports and len(one.reports) == one.epochs]
    if not whole:
        raise BadInput(f"sweep {name}: must have trials trained to the end with a report each epoch, but has none")
    shipped, own = _flat(load_recipe(space["recipe"]).as_dict()), _flat(files["recipe"])
    changes = {key: own[key] for key in own if key in shipped and own[key] != shipped[key]}
    changes = {key: value for key, value in changes.items() if key not in NOT_RECORDED}
    seed = int(files["recipe"]["seed"])
    return Recording(name, space, changes, tuple(_training(one, metric, seed) for one in whole))


def read_sweep(folder: Path) -> tuple[dict[str, Any], list[TrialRecord]]:
    """Return the files of a sweep as they stand and its trials.

    Raises:
        BadInput: the folder holds no sweep.
    """
    from ikd.sweep.study.database import open_storage
    from ikd.sweep.study.study import SweepStudy

    if not (folder / "sweep.yaml").is_file():
        raise BadInput(f"sweep: must be the folder of a sweep, but {folder} has no sweep.yaml")
    # Not through `trials_of`: a recording may be made of a sweep whose file an earlier ikd wrote.
    files = yaml.safe_load((folder / "sweep.yaml").read_text())
    objective = Objective.model_validate(files["space"]["objective"])
    storage = open_storage(folder, files["runner"]["study"])
    study = SweepStudy(storage, folder.name, folder, objective=objective)
    return files, list(study.records)


def _training(record: TrialRecord, metric: str, seed: int) -> Training:
    curve = tuple(round(report.metrics[metric], 5) for report in record.reports)
    seconds = tuple(round(epoch_seconds(report.metrics), 2) for report in record.reports)
    own = int(record.values.get("seed", seed))
    values = {name: value for name, value in record.values.items() if name != "seed"}
    return Training(values, own, record.in_space, curve, seconds)


def epoch_seconds(metrics: Mapping[str, float]) -> float:
    """Return what an epoch took, validation included; NaN when the training did not say."""
    return sum(metrics.get(f"seconds/{part}", math.nan) for part in ("train", "val"))


def _plain(training: Training) -> dict[str, Any]:
    return {**vars(training), "curve": list(training.curve), "seconds": list(training.seconds)}


def _given(content: Any) -> Any:
    """Return nested content without what is empty: as a person would have written it."""
    if not isinstance(content, Mapping):
        return content
    kept = {key: _given(value) for key, value in content.items()}
    return {key: value for key, value in kept.items() if value not in (None, {}, [])}


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, Mapping) or not content:
        return {prefix: content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def repeats(trainings: Sequence[Training]) -> list[list[Training]]:
    """Return the trainings of each configuration that was trained with several seeds."""
    groups: dict[str, list[Training]] = {}
    for one in trainings:
        groups.setdefault(json.dumps(one.values, sort_keys=True), []).append(one)
    return [group for group in groups.values() if len(group) > 1]
