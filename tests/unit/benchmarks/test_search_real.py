"""Real searches: what is asked of each method, and the table of what was chosen; nothing is trained."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.search import real as module
from benchmarks.search.methods import NEW_DEFAULT, OLD_DEFAULT
from benchmarks.search.real import ALONE, JUDGES, Winner, real
from benchmarks.search.recording import load
from benchmarks.search.surrogate import surrogate
from ikd.config import Recipe, load_recipe
from ikd.errors import BadInput

LAST = {"student alone": 0.30, "old": 0.32, "new": 0.35}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))  # is another one afterwards
    given: dict[str, Any] = {"name": "drawn", "data": None, "home": tmp_path / "home", "runner": Path("runner.yaml")}
    given |= {"trainings": 40, "searches": [0, 1], "at_once": 2, "seeds": 2, "jobs": 1, "to": tmp_path / "judged.json"}
    return argparse.Namespace(**given)


def test_winners_are_judged_by_seeds_that_no_search_had(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {OLD_DEFAULT: "mgd", NEW_DEFAULT: "pkd"}

    def searched(_: object, __: object, method: str, search: int) -> Winner:
        recipe = load_recipe("drawn_r18", {"distill.host": hosts[method], "description": f"{search}"})
        return Winner(method, search, 240, 34.0 + search, recipe)

    trained: list[Recipe] = []

    def train_all(recipes: list[Recipe], results: dict[str, dict[str, float]], _: object) -> None:
        trained.extend(recipes)
        for one in recipes:
            name = {"mgd": "old", "pkd": "new"}.get(one.distill.host, ALONE)
            value = LAST[name] + 0.01 * (one.seed - JUDGES)
            results[one.fingerprint()] = {"bbox_mAP": value + 0.02, "last_bbox_mAP": value}

    monkeypatch.setattr(module, "_searched", searched)
    monkeypatch.setattr(module, "train_all", train_all)
    table = real(options)
    assert {one.seed for one in trained} == {JUDGES, JUDGES + 1}
    assert os.environ["IKD_HOME"] == str(options.home), "what judges finds the teachers of the sweeps"
    rows = {
        line.split("|")[1].strip(): [one.strip() for one in line.split("|")[2:-1]] for line in table.splitlines()[2:7]
    }
    assert rows[ALONE][2:5] == ["30.0", "31.0", "30.50 ± 0.98"]
    assert rows[f"{NEW_DEFAULT}, search 1"] == [
        "240", "35.0", "35.0", "36.0", "35.50 ± 0.98", "+5.00 ± 0.00", "37.50 ± 0.98", "+5.00 ± 0.00",
    ]  # fmt: skip
    assert (
        f"{NEW_DEFAULT} over {OLD_DEFAULT}, last epoch: search 0: +3.00 ± 0.00; search 1: +3.00 ± 0.00; of all" in table
    )


def test_a_training_that_failed_is_said_and_compared_with_nothing(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("drawn_r18")
    monkeypatch.setattr(module, "_searched", lambda *given: Winner(given[2], given[3], 1, 30.0, recipe))
    monkeypatch.setattr(module, "train_all", lambda *_: None)
    assert "| failed | failed |  |  |  |  |" in real(options)


def test_both_methods_have_equal_epochs_and_seeds_of_their_own(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    world = surrogate(load("drawn"))
    for search, method in ((0, OLD_DEFAULT), (1, NEW_DEFAULT)):
        with pytest.raises(
            BadInput, match=rf"sweep drawn-{method[:3].lower().replace('tpe', 'old')}-40-{search}: must end, but"
        ):
            module._searched(world, options, method, search)
    old, new = (yaml.safe_load(Path(command[4]).read_text()) for command in commands)
    assert old["budget"]["epochs"] == 40 * world.epochs
    assert old["objective"]["value"] == "best"
    assert (list(old["sampler"]), list(old["scheduler"])) == (["tpe"], ["asha"])
    assert new["budget"] == {"trials": 40}
    assert (old["seed"], new["seed"]) == (0, 1)
    sets = [json.loads(part.partition("=")[2]) for part in commands[1] if part.startswith("seed=")]
    assert sets == [10_000]
