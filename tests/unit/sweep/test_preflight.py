"""What a sweep asks its training module before anything is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ikd.config import Recipe, Runner, SweepFiles
from ikd.errors import BadInput
from ikd.sweep import run_sweep
from ikd.sweep.preflight import check_training
from tests.unit.sweep.conftest import make_space, with_teachers


class Training(ModuleType):
    """Refuses what `unfit` says, and notes what it was asked."""

    def __init__(self, unfit: Any = None) -> None:
        super().__init__("asked_training")
        self.asked: list[Recipe] = []
        self.homes: set[str | None] = set()
        self._unfit = unfit or (lambda recipe: False)

    def check(self, recipe: Recipe) -> None:
        self.asked.append(recipe)
        self.homes.add(os.environ.get("IKD_HOME"))
        if self._unfit(recipe):
            raise BadInput("distill.host: does not fit")


def files(recipe: Recipe, **changes: Any) -> SweepFiles:
    return SweepFiles(make_space(**changes).checked(recipe), recipe, Runner())


def asked(training: Training, of: SweepFiles, monkeypatch: pytest.MonkeyPatch, home: Path) -> list[Recipe]:
    monkeypatch.setitem(sys.modules, "asked_training", training)
    check_training("asked_training", of, home)
    return training.asked


def test_every_choice_that_detectors_must_fit_is_tried_once(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = with_teachers(recipe, "a")
    parameters = {
        "teachers.sequence": {"sequence": {"of": ["a", "b"]}},
        "distill.host": {"choice": ["fgd", "crosskd"]},
        "distill.crosskd.position": {"choice": [0, 1], "when": {"distill.host": "crosskd"}},
        "distill.sfa.levels": {"choice": [[0], [1, 2]], "when": {"distill.sfa.enabled": True}},
        "distill.sfa.enabled": {"choice": [False, True]},
        "distill.fgd.alpha": {"log_uniform": [1e-5, 1e-3], "when": {"distill.host": "fgd"}},
    }
    training, before = Training(), os.environ["IKD_HOME"]
    found = asked(training, files(base, parameters=parameters), monkeypatch, tmp_path)
    told = [
        (
            one.teachers.sequence,
            one.distill.host,
            one.distill.crosskd.position,
            one.distill.sfa.enabled and one.distill.sfa.levels,
        )
        for one in found
    ]
    assert told == [
        (("a",), "fgd", 1, False),  # the recipe, which is the anchor paper and a choice of host and sequence too
        ((), "none", 1, False),
        (("b",), "fgd", 1, False),
        (("a", "b"), "fgd", 1, False),
        (("a",), "crosskd", 1, False),
        (("a",), "crosskd", 0, False),
        (("a",), "fgd", 1, (0,)),
        (("a",), "fgd", 1, (1, 2)),
    ]
    assert training.homes == {str(tmp_path)}
    assert os.environ["IKD_HOME"] == before


@pytest.mark.parametrize(
    ("unfit", "message"),
    [
        (lambda one: one.distill.host == "fgd", r"^distill\.host: does not fit"),
        (lambda one: one.distill.host == "none", r"^anchor student_alone: distill\.host: does not fit"),
        (lambda one: "b" in one.teachers.sequence, r"^search space: teachers\.sequence b: distill\.host: does not fit"),
        (lambda one: len(one.teachers.sequence) == 2, r"^search space: teachers\.sequence a -> b: distill\.host"),
    ],
)
def test_what_does_not_fit_is_named(
    unfit: Any, message: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, ikd_home: Path
) -> None:
    base = with_teachers(recipe, "a")
    space = make_space(parameters={"teachers.sequence": {"sequence": {"of": ["a", "b"]}}})
    monkeypatch.setitem(sys.modules, "asked_training", Training(unfit))
    with pytest.raises(BadInput, match=message):
        run_sweep(space, recipe=base, name="s", training="asked_training")
    assert not ikd_home.exists(), "nothing was written"


def test_a_host_is_tried_without_the_copies_that_the_recipe_has_shown(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Crafting them is most of a check; where nothing else is compared, or something asks for them, they stay."""
    base = with_teachers(recipe, "a").with_values({"adversarial.enabled": True, "distill.host": "fgd"})
    hosts = {"distill.host": {"choice": ["fgd", "pkd"]}}
    found = asked(Training(), files(base, parameters=hosts), monkeypatch, tmp_path)
    assert {one.distill.host: one.adversarial.enabled for one in found} == {"fgd": True, "none": False, "pkd": False}
    levels = {"distill.levels": {"choice": ["all", [0, 1]]}}
    for changes in ({"distill.host": "none"}, {"distill.confidence": ["adversarial"]}):
        other = base.with_values(changes)
        found = asked(Training(), files(other, parameters=levels), monkeypatch, tmp_path)
        assert [one.adversarial.enabled for one in found if one.distill.levels == (0, 1)] == [True]


def test_processes_must_share_a_batch(recipe: Recipe, ikd_home: Path) -> None:
    runner = Runner.model_validate_json('{"trial": {"processes": 3}}')
    with pytest.raises(BadInput, match=r"trial.processes: must divide schedule.batch_size, which is 8 .* got 3"):
        check_training("asked_training", SweepFiles(make_space(), recipe, runner), ikd_home)


@pytest.mark.parametrize(
    ("name", "choice", "when"),
    [
        ("adversarial.enabled", [True, False], {}),
        ("attack.loss", ["cls", "cls+reg"], {"adversarial.enabled": True}),
        ("validate", [["bbox"], ["bbox", "segm"]], {}),
        ("input.copy_paste.enabled", [False, True], {}),
        *((f"distill.response.{term}.enabled", [False, True], {}) for term in ("bckd", "ld", "kd_detr")),
        ("distill.labels.form", ["soft", "both"], {"distill.labels.enabled": True, "distill.labels.labelled": "fill"}),
        ("distill.crosskd.w_cls", [0.5, 2.0], {"distill.host": "crosskd"}),
        ("distill.crosskd.roi.w_cls", [0.25, 1.0], {"distill.host": "crosskd"}),
        ("input.copy_paste.by", ["mask", "box"], {"input.copy_paste.enabled": True}),
    ],
)
def test_what_only_some_data_or_detectors_take_is_tried_before_a_trial_is(
    name: str, choice: list[Any], when: dict[str, Any], recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = with_teachers(recipe, "a").with_values(when)
    found = asked(Training(), files(base, parameters={name: {"choice": choice}}), monkeypatch, tmp_path)
    assert {str(one.value(name)) for one in found} >= {str(one) for one in choice}


def test_levels_may_be_searched_and_each_choice_is_tried(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parameters = {
        "distill.levels": {"choice": ["auto", "all", [0, 1, 2]]},
        "distill.reduction": {"choice": ["published", "variance"]},
    }
    found = asked(Training(), files(recipe, parameters=parameters), monkeypatch, tmp_path)
    assert {one.distill.levels for one in found} == {"auto", "all", (0, 1, 2)}
