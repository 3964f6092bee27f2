"""Cosine confidence: values by hand, constants for the gradient, and which images of which terms it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import HOSTS, load_recipe
from ikd.detectors import Taps, freeze
from ikd.distill import Targets
from ikd.distill.confidence import cosine_confidence, pooled
from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.prototypes import PrototypeTerm
from ikd.distill.terms import Terms
from ikd.errors import ConfigError
from tests.marks import some
from tests.unit.distill.test_canvas import CAFFE, batch_of, small

SIZES = ((64, 96), (64, 96), (50, 70))
ALTERED = (0, 2)


def test_values_by_hand() -> None:
    before = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0], [2.0, -2.0], [0.0, 0.0]])
    after = torch.tensor([[6.0, 8.0], [0.0, 5.0], [-2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    expected = [2.0, 1.0, 0.0, 1 + 2**-0.5, 1.0]
    assert cosine_confidence(before, after).tolist() == pytest.approx(expected, abs=1e-6)


def test_an_average_over_cells_is_what_is_compared() -> None:
    features = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    assert pooled(features)[1].tolist() == [69.5, 89.5, 109.5]
    assert pooled(features.half()).dtype is torch.float32


def maps(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(3, 8, 6, 8, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher


def targets(confidence: list[float] | None = None) -> Targets:
    boxes = [torch.tensor([[8.0, 8.0, 40.0, 32.0]]), torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 63.0, 47.0]])]
    labels = [torch.zeros(len(one), dtype=torch.long) for one in boxes]
    counted = None if confidence is None else torch.tensor(confidence)
    return Targets(boxes, labels, (48, 64), torch.tensor([True, False, False]), confidence=counted)


OF_MAPS = [name for name, section in HOSTS.items() if section.reads_maps and not section.implementation]
MEANS = ["fgd", "mgd", "amd", "dmkd", "dfmsd", "cwd", "fitnet", "nad", "rmpfi"]
"""Means over images: weighed alike they are themselves."""


class TestAdapted:
    """Every loss between maps."""

    @pytest.mark.parametrize("name", OF_MAPS)
    def test_is_the_mean_of_its_images_as_they_count(self, name: str) -> None:
        loss, (student, teacher) = build_loss(name, 8, 8), maps()

        def found(*weights: float) -> float:
            torch.manual_seed(1)
            return float(loss(student, teacher, targets(list(weights))).detach())

        torch.manual_seed(1)
        alone = [float(loss(student[[i]], teacher[[i]], targets().of(i)).detach()) for i in range(3)]
        assert found(2.0, 0.0, 0.5) == pytest.approx((2 * alone[0] + 0.5 * alone[2]) / 3)
        assert found(4.0, 0.0, 1.0) == pytest.approx(2 * found(2.0, 0.0, 0.5), rel=1e-5)

    @pytest.mark.parametrize("name", [one for one in MEANS if one != "mgd"])
    def test_a_mean_over_images_stays_itself_where_all_count_one(self, name: str) -> None:
        loss, (student, teacher) = build_loss(name, 8, 8), maps()
        plain, ones = (loss(student, teacher, targets(counted)) for counted in (None, [1.0, 1.0, 1.0]))
        assert float(ones.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
        slope, other = (torch.autograd.grad(one, student, retain_graph=True)[0] for one in (plain, ones))
        assert torch.allclose(slope, other, rtol=1e-4, atol=1e-7 * float(slope.abs().max()) + 1e-12)

    def test_an_image_that_counts_nothing_pulls_nowhere(self) -> None:
        student, teacher = maps()
        build_loss("fgd", 8, 8)(student, teacher, targets([2.0, 0.0, 0.5])).backward()
        assert student.grad is not None
        pulls = student.grad.flatten(1).abs().sum(dim=1)
        assert pulls[1] == 0
        assert (pulls[[0, 2]] > 0).all()


def altered_batch(joint: tuple[int, ...] = ALTERED, noisy: tuple[int, ...] = ()) -> dict[str, Any]:
    data = batch_of(*SIZES)
    data["reference"] = [one.clone() for one in data["inputs"]]
    for row in {*joint, *noisy}:
        data["inputs"][row] = 255 - data["inputs"][row] // 2
        facts: dict[str, Any] = {"joint": True} if row in joint else {"altered": "noise", "enhanced": False}
        data["data_samples"][row].set_metainfo(facts)
    return data


def model(*confident: str, **more: Any) -> DistillDetector:
    torch.manual_seed(0)
    student, teacher = small(), freeze(small(**CAFFE))
    terms: dict[str, Any] = {"host": ("fitnet", [build_loss("fitnet", 16, 16) for _ in range(5)])} | more
    return DistillDetector(student, teacher, Terms(range(5), range(5), confident=frozenset(confident), **terms)).train()


def numbers(losses: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items() if isinstance(value, Tensor)}


def weights_by_hand(detector: DistillDetector, data: dict[str, Any], altered: tuple[int, ...]) -> list[Tensor]:
    """1 + cos of the averages on each level, from two whole passes of the teacher."""
    found = []
    for images in (data["reference"], data["inputs"]):
        seen = detector.teacher.data_preprocessor({"inputs": list(images)}, False)["inputs"]
        taps = Taps(detector.teacher)
        with torch.no_grad(), taps.capture() as one:
            detector.teacher.extract_feat(seen)
        found.append([each.mean(dim=(2, 3)) for each in one])
    weights = [1 + torch.nn.functional.cosine_similarity(a, b, dim=1) for a, b in zip(*found, strict=True)]
    rows = [row for row in range(len(SIZES)) if row not in altered]
    for counted in weights:
        counted[rows] = 1.0
    return weights


@pytest.mark.parametrize(("joint", "noisy"), some([((0,), (1,)), (ALTERED, ()), ((), (1,))], 1))
def test_altered_images_count_by_what_the_teacher_makes_of_them(joint: Any, noisy: Any) -> None:
    detector, data = model("host"), altered_batch(joint, noisy)
    found = float(detector.losses(data)["loss_fitnet"].detach())
    weights = weights_by_hand(detector, data, (*joint, *noisy))
    batch = detector.canvas({"inputs": data["inputs"], "data_samples": data["data_samples"]})
    with torch.no_grad():
        theirs, _ = detector.lessons[0].reader.features(
            batch["inputs"], [tuple(one.shape[1:]) for one in data["inputs"]]
        )
        taps = Taps(detector.student)
        with taps.capture() as ours:
            detector.student.extract_feat(batch["inputs"])
    of_image = [(a - b).square().mean(dim=(1, 2, 3)) for a, b in zip(ours, theirs, strict=True)]
    by_hand = sum(float((w * one).mean()) for w, one in zip(weights, of_image, strict=True))
    assert found == pytest.approx(by_hand, rel=1e-4)
    assert found != pytest.approx(numbers(model().losses(data))["loss_fitnet"], rel=1e-3)


def test_unaltered_batches_count_as_they_are() -> None:
    plain = batch_of(*SIZES)
    assert numbers(model("host").losses(plain))["loss_fitnet"] == pytest.approx(
        numbers(model().losses(plain))["loss_fitnet"], rel=1e-5
    )


def test_only_the_terms_that_are_named_change() -> None:
    more: dict[str, Any] = {
        "alignment": {0: build_loss("pkd", 16, 16, weight=1.0)},
        "adversarial": [build_loss("adversarial", 16, 16) for _ in range(5)],
        "prototypes": PrototypeTerm(
            [16] * 5,
            [16] * 5,
            classes=2,
            count=2,
            global_weight=0.0,
            feature_weight=1.0,
            background_weight=1.0,
            coefficients="cosine",
            strength=1.0,
            over_levels="sum",
        ),
    }
    data = altered_batch()
    data["adversarial"] = [255 - one for one in data["reference"]]
    plain = numbers(model(**more).losses(data))
    changed = {"host": "fitnet", "sfa": "sfa", "adversarial": "adversarial", "prototypes": "prototypes_feature"}
    for name, loss in changed.items():
        found = numbers(model(name, **more).losses(data))
        others = {key for key, value in found.items() if value != pytest.approx(plain[key], rel=1e-6)}
        assert others == {f"loss_{loss}"}, name


def test_adversarial_copies_are_compared_with_the_images_before() -> None:
    """Also where nothing but the copies asks the teacher."""
    levels = [build_loss("adversarial", 16, 16, weight=1e-3) for _ in range(5)]
    detector = model("adversarial", host=None, adversarial=levels)
    data = altered_batch()
    data["adversarial"] = [one.clone() for one in data["reference"]]
    plain = numbers(model(host=None, adversarial=levels).losses(data))["loss_adversarial"]
    assert numbers(detector.losses(data))["loss_adversarial"] == pytest.approx(2 * plain, rel=1e-4), (
        "nothing was changed"
    )
    data["adversarial"] = [255 - one for one in data["reference"]]
    twice = 2 * numbers(model(host=None, adversarial=levels).losses(data))["loss_adversarial"]
    assert numbers(detector.losses(data))["loss_adversarial"] < twice


def test_confidence_is_a_constant() -> None:
    detector, data = model("host"), altered_batch()
    detector.losses(data)["loss_fitnet"].backward()
    assert all(one.grad is None for one in detector.teacher.parameters())
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in detector.student.parameters())


def test_noise_of_added_copies_is_not_the_images() -> None:
    """With `distill.me.form: added` a sample's noise is in its copy."""
    levels = [build_loss("dfmsd", 16, 16) for _ in range(5)]
    found = []
    for confident in ((), ("host",)):
        data = altered_batch(joint=(), noisy=ALTERED)
        data["enhanced"] = [one.clone() for one in data["inputs"]]
        found.append(numbers(model(*confident, host=("dfmsd", levels)).losses(data))["loss_dfmsd"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


class TestRecipe:
    """`distill.confidence` of a recipe."""

    def test_it_tells_trainings_apart_and_is_left_out_of_older_ones(self) -> None:
        recipe = load_recipe("drawn_r18", {})
        assert "confidence" not in recipe.effective()["teachers"][0]["distill"]
        prints = {
            recipe.with_values({"distill.confidence": one}).fingerprint() for one in ([], ["host"], ["adversarial"])
        }
        assert len(prints) == 3

    @pytest.mark.parametrize(
        ("values", "rule"),
        [
            (
                {"distill.confidence": ["sfa"]},
                "must be among the terms between maps that are on: host, adversarial, but got",
            ),
            ({"distill.confidence": ["host"], "distill.host": "vkd"}, "that are on: adversarial, but got 'host'"),
            ({"distill.confidence": ["host", "host"]}, "must name no term twice"),
            (
                {"distill.confidence": ["host"], "augment.enabled": False},
                r"needs images that are altered: input\.joint",
            ),
            ({"distill.confidence": ["host"], "augment.noise.enabled": False}, "needs images that are altered"),
            (
                {"distill.confidence": ["adversarial"], "augment.published": True},
                r"goes not with augment\.published.*but got 'adversarial'",
            ),
            ({"distill.confidence": ["logits"]}, r"should be 'host', 'sfa', 'prototypes' or 'adversarial'"),
            ({"distill.confidence": "host"}, "should be a valid array"),
        ],
    )
    def test_what_cannot_act_is_refused(self, values: dict[str, Any], rule: str) -> None:
        recipe = load_recipe("drawn_r18", {})
        with pytest.raises(ConfigError, match=rf"distill\.confidence.*{rule}"):
            recipe.with_values(values)

    def test_joint_augmentation_is_enough(self) -> None:
        values = {"distill.confidence": ["host"], "augment.enabled": False, "input.joint.enabled": True}
        assert load_recipe("drawn_r18", values).distill.confidence == ("host",)
