"""Every row of IKD's Tables 1 to 3 and A.1 and DFMSD's Tables 1 to 11: the recipe says what the
paper does, and its detectors fit.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ikd.config import LOSSES, Recipe, load_recipe, recipe_names
from ikd.detectors import Taps, build_detector, detector_config, freeze, inherit, shared_levels
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.heads import CrossHeads
from ikd.errors import BadInput
from tests.contracts.paper_tables import (
    ADVERSARIAL,
    ADVERSARIAL_WEIGHTS,
    ALL,
    MODULES,
    NONE,
    STRONGER_FIRST,
    STUDENTS,
    TABLE,
    TWO_STAGE_TEACHERS,
    WEIGHTS,
)
from tests.unit.detectors.batches import batch, summed, total
from tests.unit.distill.heads import hyperparameters

COCO_CLASSES = tuple(f"class {index}" for index in range(80))


def of_ikd(flags: str) -> set[str]:
    return set("npa") if "k" in flags else set(flags) & set("npa")


@pytest.fixture(params=sorted(TABLE))
def row(request: pytest.FixtureRequest) -> tuple[Mapping[str, str], Recipe]:
    return TABLE[request.param], read(request.param)


read = functools.cache(load_recipe)


def test_every_row_of_the_tables_has_its_recipe_and_no_other() -> None:
    shipped = {name for name in recipe_names() if name.startswith(("coco_", "ikd_", "dfmsd_"))}
    assert shipped == set(TABLE)


def test_rows_name_their_detectors(row: tuple[Mapping[str, str], Recipe]) -> None:
    expected, recipe = row
    student, _ = STUDENTS[expected["student"]]
    assert detector_config(recipe.student.config, classes=COCO_CLASSES).type == student
    assert recipe.student.pretrained_backbone
    assert [stage.teacher for stage in recipe.teachers.stages] == expected["teachers"].split()
    assert recipe.student.inherit == ("i" in expected["flags"])


def test_rows_have_the_published_values(row: tuple[Mapping[str, str], Recipe]) -> None:
    expected, recipe = row
    family, host = STUDENTS[expected["student"]][1], expected["host"]
    assert recipe.distill.host == host
    if host in WEIGHTS:
        names, values = WEIGHTS[host][family]
        section = getattr(recipe.distill, host)
        assert tuple(getattr(section, name) for name in names) == values
    if host == "pkd":
        assert recipe.distill.pkd.weight == 6.0  # a two-stage teacher
    four = host == "pkd" or (host == "cwd" and expected["student"] != "mask_rcnn")  # as in mmrazor's and CWD's configs
    assert recipe.distill.levels == ((0, 1, 2, 3) if four else "auto")
    assert recipe.distill.match == ("index" if host == "pkd" else "stride")
    assert (recipe.distill.reduction, recipe.distill.rescale_from) == ("published", None)
    assert recipe.adversarial.weight == ADVERSARIAL_WEIGHTS.get(expected["recipe"], ADVERSARIAL[family])
    augment, ours = recipe.augment, of_ikd(expected["flags"])
    assert augment.enabled == bool(ours & {"n", "p"})
    if augment.enabled:
        assert (augment.noise.enabled, augment.crop.enabled) == ("n" in ours, "p" in ours)
    assert (augment.noise.sigma, augment.noise.probability, augment.published) == (0.08, 0.3, False)
    assert (recipe.augment.area_threshold, recipe.augment.crop.min_ratio) == (1024, 0.8)
    assert recipe.attack.model_dump(include={"eps", "step", "steps", "momentum"}) == {
        "eps": 8,
        "step": 2,
        "steps": 5,
        "momentum": 1.0,
    }


def test_rows_are_trained_as_published(row: tuple[Mapping[str, str], Recipe]) -> None:
    expected, recipe = row
    family, schedule = STUDENTS[expected["student"]][1], recipe.schedule
    assert schedule.optimizer.lr == (0.02 if family == "two" else 0.01)
    assert (schedule.optimizer.type, schedule.optimizer.momentum, schedule.optimizer.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (schedule.batch_size, schedule.optimizer.base_batch_size) == (16, 16)
    assert schedule.clip == (None if "c" in expected["flags"] else 35)
    assert (schedule.warmup.iterations, schedule.warmup.ratio, schedule.policy.gamma) == (500, 0.001, 0.1)
    assert [round(24 * share) for share in schedule.policy.milestones] == [16, 22]
    assert round(24 * recipe.augment.stop_fraction) == 16
    assert (recipe.input.scale, recipe.input.flip) == ((1333, 800), 0.0 if "f" in expected["flags"] else 0.5)
    assert recipe.input.cutout.enabled == expected["recipe"].endswith("_cutout")
    assert recipe.input.copy_paste.enabled == expected["recipe"].endswith("_copy_paste")
    assert recipe.input.order == ("crop_flip" if expected["student"] == "mask_rcnn" else "flip_crop")
    assert recipe.total_epochs == 24 * max(1, len(expected["teachers"].split()))


def test_modules_act_in_the_stages_of_the_row(row: tuple[Mapping[str, str], Recipe]) -> None:
    """Enhancement in the last stage, alignment in all, where a row says nothing else; copies come with enhancement."""
    expected, recipe = row
    stages = [stage.recipe for stage in recipe.stages]
    dual, ikd = expected["host"] == "dfmsd", "a" in of_ikd(expected["flags"])
    usual = tuple(dual and stage is stages[-1] for stage in stages), ALL if dual else NONE
    enhanced, levels = MODULES.get(expected["recipe"], usual)
    assert tuple(stage.distill.me.enabled for stage in stages) == enhanced
    assert [stage.adversarial.enabled for stage in stages] == [one or ikd for one in enhanced]
    assert [stage.distill.sfa.levels if stage.distill.sfa.enabled else NONE for stage in stages] == [levels] * len(
        stages
    )
    if dual:
        me = recipe.distill.me
        assert (me.form, me.theta, me.min_score, me.stop_fraction) == ("added", 0.5, 0.3, 1.0)
        for stage, name in zip(stages, expected["teachers"].split(), strict=True):
            sfa, two_stage = stage.distill.sfa, name.startswith(TWO_STAGE_TEACHERS)
            assert not sfa.enabled or (sfa.mode, sfa.weight) == ("extra_loss", 6.0 if two_stage else 10.0)
        assert recipe.schedule.policy.span == "stage"


def test_teachers_go_from_weak_to_strong(row: tuple[Mapping[str, str], Recipe]) -> None:
    expected, recipe = row
    if expected["recipe"] in STRONGER_FIRST:
        pytest.skip("the paper's own order")
    strengths = [recipe.teachers.available[stage.teacher].ap for stage in recipe.teachers.stages]
    assert all(ap is not None for ap in strengths)
    assert strengths == sorted(strengths, key=lambda ap: ap or 0)


def test_teachers_are_those_of_mmdets_model_zoo() -> None:
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0]) / ".mim" / "configs"
    for teacher in load_recipe("coco_retinanet_r50").teachers.available.values():
        family, _, file = str(teacher.config).removeprefix("mmdet::").partition("/")
        models = yaml.safe_load((root / family / "metafile.yml").read_text())["Models"]
        model = next(one for one in models if one["Config"].endswith(f"/{file}"))
        box_ap = next(one["Metrics"]["box AP"] for one in model["Results"] if one["Task"] == "Object Detection")
        assert (teacher.checkpoint, teacher.ap) == (model["Weights"], box_ap)


def test_the_main_row_is_the_recipe_that_stands_alone() -> None:
    alone = load_recipe("retinanet_r50_from_x101")
    assert load_recipe("ikd_table1_retinanet_ikd_fgd").fingerprint() == alone.fingerprint()


@pytest.mark.parametrize(
    ("recipe", "position", "w_cls", "w_reg"),
    [
        ("coco_retinanet_r50", 3, 1.0, 1.0),
        ("coco_gfl_r50", 3, 1.0, 4.0),
        ("coco_fcos_r50", 2, 0.4, 0.75),
    ],
)
def test_students_have_their_crosskd(recipe: str, position: int, w_cls: float, w_reg: float) -> None:
    crosskd = load_recipe(recipe).distill.crosskd
    assert (crosskd.position, crosskd.w_cls, crosskd.w_reg, crosskd.beta) == (position, w_cls, w_reg, 1.0)


def built(detector: Any) -> Any:
    """A detector as its recipe has it, with random weights: nothing is fetched."""
    torch.manual_seed(0)
    return build_detector(detector_config(detector.config, overrides=detector.overrides, classes=COCO_CLASSES))


DENSE = {"retinanet", "gfl", "reppoints", "fcos"}  # P3 to P7; the others have P2 to P5
PAIRS = {
    (name, row["student"]): row["recipe"]
    for row in sorted(TABLE.values(), key=lambda row: "i" in row["flags"])  # of several rows one that inherits, if any
    for name in row["teachers"].split()
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({teacher for teacher, _ in PAIRS}))
def test_zoo_detectors_build_share_their_levels_and_take_a_step(name: str) -> None:
    teacher: Any = None
    for (_, student), recipe_name in ((pair, recipe) for pair, recipe in PAIRS.items() if pair[0] == name):
        recipe = load_recipe(recipe_name)
        teacher = teacher or freeze(built(recipe.teachers.available[name]))
        pupil = built(recipe.student)
        dense = (student in DENSE, name.rpartition("_")[0] in DENSE)
        same = {(True, True): (8, 16, 32, 64, 128), (False, False): (4, 8, 16, 32)}
        assert shared_levels(pupil, teacher).strides == same.get(dense, (8, 16, 32))
        if recipe.student.inherit:
            copied = inherit(pupil, teacher)
            assert {key for key in pupil.state_dict() if not key.startswith("backbone.")} == set(copied)
        take_a_step(pupil, teacher)


def take_a_step(student: Any, teacher: Any) -> None:
    """Train once on the student's own losses and every term that applies to the pair."""
    images, samples = batch(128, count=3)  # of fewer objects there are no relations
    heads = cross_heads(student, teacher)
    student.train()
    with Taps(student).capture() as ours, heads.capture() if heads else nullcontext() as seen:
        own = student.loss(images, samples)
    with torch.no_grad(), Taps(teacher).capture() as theirs:
        outputs = teacher.extract_feat(images)
    pair, maps = (student, teacher), (ours, theirs)
    losses = sorted(name for name, section in LOSSES.items() if section.reads_maps)
    terms = {loss: summed(loss, pair, maps, samples, 128) for loss in losses}
    weight = student.neck.lateral_convs[-1].conv.weight  # every level hears from it
    for loss, term in terms.items():
        (through,) = torch.autograd.grad(term, weight, retain_graph=True)
        assert term.isfinite(), loss
        assert through.abs().sum() > 0, loss
    if heads is not None and seen is not None:  # an untrained FCOS may predict no box with an area, and so no box term
        crossed = heads.losses(seen, outputs)
        assert all(term.isfinite() for term in crossed.values())
        assert crossed["loss_crosskd_cls"].requires_grad
        terms |= crossed
    before = weight.detach().clone()
    (total(own) + torch.stack(list(terms.values())).sum()).backward()
    torch.optim.SGD(student.parameters(), lr=1e-6).step()
    assert not torch.equal(weight, before)
    assert all(one.grad is None for one in teacher.parameters())


def cross_heads(student: Any, teacher: Any) -> CrossHeads | None:
    """Return CrossKD between two heads, or None where it does not apply."""
    position = 2 if type(student).__name__ == "FCOS" else 3
    try:
        check_heads(student, teacher, position=position)
    except BadInput:
        return None
    return CrossHeads(student, teacher, **hyperparameters(position=position))
