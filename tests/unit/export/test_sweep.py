"""Which trial of a sweep is exported, and what the registry is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Runner, SearchSpace, SweepFiles, load_recipe
from ikd.errors import BadInput
from ikd.export import export_sweep, parse_pick, registering
from ikd.export import sweep as _sweep
from ikd.sweep import Report, SweepFolder, SweepStatus, TrialRecord, students
from ikd.sweep.study.folder import write_files
from ikd.tracking import RegisteredStudent

Make = Callable[..., list[TrialRecord]]


@pytest.fixture
def sweep(tmp_path: Path, best: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Gives a sweep called night, of trials in these states; trial 0 is the best. Only 0 and 1 have a checkpoint."""

    def make(*states: Any, uri: str = "local") -> list[TrialRecord]:
        folder = tmp_path / "home" / "sweeps" / "night"
        records = []
        for number, state in enumerate(states):
            directory = folder / "trials" / str(number)
            directory.mkdir(parents=True)
            if number < 2:
                (directory / "best.pth").symlink_to(best)
            values = {"distill.host": "mgd", "seed": number}
            record = TrialRecord(number, f"{number} mgd", (), values, True, "f", directory)
            records.append(dataclasses.replace(record, state=state, metric=0.5 - 0.1 * number))
        runner = Runner.model_validate({"tracking": {"uri": uri, "experiment": "bench"}})
        files = SweepFiles(SearchSpace(recipe="drawn_r18"), load_recipe("drawn_r18"), runner)
        write_files(SweepFolder("night", folder), files)
        monkeypatch.setattr(
            _sweep, "sweep_status", lambda name, home: SweepStatus(name, folder, files, False, "", 0.0, tuple(records))
        )
        monkeypatch.setattr(students, "trial_folder", lambda name, number, home: records[number].directory)
        return records

    return make


def searched(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "card.json").read_text())["search"]


def test_the_best_trial_is_exported_with_its_place_in_the_search(sweep: Make, tmp_path: Path) -> None:
    sweep("finished", "stopped", "failed")
    export_sweep("night", tmp_path / "out")
    assert searched(tmp_path / "out") == {
        "sweep": "night",
        "trial": 0,
        "name": "0 mgd",
        "values": {"distill.host": "mgd", "seed": 0},
        "state": "finished",
        "trials": 3,
        "choice": None,
    }


@pytest.mark.parametrize("state", ["finished", "stopped", "diverged"])
def test_another_trial_that_ended_can_be_asked_for(sweep: Make, tmp_path: Path, state: str) -> None:
    sweep("finished", state)
    export_sweep("night", tmp_path / "out", pick=1)
    assert (searched(tmp_path / "out")["trial"], searched(tmp_path / "out")["state"]) == (1, state)


@pytest.mark.parametrize(
    ("states", "trial", "says"),
    [
        (("finished", "stopped"), 9, r"must be one of the sweep's, but got 9; .*: 0 \(mgd\), 1 \(mgd\)$"),
        (("finished", "running"), 1, r"must have ended with a result, but 1 is running; .*: 0 \(mgd\)$"),
        (("finished", "waiting"), 1, r"but 1 is waiting"),
        (("finished", "failed"), 1, r"but 1 is failed"),
        (
            ("finished", "failed", "finished"),
            2,
            r"trial 2 has no .*best\.pth: only the best .*keep_top\); .*: 0 \(mgd\)$",
        ),
        (("running",), 0, r"but 0 is running; no trial of it has a student yet"),
    ],
)
def test_a_trial_without_a_result_is_refused_with_those_that_have_one(
    sweep: Make, tmp_path: Path, states: tuple[str, ...], trial: int, says: str
) -> None:
    sweep(*states)
    with pytest.raises(BadInput, match=says):
        export_sweep("night", tmp_path / "out", pick=trial)
    assert not (tmp_path / "out").exists()


