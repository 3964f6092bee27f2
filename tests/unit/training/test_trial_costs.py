"""Costs of the student in a trial's reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.training import COSTS, EpochReport, StopTrial, run_trial
from ikd.trial import TrialOptions

Build = Callable[..., Recipe]
NAMES = [f"cost/{name}" for name in COSTS]


def metrics_of(recipe: Recipe, directory: Path, costs: tuple[str, ...]) -> list[dict[str, float]]:
    found: list[EpochReport] = []
    run_trial(recipe, found.append, directory=directory, options=TrialOptions(costs=costs))
    return [dict(report.metrics) for report in found]


def test_costs_are_in_every_report_and_change_nothing_else(tiny_recipe: Build, tmp_path: Path) -> None:
    plain = metrics_of(tiny_recipe(), tmp_path / "plain", ())
    costly = metrics_of(tiny_recipe(), tmp_path / "costly", COSTS)
    assert not any(name.startswith("cost/") for report in plain for name in report)
    assert [costly[0][name] for name in NAMES] == [costly[1][name] for name in NAMES]
    timed = ("seconds/train", "seconds/val", "seconds/attack")
    for with_costs, without in zip(costly, plain, strict=True):
        rest = {name: value for name, value in with_costs.items() if name not in (*NAMES, *timed)}
        assert rest == {name: value for name, value in without.items() if name not in timed}


@pytest.mark.slow
def test_a_searched_width_acts_on_every_exact_cost(tiny_recipe: Build, tmp_path: Path) -> None:
    """As a search space sets it: one argument of the student, by its dotted name."""
    base = tiny_recipe(schedule__epochs=1).student_alone()
    found = {}
    for width in (4, 8):
        recipe = base.with_values({"student.arguments.base_channels": width})
        assert recipe.student.arguments == {**base.student.arguments, "base_channels": width}
        assert (recipe.fingerprint() == base.fingerprint()) is (width == 4)
        found[width] = metrics_of(recipe, tmp_path / str(width), ("gflops", "mparameters"))[0]
        assert [name for name in found[width] if name.startswith("cost/")] == NAMES[:2]
    deeper = base.with_values({"student.overrides.bbox_head.stacked_convs": 2})
    found[0] = metrics_of(deeper, tmp_path / "head", ("gflops", "mparameters"))[0]
    for name in NAMES[:2]:
        assert found[4][name] < found[8][name]
        assert found[4][name] != found[0][name]


def test_a_resumed_trial_keeps_its_figure(tiny_recipe: Build, tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    recipe = tiny_recipe().student_alone()

    def stop(report: EpochReport) -> None:
        reports.append(report)
        raise StopTrial

    result = run_trial(recipe, stop, directory=tmp_path, options=TrialOptions(costs=("latency_ms",)))
    run_trial(
        recipe,
        reports.append,
        result.last,
        directory=tmp_path,
        options=TrialOptions(costs=("latency_ms", "mparameters")),
    )
    assert reports[0].metrics["cost/latency_ms"] == reports[1].metrics["cost/latency_ms"] > 0
    assert reports[1].metrics["cost/mparameters"] > 0


def test_an_unknown_cost_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"costs: must be among gflops, mparameters, latency_ms, but got 'watts'"):
        run_trial(tiny_recipe(), directory=tmp_path / "trial", options=TrialOptions(costs=("watts",)))
    assert not (tmp_path / "trial").exists()


def test_an_unknown_option_is_refused(tiny_recipe: Build, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="keep_epoch"):
        run_trial(tiny_recipe(), directory=tmp_path, keep_epoch=2)  # type: ignore[call-arg]
