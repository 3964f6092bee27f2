"""Every analysis of a student that is its own teacher: what must come out is known."""

from __future__ import annotations

import copy
import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from ikd.analyses import (
    Finding,
    Pair,
    analyze_confusion,
    analyze_fidelity,
    analyze_fourier,
    analyze_frequency,
    analyze_heatmaps,
    analyze_robustness,
)
from ikd.analyses.attention import attention_map
from ikd.cli import main
from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.pictures.judged import judged
from ikd.training import perturbed_images


def checked(finding: Finding, name: str, to: Path) -> dict[str, Any]:
    """Return the figures, after a look at what was written."""
    picture, file = to / f"{name}.png", to / f"{name}.json"
    assert list(finding.files) == [picture, file]
    assert np.asarray(cv2.imread(str(picture))).std() > 10, "something is drawn"
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content == finding.numbers
    assert content["analysis"] == name
    assert (content["of"]["student"], content["of"]["teacher"]) == ("trial 2 of mine", "itself")
    fits_80_columns(finding)
    return dict(content)


def fits_80_columns(finding: Finding) -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(finding.table())
    lines = [*text.getvalue().splitlines(), *finding.said]
    assert max(map(len, lines)) <= 80
    assert all(any(row[0] in line for line in lines) for row in finding.rows), "no row is broken"


def test_fidelity_to_oneself_is_100(pair: Pair, tmp_path: Path) -> None:
    told = list[str]()
    finding = analyze_fidelity(pair, tmp_path / "made", progress=lambda what, done, total: told.append(what))
    found = checked(finding, "fidelity", tmp_path / "made")
    assert found["student"]["AP"] == found["itself"]["AP"] == 100.0
    assert found["objects"] > 0
    assert set(told) == {"teacher itself on the validation part", "student on the validation part"}
    more = analyze_fidelity(pair, tmp_path, score=0.1).numbers
    assert more["objects"] > found["objects"], "the score acts"
    with pytest.raises(BadInput, match=r"--score: must be in 0\.\.1, below 1, but got 1\.0"):
        analyze_fidelity(pair, tmp_path, score=1.0)


def test_a_student_is_never_taken_for_another_by_itself(pair: Pair, tmp_path: Path) -> None:
    found = checked(analyze_confusion(pair, tmp_path), "confusion", tmp_path)
    counts = np.array(found["counts"])
    assert counts.sum() == np.trace(counts) > 0
    assert found["agreement_all"] == 100.0
    assert found["seen_by_student_alone"] == 0
    fewer = np.array(analyze_confusion(pair, tmp_path, score=0.6).numbers["counts"])
    assert fewer.sum() < counts.sum(), "the score acts"


def test_spectra_say_what_each_augmentation_changes(pair: Pair, tmp_path: Path) -> None:
    before = copy.deepcopy(np.random.get_state())
    found = checked(analyze_fourier(pair, tmp_path), "fourier", tmp_path)
    np.testing.assert_equal(np.random.get_state(), before, "the global generator is left alone")
    assert (found["images"], found["size"]) == (12, [128, 128])
    assert max(map(abs, found["change"]["flip"].values())) < 1e-9
    assert found["change"]["noise"]["high"] > found["change"]["noise"]["low"]
    assert abs(found["change"]["crop"]["low"]) > abs(found["change"]["crop"]["high"])
    assert analyze_fourier(pair, tmp_path, seed=1).numbers["rings"] != found["rings"], "the seed acts"
    assert analyze_fourier(pair, tmp_path, images=3).numbers["images"] == 3
    with pytest.raises(BadInput, match="--images: must be 1 or more, but got 0"):
        analyze_fourier(pair, tmp_path, images=0)


@pytest.mark.slow
def test_the_whole_frequencies_give_the_ap_of_validation(pair: Pair, tmp_path: Path) -> None:
    found = checked(analyze_frequency(pair, tmp_path), "frequency", tmp_path)
    usual = judged(pair.student(), pair.recipe, pair.files).metrics["bbox_mAP"]
    assert found["student"]["whole"]["AP"] == pytest.approx(100 * usual)
    assert found["student"] == found["teacher"]
    all_of_it = analyze_frequency(pair, tmp_path, bins=64).numbers["student"]
    assert all_of_it["low"]["AP"] == pytest.approx(100 * usual, abs=5), "nearly the picture; its contrast is stretched"
    assert all_of_it["high"]["AP"] < 1
    assert found["bins"] == 30
    with pytest.raises(BadInput, match="--bins: must be 1 or more, but got 0"):
        analyze_frequency(pair, tmp_path, bins=0)