def test_the_knee_of_the_front_can_be_asked_for(sweep: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = sweep("finished", "finished", "finished")
    for number, (value, gflops) in enumerate([(0.40, 9.0), (0.39, 1.5), (0.20, 1.0)]):
        report = Report(1, {"bbox_mAP": value, "cost/gflops": gflops}, 1.0, number)
        records[number] = dataclasses.replace(records[number], metric=value, best_epoch=1, reports=(report,))

    def give(*costs: str) -> None:
        space = SearchSpace.model_validate(
            {"recipe": "drawn_r18", "parameters": {"seed": {"choice": [0, 1, 2]}}, "costs": costs}
        )
        files = SweepFiles(space, load_recipe("drawn_r18"), Runner())
        status = SweepStatus("night", tmp_path, files, False, "", 0.0, tuple(records))
        monkeypatch.setattr(_sweep, "sweep_status", lambda name, home: status)

    for costs, says in (
        ([], "pick: knee needs a search space with costs"),
        (["latency_ms"], "with every cost measured"),
    ):
        give(*costs)
        with pytest.raises(BadInput, match=says):
            export_sweep("night", tmp_path / "out", pick="knee")
    give("gflops")
    export_sweep("night", tmp_path / "out", pick="knee")
    assert searched(tmp_path / "out")["trial"] == 1, "nearly as good as the best, nearly as cheap as the cheapest"


@pytest.mark.parametrize(("text", "pick"), [("best", "best"), ("knee", "knee"), ("12", 12)])
def test_what_a_person_picks(text: str, pick: object) -> None:
    assert parse_pick(text) == pick


@pytest.mark.parametrize("text", ["", "-1", "worst", "1.5"])
def test_what_nobody_can_pick(text: str) -> None:
    with pytest.raises(BadInput, match="--pick: must be best, knee or a trial's number, but got"):
        parse_pick(text)


def test_the_registry_gets_the_folder_and_the_sweeps_own_settings(
    sweep: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("finished", uri="http://host:5000")
    calls: list[dict[str, Any]] = []

    def register(directory: Path, **arguments: Any) -> RegisteredStudent:
        calls.append({"files": sorted(path.name for path in directory.iterdir()), **arguments})
        return RegisteredStudent("bench-student", "3", "models:/bench-student/3", arguments["alias"])

    monkeypatch.setattr(registering, "register_best", register)
    exported = export_sweep(
        "night", tmp_path / "out", home=tmp_path / "home", register="bench-student", alias="champion", force=True
    )
    assert exported.registered == "models:/bench-student/3"
    assert "registered as models:/bench-student/3, alias champion" in exported.summary()
    facts = calls[0].pop("facts")
    assert facts.worth.metric == "bbox_mAP"
    assert facts.worth.value == exported.metrics["bbox_mAP"]
    assert facts.worth.data == json.loads((tmp_path / "out" / "card.json").read_text())["data"]["fingerprint"]
    assert facts.metrics == dict(exported.metrics)
    assert "Trial 0 (mgd) of the sweep `night`" in facts.description
    assert "models:/bench-student/VERSION" in facts.description
    assert calls == [
        {
            "files": ["card.json", "card.md", "recipe.yaml", "student.pth", "student.py", "val.json"],
            "uri": "http://host:5000",
            "home": tmp_path / "home",
            "sweep": tmp_path / "home" / "sweeps" / "night",
            "number": 0,
            "model": "bench-student",
            "experiment": "bench",
            "alias": "champion",
            "force": True,
        }
    ]


def test_registering_a_sweep_without_tracking_is_refused_before_the_export(sweep: Make, tmp_path: Path) -> None:
    sweep("finished", uri="none")
    with pytest.raises(BadInput, match=r"sweep\.yaml: runner\.tracking\.uri: must name an MLflow server"):
        export_sweep("night", tmp_path / "out", home=tmp_path / "home", register="model")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"alias": "champion"}, "--alias: must come with --register, .* but got 'champion'"),
        ({"force": True}, "--force: must come with --register and --alias"),
        ({"register": "fish", "force": True}, "--force: must come with --alias"),
        ({"register": "fish", "alias": "a b"}, "--alias: must be letters, .* but got 'a b'"),
        ({"register": "a/b"}, "a registered model's name has none of"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_the_export(
    asked: dict[str, Any], says: str, sweep: Make, tmp_path: Path
) -> None:
    sweep("finished")
    with pytest.raises(BadInput, match=says):
        export_sweep("night", tmp_path / "out", home=tmp_path / "home", **asked)
    assert not (tmp_path / "out").exists()


def test_an_unknown_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nights"):
        export_sweep("nights", tmp_path / "out", home=tmp_path)
