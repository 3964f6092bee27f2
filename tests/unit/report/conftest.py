"""Sweeps that are played once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report.played import play, played_space


@pytest.fixture(scope="session")
def played_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `whole`, of 20 trials: one has failed, one diverged, two are kept apart of each side."""
    home = tmp_path_factory.mktemp("played")
    play(home, "whole", played_space(20), misbehave=lambda number: {9: "failed", 11: "diverged"}.get(number))
    return home


@pytest.fixture(scope="session")
def begun_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `begun`: killed in its second trial, before any has finished but an anchor."""
    home = tmp_path_factory.mktemp("begun")
    play(home, "begun", played_space(20), most=1)
    return home
