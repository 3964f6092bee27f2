"""The widest spaces: all that ikd has is in them, around what is published, and whatever they draw can be built."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ikd.config import HOSTS, Recipe, SearchSpace, SweepFiles, load_sweep, loss_weights
from ikd.config.space.search import Random, Sampler
from ikd.distill import build_loss, takes
from ikd.sweep.proposals.search import propose

ROOT = Path(__file__).resolve().parents[3]
OURS = {name for name, section in HOSTS.items() if not section.implementation}
RANGES = """\
augment.noise.probability,0.1,0.6,0.3
augment.noise.sigma,0.02,0.26,0.08
augment.crop.min_ratio,0.6,0.95,0.8
augment.crop.probability,0.3,1.0,1.0
adversarial.weight,1e-6,1e-4,1e-5
distill.fgd.temperature,0.2,1.5,0.5
distill.fgd.alpha,1e-4,1e-2,1e-3
distill.fgd.gamma,5e-5,5e-3,5e-4
distill.fgd.lambda_,5e-7,5e-5,5e-6
distill.mgd.alpha,2e-6,2e-4,2e-5
distill.mgd.mask_ratio,0.0,0.9,0.65
distill.fbkd.w_feature,1e-5,2e-3,4.2e-4
distill.fbkd.w_attention,5e-4,1e-1,2.4e-2
distill.cwd.tau,0.5,4,1
distill.cwd.weight,0.5,50,5
distill.pkd.weight,1,30,10
distill.amd.mask_ratio,0.2,0.8,0.65
distill.amd.alpha,2e-6,2e-4,2e-5
distill.dmkd.spatial_mask_ratio,0.2,0.8,0.65
distill.dmkd.channel_mask_ratio,0.05,0.4,0.15
distill.dmkd.alpha,2e-6,2e-4,2e-5
distill.dfmsd.alpha,1e-8,1e-3,2e-5
distill.dfmsd.beta,1e-8,1e-3,1e-5
distill.me.theta,0.1,0.8,0.5
distill.sfa.weight,1,30,1
distill.crosskd.w_cls,0.1,4,1
distill.crosskd.w_reg,0.1,8,1
distill.fitnet.weight,0.03,30,1
distill.fgfi.psi,0.2,0.9,0.5
distill.fgfi.weight,1e-3,1e-1,0.01
distill.defeat.w_object,0.3,30,3
distill.defeat.w_background,1,60,12
distill.defeat.w_head,0.2,20,2
distill.frs.w_feature,5e-4,0.2,5e-3
distill.frs.w_cls,5e-3,0.5,2e-2
distill.rmpfi.w_imitation,0.1,30,1.5
distill.rmpfi.w_rank,0.1,30,1.5
distill.rkd.w_distance,1,100,25
distill.rkd.w_angle,2,200,50
distill.vkd.weight,0.1,10,1
distill.nad.beta,1e1,1e4,1000
distill.sl2.weight,0.6,60,6
distill.prototypes.feature_weight,0.1,4,1
distill.prototypes.global_weight,0.5,40,5
distill.prototypes.strength,0.1,200,10
distill.prototypes.bandwidth,0.03,0.5,0.1
distill.prototypes.quantile,0,0.7,0.4
distill.prototypes.background_weight,0.5,16,4
input.joint.probability,0.1,0.7,0.3
distill.agreement.eta,0.01,1,0.1
schedule.optimizer.lr,1e-3,4e-3,2e-3
"""
"""Field, least and largest value that a search around the published one ought to reach, and that one."""


def files(name: str) -> SweepFiles:
    return load_sweep(ROOT / "search_spaces" / f"{name}.yaml")


@pytest.fixture(scope="module")
def everything() -> SweepFiles:
    return files("everything")


def drawn(given: SweepFiles, count: int) -> list[Recipe]:
    """Random draws, each of which is a recipe that was checked."""
    space: SearchSpace = given.space.model_copy(update={"sampler": Sampler(random=Random())})
    found = [propose(space, given.recipe, [], number=number) for number in range(count)]
    return [one.recipe for one in found if one is not None]


def test_every_method_is_a_choice(everything: SweepFiles) -> None:
    """A loss that ikd gets is a choice here, and its weights are searched."""
    parameters = everything.space.parameters
    assert set(parameters["distill.host"].ends) == {"none", *OURS}
    switches = {
        f"{part}.enabled" for part in ("augment", "adversarial", "input.joint", "input.cutout", "input.copy_paste")
    }
    switches |= {f"distill.{part}.enabled" for part in ("me", "sfa", "prototypes", "agreement")}
    for name in switches:
        assert set(parameters[name].ends) == {True, False}, name
    assert {"teachers.sequence", "student.inherit", "distill.confidence"} <= set(parameters)
    weights = {name for name in loss_weights() if name.split(".")[1] not in set(HOSTS) - OURS}
    elsewhere = (
        *("distill.response.ld.", "distill.response.kd_detr.", "distill.response.dense_teacher.w_quality"),
        *("distill.crosskd.roi.", "distill.response.crosskd.roi.", "distill.labels.soft."),
    )
    assert {name for name in weights if not name.startswith(elsewhere)} <= set(parameters)


def test_the_ranges_reach_around_what_is_published(everything: SweepFiles) -> None:
    space = everything.space
    for name, low, high, published in csv.reader(io.StringIO(RANGES)):
        domain = space.parameters[name]
        assert domain.bounds is not None
        assert domain.bounds[0] <= float(low), name
        assert domain.bounds[1] >= float(high), name
        assert domain.prior is not None, name
        assert domain.prior.around == pytest.approx(float(published)), name


def test_good_values_are_expected_around_each_published_one(everything: SweepFiles) -> None:
    for name, domain in everything.space.parameters.items():
        assert domain.prior is not None, name
        assert domain.contains(domain.prior.around), name
        if name != "distill.dfmsd.beta":  # null in a recipe: alpha
            assert domain.prior.around == everything.recipe.value(name), name


@pytest.mark.parametrize(
    ("name", "count"),
    [("everything", 120), ("augmentation", 30), pytest.param("everything", 500, marks=pytest.mark.slow)],
)
def test_whatever_is_drawn_builds(name: str, count: int) -> None:
    """Every draw is a valid recipe, its losses can be made, and every choice comes up."""
    given = files(name)
    recipes = drawn(given, count)
    assert len(recipes) == count
    hosts: Counter[str] = Counter()
    for recipe in recipes:
        for plan in recipe.stages:
            host = plan.recipe.distill.host
            hosts[host] += 1
            if host == "none":
                continue
            section: Any = getattr(plan.recipe.distill, host)
            settings = {key: value for key, value in section.model_dump().items() if takes(host, key)}
            assert build_loss(host, 8, 8, **settings) is not None
    if name == "everything":
        assert set(hosts) == {"none", *OURS} or count < 500
        for field in ("distill.confidence", "input.joint.enabled", "distill.agreement.enabled", "teachers.sequence"):
            assert len({str(recipe.value(field)) for recipe in recipes}) > 1, field


@pytest.mark.slow
def test_models_of_draws_can_be_made(tiny_data: Path) -> None:
    """Student, teacher and terms of 20 draws, the teacher untrained."""
    import torch

    from ikd.data import DataFiles
    from ikd.detectors import build_detector, freeze
    from ikd.training import build_model, model_config

    given = load_sweep(ROOT / "search_spaces" / "everything.yaml", values={"data.root": str(tiny_data)})
    for recipe in drawn(given, 20):
        data = DataFiles.of(recipe)
        for plan in recipe.stages:
            assert plan.recipe.teacher is not None
            torch.manual_seed(0)
            teacher = freeze(build_detector(model_config(plan.recipe.teacher, data.classes)))
            build_model(plan.recipe, data, teacher)
