"""`deterministic: true` is on while a recipe trains, and off when the next one comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import BadInput, ConfigError
from ikd.training import EpochReport, run_trial
from ikd.training.worker_state import WORKSPACE, determinism

Build = Callable[..., Recipe]


def settings() -> tuple[bool, bool, bool, str | None]:
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get(WORKSPACE),
    )


@pytest.mark.parametrize("asked", [True, False])
def test_it_holds_for_the_trial_alone(tiny_recipe: Build, tmp_path: Path, *, asked: bool) -> None:
    before, during = settings(), []

    def note(report: EpochReport) -> None:
        during.append(settings())

    run_trial(tiny_recipe(deterministic=asked, schedule__epochs=1), note, directory=tmp_path, threads=1)
    assert during == [(True, True, False, ":4096:8") if asked else before]
    assert settings() == before


def test_a_workspace_that_is_set_is_kept(tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with determinism(tiny_recipe(deterministic=True)):
        assert settings()[3] == ":16:8"
    assert settings()[3] == ":16:8"


def test_what_has_no_deterministic_form_is_refused(tiny_recipe: Build) -> None:
    before = settings()
    said = "roi_align_backward_kernel does not have a deterministic implementation, but you set ..."
    with pytest.raises(BadInput, match=r"deterministic: must be false: torch has no .*roi_align_backward_kernel"):
        with determinism(tiny_recipe(deterministic=True)):
            raise RuntimeError(said)
    assert settings() == before
    with pytest.raises(RuntimeError, match="another fault"), determinism(tiny_recipe(deterministic=True)):
        raise RuntimeError("another fault")
    with pytest.raises(RuntimeError, match="roi_align"), determinism(tiny_recipe()):
        raise RuntimeError(said)


def test_other_values_are_refused(tiny_recipe: Build) -> None:
    with pytest.raises(ConfigError, match="deterministic"):
        tiny_recipe(deterministic="yes")
