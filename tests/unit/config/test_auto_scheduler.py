"""What `scheduler: auto` stands for, by epochs, budget, costs and sampler; and kinds by their names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikd.config import Chosen, load_sweep
from tests.unit.config.written_spaces import load, refusal

LONG = "set: {schedule.epochs: 24}"
HALF = {"grace_epochs": 12, "reduction_factor": 2.0}
FEW = {"grace_epochs": 2, "reduction_factor": 3.0}
FACTORIAL = "parameters: {distill.host: {choice: [fgd, mgd]}}\nsampler: {grid: {}}"


@pytest.mark.parametrize(
    ("rest", "kind", "settings", "why"),
    [
        ("budget: {trials: 40}", "none", {}, "6 epochs a training, 40 trainings in the budget"),
        ("budget: {trials: 39}", "asha", FEW, "6 epochs a training, 39 trainings in the budget: below 40"),
        ("budget: {trials: 60, epochs: 200}", "asha", FEW, "33 trainings in the budget"),
        ("budget: {trials: 60}\nset: {schedule.epochs: 12}", "none", {}, "12 epochs a training, 60 trainings"),
        ("budget: {trials: 60}\nset: {schedule.epochs: 13}", "asha", {**HALF, "grace_epochs": 7}, "above 12 epochs"),
        (f"budget: {{trials: 60}}\n{LONG}", "asha", HALF, "24 epochs a training, 60 trainings in the budget: above 12"),
        (f"budget: {{trials: 8}}\n{LONG}", "asha", HALF, "half-way"),
        ("set: {schedule.epochs: 2}", "none", {}, "no epoch to judge at"),
        ("costs: [gflops]", "asha", {**FEW, "by": "nondominated"}, "below 40"),
        (f"costs: [gflops]\n{LONG}", "asha", {**HALF, "by": "nondominated"}, "above 12"),
        ("costs: [gflops]\nbudget: {trials: 50}", "none", {}, "50 trainings"),
        ("sampler: {nsga2: {population: 4}}", "asha", FEW, "below 40"),
    ],
)
def test_it_is_chosen_by_epochs_and_budget(
    rest: str, kind: str, settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    for written in ("", "scheduler: auto\n", "scheduler: {auto: {}}\n"):
        chosen = load(tmp_path, "  {}", written + rest).scheduler
        assert chosen.kind == kind
        assert settings.items() <= getattr(chosen, kind).model_dump().items()
        assert isinstance(chosen, Chosen)
        assert why in chosen.why


def test_a_factorial_trains_all_to_the_end(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"recipe: drawn_r18\n{FACTORIAL}\n{LONG}\n")
    chosen = load_sweep(file).space.scheduler
    assert (chosen.kind, isinstance(chosen, Chosen) and chosen.why) == ("none", "a factorial compares whole trainings")


def test_what_is_named_stays(tmp_path: Path) -> None:
    named = load(tmp_path, "  {}", "scheduler: {asha: {}}\nbudget: {trials: 50}").scheduler
    assert not isinstance(named, Chosen)
    assert (named.kind, named.asha and named.asha.grace_epochs) == ("asha", 1)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "hopeless", "none"])
def test_a_kind_by_its_name_has_its_defaults(kind: str, tmp_path: Path) -> None:
    short, long = (load(tmp_path, "  {}", f"scheduler: {text}").scheduler for text in (kind, f"{{{kind}: {{}}}}"))
    assert short == long
    assert short.kind == kind


def test_a_sampler_too(tmp_path: Path) -> None:
    assert load(tmp_path, "  {}", "sampler: random").sampler == load(tmp_path, "  {}", "sampler: {random: {}}").sampler


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", ":4: scheduler: must be auto, asha, hyperband, median, hopeless, pbt, none, or one of them with"),
        ("[asha]", ":4: scheduler: must be auto, asha, hyperband, median, hopeless, pbt, none, or one of them with"),
        ("null", ":4: scheduler: must be auto, asha, hyperband, median, hopeless, pbt, none, or one of them with"),
        ("automatic", ":4: scheduler: must be auto, asha, hyperband, median, hopeless, pbt, none, or one of them with"),
        ("{auto: {}, asha: {}}", ":4: scheduler: needs exactly one of auto, asha,"),
        ("{auto: {grace_epochs: 2}}", ":4: scheduler.auto.grace_epochs: is not a field here"),
    ],
)
def test_what_is_no_scheduler_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, "  {}", f"scheduler: {text}")


def test_a_space_laid_over_another_one_takes_its_kind(tmp_path: Path) -> None:
    (tmp_path / "under.yaml").write_text("recipe: drawn_r18\nscheduler: {asha: {grace_epochs: 3}}\n")
    over = tmp_path / "over.yaml"
    for text, kind in (("median", "median"), ("auto", "asha"), ("{median: {}}", "median")):
        over.write_text(f"include: [under.yaml]\nscheduler: {text}\n")
        scheduler = load_sweep(over).space.scheduler
        assert scheduler.kind == kind
        assert isinstance(scheduler, Chosen) == (text == "auto")
    (tmp_path / "under.yaml").write_text("recipe: drawn_r18\nscheduler: asha\n")
    over.write_text("include: [under.yaml]\nscheduler: {asha: {grace_epochs: 3}}\n")
    assert load_sweep(over).space.scheduler.kind == "asha"