def test_attention_is_the_squared_features_of_norm_1() -> None:
    found = attention_map(torch.tensor([[[3.0, 0.0]], [[0.0, -2.0]]]))
    np.testing.assert_allclose(found, np.array([[9.0, 4.0]]) / np.sqrt(97))
    assert attention_map(torch.zeros(2, 1, 2)).tolist() == [[0.0, 0.0]]


def test_heat_maps_of_oneself_are_alike(pair: Pair, tmp_path: Path) -> None:
    found = checked(analyze_heatmaps(pair, tmp_path, count=2), "heatmaps", tmp_path)
    assert list(found["similarity"]) == ["8", "16", "32", "64"]
    assert list(found["similarity"].values()) == pytest.approx([1.0] * 4)
    assert found["on_objects"]["teacher"] == pytest.approx(found["on_objects"]["student"])
    assert 0 < found["on_objects"]["area"] < 1
    assert len(found["images"]) == 2
    with pytest.raises(BadInput, match="--count: must be 1 or more, but got 0"):
        analyze_heatmaps(pair, tmp_path, count=0)


@pytest.mark.slow
def test_perturbed_photographs_are_harder(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attacks = []

    def noted(recipe: Recipe, *rest: Any) -> Any:
        attacks.append(recipe.attack)
        return perturbed_images(recipe, *rest)

    monkeypatch.setattr("ikd.analyses.robustness.perturbed_images", noted)
    found = checked(analyze_robustness(pair, tmp_path, eps=[8.0, 1.0, 8.0]), "robustness", tmp_path)
    assert found["eps"] == [1.0, 8.0]
    assert found["steps"] == [1.0, 2.0]
    assert all(0 < one.step <= one.eps for one in attacks)
    clean, weak, strong = (one["AP"] for one in (found["teacher"]["clean"], *found["teacher"]["perturbed"]))
    usual = judged(pair.teacher(), pair.recipe, pair.files).metrics["bbox_mAP"]
    assert clean == pytest.approx(100 * usual)
    assert strong < weak < clean
    assert found["student"] == found["teacher"]
    assert analyze_robustness(pair, tmp_path).numbers["eps"] == [8.0], "the recipe's"
    for wrong in (0.5, 0.0, 128.0):
        with pytest.raises(BadInput, match=rf"--eps: must be in 1\.\.127 grey levels, but got {wrong}"):
            analyze_robustness(pair, tmp_path, eps=[wrong])


def test_a_file_in_the_way_of_the_folder_is_told(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match=r"taken: must be a folder that can be written, but File exists"):
        analyze_fourier(pair, tmp_path / "taken", images=1)


def command(*arguments: str) -> object:
    """Run `ikd analyze`; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ikd", "-q", "analyze", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code or 0


def test_a_command_prints_a_table_and_where_the_files_are(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command("fourier", "mine", "2", "--images", "1", "--to", str(tmp_path)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-2:] == [str(tmp_path / "fourier.png"), str(tmp_path / "fourier.json")]
    assert any("noise" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "module", "options", "handed"),
    [
        ("fidelity", "fidelity", ["--score", "0.4"], {"score": 0.4}),
        ("confusion", "agreement", ["--score", "0.4"], {"score": 0.4}),
        ("fourier", "fourier", ["--images", "7", "--seed", "3"], {"images": 7, "seed": 3}),
        ("frequency", "frequency", ["--bins", "9"], {"bins": 9}),
        ("robustness", "robustness", ["--eps", "2", "--eps", "5"], {"eps": [2.0, 5.0]}),
        ("heatmaps", "attention", ["--count", "4"], {"count": 4}),
    ],
)
def test_each_command_hands_its_options_over(
    name: str,
    module: str,
    options: list[str],
    handed: dict[str, Any],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[Any, ...]] = []

    def analyze(pair: Pair, to: Path, *, progress: Any, **settings: Any) -> Finding:
        asked.append((pair.name, pair.teacher_name, to, settings))
        return Finding("found", ("what", "value"), [["a", "1"]], ["said"], {}, [to / "a.png"])

    monkeypatch.setattr(f"ikd.analyses.{module}.analyze_{name}", analyze)
    assert command(name, "mine", "1", "--teacher", "itself", "--to", str(tmp_path), *options) == 0
    assert asked == [("trial 1 of mine", "itself", tmp_path, handed)]
    assert capfd.readouterr().out.splitlines()[-2:] == ["said", str(tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fidelity", "mine"), "must be a folder of `ikd export`"),
        (("fidelity", "mine", "77"), "trial must be one of the sweep's, but got 77"),
        (("heatmaps", "mine", "2", "--teacher", "big"), "--teacher: must be one of"),
        (("confusion", "mine", "2", "--score", "0.999"), "--score: must be below the teacher's surest box"),
        (("fourier", "mine", "2", "--data-root", "/nowhere"), "must be a COCO json file"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], says: str, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments, "--to", str(tmp_path)) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert says in error
