"""`priors: paper`: good values are expected around the recipe's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.config import SearchSpace, load_sweep
from tests.unit.config.written_spaces import load, refusal

SPACES = sorted((Path(__file__).parents[3] / "search_spaces").glob("*.yaml"))
UNWRITTEN = {"distill.dfmsd.beta"}
"""What a recipe may leave to another field: where no beta is written it is alpha."""
PARAMETERS = """\
  distill.host: {choice: [fgd, mgd]}
  distill.fgd.alpha: {log_uniform: [1.0e-4, 1.0e-2], when: {distill.host: fgd}}
  distill.fgd.temperature: {uniform: [0.2, 1.5], step: 0.1}
  distill.mgd.mask_ratio: {uniform: [0.0, 0.9], prior: {spread: 0.1, around: 0.2}}
  augment.noise.sigma: {log_uniform: [0.2, 0.3]}
  adversarial.enabled: {choice: [true, false]}
"""


def expected(space: SearchSpace) -> dict[str, tuple[float, object]]:
    return {
        name: (domain.prior.spread, domain.prior.around)
        for name, domain in space.parameters.items()
        if domain.prior is not None
    }


def test_without_it_only_what_is_written_is_expected(tmp_path: Path) -> None:
    assert expected(load(tmp_path, PARAMETERS)) == {"distill.mgd.mask_ratio": (0.1, 0.2)}


def test_ranges_and_choices_are_expected_around_the_recipe(tmp_path: Path) -> None:
    """A prior that is written stays; a range that the recipe's value is not in has none."""
    assert expected(load(tmp_path, PARAMETERS, "priors: paper")) == {
        "distill.host": (0.5, "fgd"),
        "distill.fgd.alpha": (0.25, 1e-3),
        "distill.fgd.temperature": (0.25, 0.5),
        "distill.mgd.mask_ratio": (0.1, 0.2),
        "adversarial.enabled": (0.5, True),
    }


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_shipped_spaces_hold_every_published_value(path: Path, tmp_path: Path) -> None:
    if "grid:" in path.read_text():
        pytest.skip("a full factorial tries all values")
    recipes = Path(__file__).parents[3] / "search_spaces"
    text = f"include: [{recipes / path.name}]\npriors: paper\n"
    (tmp_path / "with.yaml").write_text(text)
    space = load_sweep(tmp_path / "with.yaml").space
    searched = {name for name, domain in space.parameters.items() if domain.size > 1}
    assert searched - set(expected(space)) <= UNWRITTEN


@pytest.mark.parametrize(
    ("parameters", "rest", "message"),
    [
        ("  distill.host: {choice: [fgd, mgd]}", "priors: none", "priors: should be 'paper'"),
        (
            "  distill.host: {choice: [fgd, mgd]}",
            "priors: paper\nsampler: {grid: {}}",
            "priors: goes with samplers that draw",
        ),
        (
            "  distill.host: {choice: [mgd, pkd]}",
            "priors: paper",
            "priors: must be left out: the recipe's own values are",
        ),
        ("  distill.hots: {choice: [mgd, pkd]}", "priors: paper", "parameters.distill.hots"),
    ],
)
def test_what_nobody_would_heed_is_refused(parameters: str, rest: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, parameters, rest)
