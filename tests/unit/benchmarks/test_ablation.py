"""The ablation changes one part at a time, and judges on other seeds than it chooses weights on."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from benchmarks import ablation
from benchmarks.ablation import CHOOSING, Ablation
from ikd.config import Recipe


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Train nothing: a result is made of the recipe, and noted here."""
    trained: list[Recipe] = []

    def train_all(recipes: list[Recipe], results: dict[str, Any], options: argparse.Namespace) -> None:
        for one in recipes:
            trained.append(one)
            score = 0.2 + 0.01 * one.seed + 0.05 * one.adversarial.enabled - one.distill.mgd.alpha * 1000
            results[one.fingerprint()] = {"bbox_mAP": score, "last_bbox_mAP": score - 0.02}

    monkeypatch.setattr(ablation, "train_all", train_all)
    return trained


def small(*sets: str) -> Ablation:
    return Ablation(argparse.Namespace(data="ikd::drawn", host="mgd", epochs=12, seeds=3, set=sets), {})


def differing(one: Recipe, other: Recipe) -> set[str]:
    ours, theirs = one.effective(), other.effective()
    (mine,), (its,) = ours["teachers"], theirs["teachers"]
    return {key for key in {*mine, *its} if mine.get(key) != its.get(key)} | {
        key for key in ours if key != "teachers" and ours[key] != theirs.get(key)
    }


@pytest.mark.usefixtures("made")
def test_fields_are_set_in_every_line() -> None:
    ablation = small("input.scale=[320, 320]")
    lines = [*ablation.ikd_lines(), *ablation.dfmsd_lines()]
    assert {line.recipe.input.scale for line in lines} == {(320, 320)}


@pytest.mark.usefixtures("made")
def test_each_line_of_ikd_changes_its_part_alone() -> None:
    lines = {line.name: line.recipe for line in small().ikd_lines()}
    host = lines["mgd"]
    assert differing(lines["mgd + crop"], host) == differing(lines["mgd + noise"], host) == {"augment"}
    assert not lines["mgd + crop"].augment.noise.enabled
    assert not lines["mgd + noise"].augment.crop.enabled
    assert {"adversarial", "attack"} <= differing(lines["mgd + adversarial"], host)
    assert not lines["mgd + adversarial"].augment.enabled
    every = lines["mgd + all three"]
    assert every.augment.enabled and every.augment.noise.enabled and every.augment.crop.enabled  # noqa: PT018
    assert every.adversarial == lines["mgd + adversarial"].adversarial


@pytest.mark.usefixtures("made")
def test_dfmsd_has_its_parts_and_controls() -> None:
    lines = {line.name: line.recipe for line in small().dfmsd_lines()}
    flags = {name: (one.distill.me.enabled, one.distill.sfa.enabled) for name, one in lines.items()}
    assert flags["dfmsd, stages"] == (False, False)
    assert flags["dfmsd, stages + ME"] == (True, False)
    assert flags["dfmsd, stages + SFA"] == (False, True)
    assert flags["dfmsd, stages + ME + SFA"] == (True, True)
    control = lines["dfmsd, last teacher for all epochs"]
    assert [stage.teacher for stage in control.teachers.stages] == ["r18x32"]
    assert control.total_epochs == lines["dfmsd, stages"].total_epochs == 12


def test_no_seed_that_judges_chooses(made: list[Recipe]) -> None:
    chosen = small()
    lines = chosen.ikd_lines()
    assert {one.seed for one in made} == {CHOOSING}
    made.clear()
    chosen.table(lines)
    assert {one.seed for one in made} == {0, 1, 2}


@pytest.mark.usefixtures("made")
def test_differences_are_paired_by_seed() -> None:
    chosen = small()
    table = chosen.table(chosen.ikd_lines())
    (row,) = [line for line in table.splitlines() if line.startswith("| mgd + adversarial |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == cells[4] == "5.0 ± 0.0 to mgd"  # seeds differ by 1 each, the difference does not
    assert cells[1].endswith("± 1.0")
    assert float(cells[1].split()[0]) == pytest.approx(float(cells[3].split()[0]) + 2.0)


def test_the_best_on_the_choosing_seed_is_taken(made: list[Recipe], capsys: pytest.CaptureFixture[str]) -> None:
    chosen = small()
    host = {line.name: line.recipe for line in chosen.ikd_lines()}["mgd"]
    assert host.distill.mgd.alpha == pytest.approx(chosen.ikd.distill.mgd.alpha * 0.01)
    assert f"mgd x: 0.01 (seed {CHOOSING};" in capsys.readouterr().out
    assert made
