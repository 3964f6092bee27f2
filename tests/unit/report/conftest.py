"""Sweeps that are played once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report.played import PARAMETERS, play, played_space

EVIL = "<script>alert(1)</script>"
"""What a class, a recipe or a folder may be called."""


@pytest.fixture(scope="session")
def played_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `whole`, of 20 trials: one has failed, one diverged, two are kept apart of each side."""
    home = tmp_path_factory.mktemp("played")
    play(home, "whole", played_space(20), misbehave=lambda number: {9: "failed", 11: "diverged"}.get(number))
    return home


@pytest.fixture(scope="session")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose every name looks like markup, with the sweep `hostile`."""
    home = tmp_path_factory.mktemp("hostile") / """a<b>&"c'"""
    choice = {f"</script>{EVIL}": 8, "wide": 16}
    parameters = {**PARAMETERS, "student.arguments.base_channels": {"choice": choice}}
    space = played_space(14, parameters=parameters)
    values = {"name": EVIL, "data.root": f"/data/{EVIL}"}
    more = {f"bbox_AP/{EVIL}": 0.25, "bbox_AP/cat": 0.5}
    ends = {6: "failed", 7: "diverged"}
    play(home, "hostile", space, values=values, more=more, misbehave=ends.get)
    return home


@pytest.fixture(scope="session")
def failed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `failed`, of which no trial has a result, and `alone`, of one trial."""
    home = tmp_path_factory.mktemp("failed")
    play(home, "failed", played_space(4), misbehave=lambda number: "diverged")
    play(home, "alone", played_space(1, anchors=[]))
    return home


@pytest.fixture(scope="session")
def begun_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `begun`: killed in its second trial, before any has finished but an anchor."""
    home = tmp_path_factory.mktemp("begun")
    play(home, "begun", played_space(20), most=1)
    return home
