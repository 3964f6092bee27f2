"""Joint augmentation: colours alone, of the share of samples that is asked for, and nothing else of a sample moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd import augment
from ikd.augment import JointAugment
from ikd.augment.joint import OPERATIONS
from ikd.config import OPERATIONS as DECLARED
from ikd.config import Input, Joint, Recipe, load_recipe
from ikd.data import DataFiles
from ikd.errors import BadInput, ConfigError
from ikd.training.loaders import train_loader
from tests.unit.augment.samples import Constant
from tests.unit.augment.test_pipeline import SCALE, dataset, original

pytestmark = pytest.mark.usefixtures("mmdet_scope")
ALL = Joint(enabled=True, proportion=1.0, probability=1.0)


def picture() -> np.ndarray[Any, Any]:
    """Colours of middling contrast, so that every operation has something to do."""
    rows, columns = np.indices((40, 50))
    return np.stack([30 + 2 * rows, 60 + 3 * columns, np.where(rows > 20, 200, 40)], axis=2).astype(np.uint8)


def made(seed: int = 0, **settings: Any) -> dict[str, Any]:
    np.random.seed(seed)
    given = {"proportion": 1.0, "probability": 1.0, "strength": 0.5, "operations": DECLARED, **settings}
    return JointAugment(**given)({"img": picture()})


def test_every_declared_operation_is_made() -> None:
    assert set(OPERATIONS) == set(DECLARED)


@pytest.mark.parametrize("name", DECLARED)
def test_an_operation_changes_values_and_keeps_size_and_type(name: str) -> None:
    found = made(operations=[name])
    assert found["img"].shape == picture().shape
    assert found["img"].dtype == np.uint8
    assert not np.array_equal(found["img"], picture())
    assert found["joint"]


@pytest.mark.parametrize("name", DECLARED)
def test_no_operation_moves_pixels(name: str) -> None:
    """What is done to a mirrored picture is the mirror of what is done to the picture."""
    for up in (True, False):
        altered, mirrored = (
            OPERATIONS[name](np.ascontiguousarray(one), 0.7, up) for one in (picture(), picture()[:, ::-1])
        )
        assert np.array_equal(altered[:, ::-1], mirrored)


@pytest.mark.parametrize(
    ("name", "strength", "up", "expected"),
    [
        ("invert", 0.5, True, [235, 155, 55]),
        ("solarize", 0.5, True, [20, 100, 55]),  # above 192
        ("posterize", 1.0, True, [16, 96, 192]),  # 4 bits
        ("posterize", 0.5, True, [20, 100, 200]),  # 6 bits
        ("brightness", 1.0, False, [2, 10, 20]),  # x 0.1
        ("brightness", 1.0, True, [38, 190, 255]),  # x 1.9
    ],
)
def test_values_by_hand(name: str, strength: float, up: bool, expected: list[int]) -> None:
    assert OPERATIONS[name](np.array([[[20, 100, 200]]], np.uint8), strength, up)[0, 0].tolist() == expected


@pytest.mark.parametrize("name", ["posterize", "solarize", "color", "contrast", "brightness", "sharpness"])
def test_strength_acts_and_goes_to_nothing(name: str) -> None:
    far = [np.abs(made(operations=[name], strength=s)["img"].astype(int) - picture()).mean() for s in (0.01, 0.3, 1.0)]
    assert far[0] <= 1
    assert far[0] < far[2]
    assert far[1] < far[2]


def test_proportion_and_probability_are_shares() -> None:
    def share(**settings: Any) -> float:
        return float(np.mean([bool(made(seed, **settings).get("joint")) for seed in range(600)]))

    assert share(proportion=0.0) == 0
    assert share(proportion=1.0) == 1
    assert share(proportion=0.3) == pytest.approx(0.3, abs=0.06)
    assert share(probability=0.0) == 0
    assert share(probability=0.2, operations=["invert"]) == pytest.approx(0.2, abs=0.06)
    assert share(probability=0.2, operations=["invert", "color"]) == pytest.approx(0.36, abs=0.07)


def test_operations_are_done_in_their_order() -> None:
    found = [made(operations=names)["img"] for names in (["posterize", "invert"], ["invert", "posterize"])]
    assert not np.array_equal(*found)


def test_only_the_image_is_altered_and_no_global_number_is_drawn() -> None:
    image = picture()
    np.random.seed(4)
    before = np.random.get_state(legacy=False)["state"]
    given = {"img": np.concatenate([image, image], axis=2), "copies": ("adversarial",)}
    found = JointAugment(proportion=1.0, probability=1.0, strength=0.5, operations=["invert"])(given)
    after = np.random.get_state(legacy=False)["state"]
    assert np.array_equal(found["img"], np.concatenate([255 - image, image], axis=2))
    assert before["pos"] == after["pos"]
    assert np.array_equal(before["key"], after["key"])


def test_samples_that_are_not_chosen_are_those_without_it(drawn: Path) -> None:
    """Flip, noise and crop draw the same numbers; and whether a sample is chosen does not hang on them."""
    plain, half, every, none = (
        dataset(
            drawn,
            augment.train_pipeline(scale=SCALE, augment={"noise": {"probability": 0.5}}, settings=Input(joint=joint)),
        )
        for joint in (
            Joint(),
            Joint(enabled=True, proportion=0.5, operations=("invert",), probability=1.0),
            Joint(enabled=True, proportion=1.0, operations=("invert",), probability=1.0),
            Joint(enabled=True, proportion=0.0),
        )
    )
    chosen = []
    for index in range(20):
        samples = []
        for items in (plain, half, every, none):
            np.random.seed(index)
            samples.append(items[index])
        pictures = [one["inputs"].numpy() for one in samples]
        marks = [bool(one["data_samples"].metainfo.get("joint")) for one in samples]
        assert marks[0] is marks[3] is False
        assert marks[2]
        assert np.array_equal(pictures[0], pictures[3])
        assert np.array_equal(pictures[2], 255 - pictures[0])
        assert np.array_equal(pictures[1], pictures[2 if marks[1] else 0])
        chosen.append(marks[1])
    assert 4 < sum(chosen) < 16


def test_the_reference_is_the_image_before_and_shares_its_geometry(drawn: Path) -> None:
    always = {"noise": {"probability": 1.0}, "crop": {"min_ratio": 0.7}}
    invert = Joint(enabled=True, proportion=1.0, operations=("invert",), probability=1.0)
    items = dataset(
        drawn, augment.train_pipeline(scale=SCALE, augment=always, settings=Input(joint=invert), with_reference=True)
    )
    alone = dataset(drawn, augment.train_pipeline(scale=SCALE, augment=always))
    for index in range(12):
        pair = []
        for one in (items, alone):
            np.random.seed(index)
            pair.append(one[index])
        found, plain = pair
        noisy = found["data_samples"].metainfo.get("altered") == "noise"
        assert np.array_equal(found["inputs"].numpy(), 255 - plain["inputs"].numpy())
        assert np.array_equal(found["reference"].numpy(), plain["inputs"].numpy()) is not noisy
        assert found["reference"].shape == found["inputs"].shape
        if noisy and not found["data_samples"].flip:
            assert np.array_equal(found["reference"].numpy(), original(drawn, index))


@pytest.mark.parametrize("published", [False, True])
def test_copies_keep_their_own_way(drawn: Path, published: bool) -> None:
    """The adversarial copy is neither noisy nor of other colours, with a reference beside it or not."""
    always = {"noise": {"probability": 1.0}, "crop": {"min_ratio": 0.7}, "published": published}
    shared: dict[str, Any] = {"scale": SCALE, "augment": always, "perturbations": Constant(3)}
    for index in range(8):
        samples = []
        ways: list[dict[str, Any]] = [{}, {"with_reference": True, "settings": Input(joint=ALL)}]
        for more in ways:
            np.random.seed(index)
            samples.append(dataset(drawn, augment.train_pipeline(**shared, **more))[index])
        assert sorted(set(samples[1]) - set(samples[0])) == ["reference"]
        assert np.array_equal(samples[0]["adversarial"].numpy(), samples[1]["adversarial"].numpy())


def test_holes_stay_black(drawn: Path) -> None:
    from ikd.config import Cutout

    items = dataset(
        drawn,
        augment.train_pipeline(
            scale=SCALE,
            flip=0.0,
            settings=Input(
                cutout=Cutout(enabled=True, probability=1.0),
                joint=Joint(enabled=True, proportion=1.0, probability=1.0, operations=("invert",)),
            ),
        ),
    )
    np.random.seed(0)
    found = items[1]["inputs"].numpy()
    holes = (found == 0).all(axis=0)
    assert holes.sum() > 300
    assert np.array_equal(found[:, ~holes], (255 - original(drawn, 1))[:, ~holes])


class TestRecipe:
    """`input.joint` of a recipe."""

    def samples(self, drawn: Path, **changes: Any) -> list[Any]:
        recipe = load_recipe("drawn_r18", {"data.root": str(drawn), "adversarial.enabled": False, **changes})
        [plan] = recipe.stages
        loader = train_loader(plan, DataFiles.of(recipe), perturbations=None, boxes=None, with_masks=False)
        from mmdet.registry import DATASETS

        items = DATASETS.build({key: value for key, value in loader["dataset"].items()})
        items.start_epoch(1)
        return [items[index] for index in range(10)]

    def test_it_is_seeded_by_seed_epoch_and_index(self, drawn: Path) -> None:
        on = {"input.joint.enabled": True, "input.joint.proportion": 0.5}
        first, again, other = (self.samples(drawn, **on, **more) for more in ({}, {}, {"seed": 1}))
        alike = [np.array_equal(a["inputs"], b["inputs"]) for a, b in zip(first, again, strict=True)]
        assert all(alike)
        marks = [[bool(one["data_samples"].metainfo.get("joint")) for one in side] for side in (first, other)]
        assert marks[0] != marks[1]

    def test_a_proportion_of_zero_is_off(self, drawn: Path) -> None:
        off, none = (
            self.samples(drawn, **{"input.joint.enabled": on, "input.joint.proportion": 0.0}) for on in (False, True)
        )
        assert all(np.array_equal(a["inputs"], b["inputs"]) for a, b in zip(off, none, strict=True))
        recipe = load_recipe("drawn_r18", {})
        for values in ({"input.joint.proportion": 0.0}, {"input.joint.probability": 0.0}):
            idle = recipe.with_values({"input.joint.enabled": True, **values})
            assert idle.fingerprint() == recipe.fingerprint()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("proportion", 0.7), ("probability", 0.5), ("strength", 0.9), ("operations", ["color"])],
    )
    def test_each_field_tells_trainings_apart_where_it_is_on(self, field: str, value: Any) -> None:
        on = load_recipe("drawn_r18", {"input.joint.enabled": True})
        assert on.with_values({f"input.joint.{field}": value}).fingerprint() != on.fingerprint()
        off = load_recipe("drawn_r18", {f"input.joint.{field}": value})
        assert off.fingerprint() == load_recipe("drawn_r18", {}).fingerprint()

    @pytest.mark.parametrize(
        ("field", "value", "rule"),
        [
            ("operations", ["color", "shear_x"], "must keep every pixel where it is, and shear_x moves them"),
            ("operations", ["Rotate"], "and Rotate moves them.*input.flip and augment.crop move boxes along"),
            ("operations", ["TranslateY"], "and TranslateY moves them"),
            ("operations", [], "must list at least one of auto_contrast"),
            ("operations", ["blur"], r"\[0\]: should be 'auto_contrast'.*but got 'blur'"),
            ("operations", "color", "should be a valid array, but got 'color'"),
            ("proportion", 1.01, "should be less than or equal to 1, but got 1.01"),
            ("probability", -0.1, "should be greater than or equal to 0, but got -0.1"),
            ("strength", 0, "should be greater than 0, but got 0"),
            ("share", 0.5, "is no recipe field"),
        ],
    )
    def test_bad_values_are_refused(self, field: str, value: Any, rule: str) -> None:
        recipe: Recipe = load_recipe("drawn_r18", {})
        with pytest.raises(ConfigError, match=rf"input\.joint\.{field}.*{rule}"):
            recipe.with_values({f"input.joint.{field}": value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proportion": 2.0}, r"input: joint\.proportion: must be less than or equal to 1, but got 2\.0"),
        ({"operations": ["ShearX"]}, r"input: joint\.operations: must keep every pixel where it is, and ShearX"),
        ({"strength": 0.0}, r"input: joint\.strength: must be greater than 0"),
    ],
)
def test_the_transform_refuses_too(settings: dict[str, Any], message: str) -> None:
    given = {"proportion": 1.0, "probability": 1.0, "strength": 0.5, "operations": ["color"], **settings}
    with pytest.raises(BadInput, match=message):
        JointAugment(**given)
