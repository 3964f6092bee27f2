"""Every shipped search space with every shipped runner: loads, samples, and every sample is a recipe."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ikd.config import load_sweep
from ikd.sweep import dry_run
from ikd.sweep._sampling import anchor_proposals, propose

ROOT = Path(__file__).resolve().parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
RUNNERS = sorted((ROOT / "runners").glob("*.yaml"))


def test_there_are_files_to_check() -> None:
    assert {path.stem for path in SPACES} >= {"quickstart", "ikd"}
    assert {path.stem for path in RUNNERS} >= {"local", "gpu"}


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_every_draw_is_another_recipe(space: Path) -> None:
    files = load_sweep(space, RUNNERS[0])
    prints = set()
    for number in range(20):
        proposal = propose(files.space, files.recipe, [], number=number)
        assert proposal is not None
        prints.add(proposal.recipe.fingerprint())
        assert set(proposal.values) <= set(files.space.parameters)
    assert len(prints) == 20


@pytest.mark.parametrize("name", ["quickstart", "ikd"])
def test_the_papers_values_teach_the_sampler(name: str) -> None:
    files = load_sweep(ROOT / "search_spaces" / f"{name}.yaml", RUNNERS[0])
    assert anchor_proposals(files.space, files.recipe)[0].in_space


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda path: path.stem)
def test_a_dry_run_reads_well_and_writes_nothing(runner: Path, ikd_home: Path) -> None:
    plan = dry_run(ROOT / "search_spaces" / "ikd.yaml", runner=runner)
    assert not ikd_home.exists()
    text = io.StringIO()
    Console(file=text, width=120).print(plan.render())
    for part in ("unlimited", "60, 2 of them anchors", "at most 1440", "with ASHA", "not measured yet", "distill.host"):
        assert part in text.getvalue()
