"""Published warm-ups of single hosts: what share of a loss acts in which step, and what that does to a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import HOSTS, Recipe
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput
from ikd.training import EpochReport, StopTrial, prepare, run_trial
from ikd.training.hooks.rise import risen
from tests.marks import some

Build = Callable[..., Recipe]
QUIET = {"augment__enabled": False, "adversarial__enabled": False}


def test_the_published_ones_are_the_defaults() -> None:
    found = {name: (host().model_dump()["warmup"], host.rises) for name, host in HOSTS.items() if host.rises}
    assert found == {"fgfi": (400, "at once"), "frs": (500, "linearly"), "icd": (1000, "at once")}


@pytest.mark.parametrize(
    ("host", "shares"),
    [
        ("fgfi", [0, 0, 0, 1, 1]),
        ("icd", [0, 0, 0, 1, 1]),
        ("frs", [0.25, 0.5, 0.75, 1, 1]),
        ("pkd", [1, 1, 1, 1, 1]),
        ("none", [1, 1, 1, 1, 1]),
    ],
)
def test_the_share_of_each_step(tiny_recipe: Build, host: str, shares: list[float]) -> None:
    warmups = {f"distill__{name}__warmup": 3 for name in ("fgfi", "frs", "icd")}
    recipe = tiny_recipe(distill__host=host, **warmups)
    assert [risen(recipe, step) for step in range(5)] == shares


@pytest.mark.parametrize(
    ("host", "terms"), some([("frs", {"frs", "frs_cls"}), ("icd", {"icd"}), ("fgfi", {"fgfi"})], 1)
)
def test_it_acts_in_training(
    tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, terms: set[str]
) -> None:
    """In each step of a stage; four in all, and every stage begins anew."""
    steps: list[dict[str, float]] = []
    step = DistillDetector.train_step

    def noted(self: DistillDetector, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        values = step(self, *args, **kwargs)
        if self.position[1] and terms <= values.keys():  # no rehearsal, and no teacher that is trained
            steps.append({name: float(values[name]) for name in terms} | {"share": self.lessons[0].host_share})
        return values

    monkeypatch.setattr(DistillDetector, "train_step", noted)
    changes = {f"distill__{host}__warmup": 1, "teachers__sequence": ["big", "big"], "schedule__epochs": 2}
    run_trial(tiny_recipe(distill__host=host, **changes, **QUIET), directory=tmp_path)
    first = 0.5 if host == "frs" else 0.0
    assert [one["share"] for one in steps] == [first, 1, first, 1]
    for name in terms:
        assert [one[name] > 0 for one in steps] == [first > 0, True, first > 0, True], name


def test_a_rise_longer_than_its_stage_is_refused(tiny_recipe: Build) -> None:
    """Two steps in the second stage."""
    recipe = tiny_recipe(
        distill__host="fgfi", distill__fgfi__warmup=2, teachers__sequence=["big", "big"], schedule__epochs=3, **QUIET
    )
    rule = r"distill\.fgfi\.warmup: must be below the 2 steps of the stage \(1 epochs of 2\), but got 2; the loss would"
    with pytest.raises(BadInput, match=rule):
        prepare(recipe)


def curve(recipe: Recipe, directory: Path, **arguments: Any) -> list[dict[str, float]]:
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=directory, **arguments)
    return [{name: value for name, value in one.metrics.items() if "seconds/" not in name} for one in reports]


@pytest.fixture(scope="module")
def conditional(tiny_recipe: Build) -> Build:
    """Build recipes of ICD alone."""
    small = {"distill__host": "icd", "distill__icd__warmup": 1, "distill__icd__dims": 16, "distill__icd__heads": 2}
    return lambda **changes: tiny_recipe(**(QUIET | small | changes))


@pytest.fixture(scope="module")
def brief(conditional: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What one epoch of the unchanged recipe reports."""
    return curve(conditional(schedule__epochs=1), tmp_path_factory.mktemp("brief"))[0]


class TestDecoder:
    @pytest.mark.slow
    def test_it_goes_on_bit_for_bit_and_stays_behind(self, conditional: Build, tmp_path: Path) -> None:
        """Weights, and both moments of its own AdamW, after a stop in the middle."""
        recipe = conditional(schedule__epochs=3)
        whole = curve(recipe, tmp_path / "whole")

        def stop(report: EpochReport) -> None:
            raise StopTrial

        run_trial(recipe, stop, directory=tmp_path / "parts")
        before = torch.load(tmp_path / "parts" / "last.pth", weights_only=True)["model"]
        torch.rand(7)
        assert curve(recipe, tmp_path / "parts", checkpoint=tmp_path / "parts" / "last.pth") == whole[1:]
        ends = [torch.load(tmp_path / one / "last.pth", weights_only=True) for one in ("whole", "parts")]
        model = ends[0]["model"]
        decoder = [name for name in model if name.startswith("decoder.")]
        assert decoder
        assert all(torch.equal(model[name], ends[1]["model"][name]) for name in model)
        states = [one["optimizer"]["state"] for one in ends]
        assert all(
            torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][place][key]))
            for place, state in states[0].items()
            for key, value in state.items()
        )
        assert all(not torch.equal(model[name], before[name]) for name in decoder if name.endswith("weight"))
        assert states[0][ends[0]["trained"].index(decoder[0])].keys() >= {"exp_avg", "exp_avg_sq"}
        exported = torch.load(tmp_path / "whole" / "best.pth", weights_only=True)["state_dict"]
        assert not [name for name in exported if "decoder" in name]
        assert len(exported) == sum(name.startswith("student.") for name in model)

    @pytest.mark.parametrize(
        "option",
        some(
            [
                {"distill__icd__fakes": 1.0},
                {"distill__icd__decoder_lr": 1e-2},
                {"distill__icd__weight": 1.0},
                {"distill__icd__most": 1},
                {"distill__icd__jitter": 0.0},
                {"distill__icd__heads": 4},
                {"distill__icd__dims": 8},
                {"distill__icd__decoder_clip": 1e-6},
            ],
            3,
        ),
        ids=lambda option: next(iter(option)).rpartition("__")[2],
    )
    def test_every_option_acts(
        self, conditional: Build, brief: dict[str, float], tmp_path: Path, option: dict[str, Any]
    ) -> None:
        assert curve(conditional(schedule__epochs=1, **option), tmp_path)[0]["loss/icd"] != brief["loss/icd"]

    def test_heads_that_do_not_divide_its_width_are_refused(self, conditional: Build) -> None:
        with pytest.raises(BadInput, match=r"distill\.icd\.heads: must be a divisor of distill\.icd\.dims \(16\)"):
            conditional(distill__icd__heads=3)

    @pytest.mark.slow
    def test_a_decoder_and_a_stage_without_one(self, conditional: Build, tmp_path: Path) -> None:
        """Schedule and momentum of the student go on into a stage that has no decoder, and back."""
        stages = [
            {"teacher": "big"},
            {"teacher": "big", "set": {"distill.host": "pkd"}},
            {"teacher": "big"},
        ]
        found = curve(conditional(teachers__sequence=stages, schedule__epochs=3), tmp_path)
        assert [("loss/icd" in one, "loss/pkd" in one) for one in found] == [
            (True, False),
            (False, True),
            (True, False),
        ]
