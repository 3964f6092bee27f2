"""`ikd.Sweep`: what a program or notebook reads of a sweep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ikd
from benchmarks.report.played import EPOCHS
from ikd.errors import BadInput
from ikd.sweep import gain_of, sweep_status


@pytest.fixture(scope="module")
def sweep(played_home: Path) -> ikd.Sweep:
    return ikd.Sweep("whole", played_home)


def test_a_sweep_says_who_it_is(sweep: ikd.Sweep) -> None:
    assert repr(sweep) == "Sweep('whole': complete, 20 of 20 trials ended)"
    assert (sweep.state, sweep.metric, sweep.directory.name) == ("complete", "bbox_mAP", "whole")
    assert list(sweep.anchors) == ["paper", "student_alone", "inherit_alone"]
    assert sweep.said == sweep.status.said_of_choice()
    assert len(sweep.said) == 3
    assert sweep.refresh() is sweep


def test_a_frame_has_a_row_a_trial_with_what_the_json_says(sweep: ikd.Sweep) -> None:
    frame = sweep.frame()
    assert list(frame.index) == list(range(20))
    for record in sweep.trials:
        row = frame.loc[record.number]
        assert row["state"] == record.state
        assert {name: row[name] for name in record.values} == dict(record.values)
        assert row["value"] == record.metric
    assert frame.loc[1, "anchors"] == "student_alone"
    assert frame.loc[0, "gain/student_alone"] == sweep.trials[0].against(sweep.trials[1])
    assert str(frame["best_epoch"].dtype) == "Int64"


def test_curves_have_a_row_a_validation(sweep: ikd.Sweep) -> None:
    curves = sweep.curves()
    assert len(curves) == sum(len(record.reports) for record in sweep.trials)
    own = curves[curves["trial"] == 0]
    assert list(own["epoch"]) == list(range(1, EPOCHS + 1))
    assert list(own["bbox_mAP"]) == [report.metrics["bbox_mAP"] for report in sweep.trials[0].reports]


def test_the_chosen_one_is_what_the_sweep_says(sweep: ikd.Sweep) -> None:
    chosen, known = sweep.chosen, sweep.status.standing
    assert chosen is not None
    assert known is not None
    assert (chosen.number, chosen.training) == (known.chosen.number, sweep.status.best)
    assert str(chosen) == sweep.said[0]
    assert chosen.expected.value == pytest.approx(known.chosen.mean / 100)
    assert chosen.expected.interval[0] < chosen.expected.value < chosen.expected.interval[1]
    assert chosen.recipe == sweep.status.recipe_of(sweep.trials[chosen.number])
    assert {name: new for name, (_, new) in chosen.changes.items()}.items() <= chosen.values.items()


def test_the_gain_is_that_of_the_second_line(sweep: ikd.Sweep) -> None:
    gain, known = sweep.gain(), sweep.status.standing
    assert gain is not None
    assert known is not None
    truth = gain_of(sweep.status.files.space, sweep.trials, known)
    assert truth is not None
    assert str(gain) == sweep.said[1]
    assert gain.confirmed
    assert (100 * gain.value, gain.probability) == pytest.approx((truth.difference, truth.probability))
    name = truth.anchor.anchors[0]
    assert sweep.gain(name) == gain


def test_a_gain_over_an_anchor_of_which_nothing_was_kept_apart_is_believed(sweep: ikd.Sweep) -> None:
    gain, known = sweep.gain("paper"), sweep.status.standing
    assert gain is not None
    assert known is not None
    own = known.of(sweep.anchors["paper"])
    assert own is not None
    assert not gain.confirmed
    assert "believed, not confirmed" in str(gain)
    assert 100 * gain.value == pytest.approx(known.chosen.mean - own.mean)
    half = 1.645 * (known.chosen.variance + own.variance) ** 0.5
    assert 100 * (gain.interval[1] - gain.value) == pytest.approx(half, rel=1e-3)
    assert sweep.gain("student alone") == sweep.gain("student_alone")


def test_before_anything_has_finished_there_is_no_choice(begun_home: Path) -> None:
    begun = ikd.Sweep("begun", str(begun_home))
    assert begun.state == "interrupted"
    assert (begun.chosen, begun.gain(), begun.gain("paper"), begun.said) == (None, None, None, [])
    assert begun.frame().loc[0, "epochs"] == 2
    assert len(begun.curves()) == 2


def test_bad_input_is_one_line(sweep: ikd.Sweep, played_home: Path) -> None:
    with pytest.raises(BadInput, match=r"did you mean 'whole'\?"):
        ikd.Sweep("wole", played_home)
    rule = r"sweep whole: anchor: must be one of its anchors \(paper, student_alone, inherit_alone\), but got 'papers'"
    with pytest.raises(BadInput, match=rule):
        sweep.gain("papers")


def test_all_public_names_are_there_and_found_by_help() -> None:
    for name in ikd.__all__:
        assert getattr(ikd, name).__doc__, name
    assert {"Sweep", "SweepResult", "load_recipe", "load_runner", "load_space", "__version__"} <= set(dir(ikd))
    assert not [name for name in dir(ikd) if name.startswith("_") and name != "__version__"]
    done = subprocess.run([sys.executable, "-c", "import ikd; help(ikd)"], capture_output=True, text=True, check=True)
    assert 'sweep = ikd.Sweep("mine")' in done.stdout
    for name in ikd.__all__:
        assert name in done.stdout, name


def test_the_three_files_are_read_from_python(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("recipe: drawn_r18\nparameters: {distill.host: {choice: [fgd, mgd]}}\n")
    space = ikd.load_space(tmp_path / "s.yaml")
    assert list(space.parameters) == ["distill.host"]
    assert ikd.load_recipe(space.recipe, space.set).name == "drawn_r18"
    fixed = ikd.load_space(tmp_path / "s.yaml", {"distill.host": "mgd"})
    assert fixed.parameters["distill.host"].choice == ("mgd",)
    with pytest.raises(BadInput, match=r"nothing\.yaml"):
        ikd.load_space(tmp_path / "nothing.yaml")


def test_frames_of_a_sweep_do_not_load_what_trains(played_home: Path) -> None:
    code = f"import ikd, sys; ikd.Sweep('whole', {str(played_home)!r}).frame(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert sweep_status("whole", home=played_home).trials
