"""The attack against hand-computed steps, and its promises on real detectors."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from ikd.attack import DIFGSM
from ikd.attack.settings import AttackLoss, AttackSettings
from ikd.config import Attack
from ikd.errors import BadInput
from tests.unit.attack.toys import MEAN, STD, QuadraticTeacher, noise_images, sample, tiny

SHAPE = (1, 3, 4, 5)
PLAIN: dict[str, Any] = {"diversity_probability": 0.0}


def quadratic(seed: int = 0) -> QuadraticTeacher:
    generator = torch.Generator().manual_seed(seed)
    return QuadraticTeacher(
        torch.rand(SHAPE, generator=generator) + 0.5, torch.randn(SHAPE, generator=generator) * 3, bgr_to_rgb=True
    )


def by_hand(teacher: QuadraticTeacher, image: Tensor) -> Tensor:
    """The gradient of the quadratic loss with respect to BGR pixels, written out."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    normalised = (image.flip(1) - mean) / std
    return (teacher.curvature * (normalised - teacher.target) / std).flip(1)


@pytest.mark.parametrize(("eps", "step"), [(8.0, 2.0), (3.0, 3.0), (0.5, 0.5), (0.0, 0.0)])
def test_one_step_is_fgsm(eps: float, step: float) -> None:
    teacher, image = quadratic(), torch.full(SHAPE, 100.0)
    delta = DIFGSM(eps=eps, step=step, steps=1, momentum=0, **PLAIN)(teacher, image, [sample(SHAPE[2:])])
    torch.testing.assert_close(delta, min(step, eps) * by_hand(teacher, image).sign())


def test_momentum_follows_its_recursion() -> None:
    teacher, image = quadratic(), noise_images(1, *SHAPE[2:])
    delta = DIFGSM(eps=5.0, step=2.0, steps=4, momentum=0.7, **PLAIN)(teacher, image, [sample(SHAPE[2:])])
    velocity, adversarial = torch.zeros(SHAPE), image
    for _ in range(4):
        gradient = by_hand(teacher, adversarial)
        velocity = 0.7 * velocity + gradient / gradient.abs().sum()
        moved = (adversarial + 2.0 * velocity.sign() - image).clamp(-5, 5)
        adversarial = (image + moved).clamp(0, 255)
    torch.testing.assert_close(delta, adversarial - image)


def test_momentum_changes_the_result() -> None:
    # each step overshoots the minimum side: the second gradient points back, and only momentum remembers the first
    teacher = QuadraticTeacher(-torch.ones(SHAPE), torch.zeros(SHAPE), bgr_to_rgb=False)
    image = torch.tensor(MEAN).view(1, 3, 1, 1).expand(SHAPE) + 1.0
    result = [
        DIFGSM(eps=8.0, step=2.0, steps=2, momentum=momentum, **PLAIN)(teacher, image, [sample(SHAPE[2:])])
        for momentum in (0.0, 3.0)
    ]
    assert result[0].abs().max() == 0
    assert result[1].abs().min() == 4


def test_result_respects_eps_range_and_padding() -> None:
    teacher = tiny("retinanet_r18")
    images = noise_images(2, 64, 96)
    images[0, :, 50:], images[0, :, :, 70:] = 0, 0
    delta = DIFGSM(eps=8.0, step=3.0)(teacher, images, [sample((50, 70), 1), sample((64, 96), 2)])
    assert delta.abs().max() == 8
    assert (delta[0, :, 50:] == 0).all()
    assert (delta[0, :, :, 70:] == 0).all()
    assert (delta[0, :, :50, :70] != 0).float().mean() > 0.8
    assert (images + delta).min() >= 0
    assert (images + delta).max() <= 255


@pytest.mark.parametrize(
    "name", ["retinanet_r18", "gfl_r18", "fcos_r18", "atss_r18", "reppoints_r18", "faster_rcnn_r18", "cascade_rcnn_r18"]
)
@pytest.mark.parametrize("loss", ["cls", "cls+reg"])
def test_attack_raises_the_loss_it_names_more_than_random_signs(name: str, loss: Any) -> None:
    from ikd.attack.gradient import _SUMS, prepared_samples, teacher_loss
    from ikd.attack.preprocess import PixelNormaliser

    teacher, images = tiny(name, **({"neck_channels": 32} if name == "reppoints_r18" else {})), noise_images(1, 64, 64)
    samples = [sample((64, 64), boxes=[[4, 4, 36, 36], [20, 30, 60, 62]])]

    def value(delta: Tensor) -> float:
        inputs = PixelNormaliser(teacher).forward((images + delta).clamp(0, 255), torch.ones(1, 1, 64, 64))
        torch.manual_seed(0)
        with torch.no_grad():
            return float(_SUMS[loss](teacher_loss(teacher, inputs, prepared_samples(samples, (64, 64), [(64, 64)]))))

    random = 8.0 * torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(3)).float().mul(2).sub(1)
    attacked = value(DIFGSM(loss=loss, **PLAIN)(teacher, images, samples))
    assert attacked > value(random)
    assert attacked > value(torch.zeros_like(images))


def test_a_head_whose_loss_needs_training_mode_is_attacked_and_left_in_eval_mode() -> None:
    from ikd.detectors import build_detector, detector_config, freeze

    small = {
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4, "norm_eval": False},
        "neck.in_channels": [4, 8, 16, 32],
        "neck.out_channels": 16,
        "bbox_head.in_channels": 16,
        "bbox_head.feat_channels": 16,
        "bbox_head.stacked_convs": 1,
        "bbox_head.norm_cfg": {"type": "GN", "num_groups": 4, "requires_grad": True},
    }
    torch.manual_seed(0)
    config = detector_config("mmdet::vfnet/vfnet_r50_fpn_1x_coco.py", overrides=small, classes=["a", "b"])
    teacher: Any = freeze(build_detector(config))
    delta = DIFGSM(steps=1)(teacher, noise_images(1, 64, 64), [sample((64, 64))])
    assert delta.abs().max() == 2
    assert not any(module.training for module in teacher.modules())


def test_feature_distance_moves_features_further_than_random_signs() -> None:
    teacher, images, samples = tiny("retinanet_r18"), noise_images(1, 64, 64), [sample((64, 64))]
    from ikd.attack.losses import feature_distance
    from ikd.attack.preprocess import PixelNormaliser

    def features(delta: Tensor) -> Any:
        return teacher.extract_feat(PixelNormaliser(teacher).forward(images + delta, torch.ones(1, 1, 64, 64)))

    random = 8.0 * torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(3)).float().mul(2).sub(1)
    delta = DIFGSM(loss="feature_distance")(teacher, images, samples)
    clean = features(torch.zeros_like(images))
    assert feature_distance(features(delta), clean) > 2 * feature_distance(
        features(random.clamp(-images, 255 - images)), clean
    )


@pytest.mark.parametrize("name", ["retinanet_r18", "faster_rcnn_r18"])
def test_batch_of_four_is_four_batches_of_one(name: str) -> None:
    teacher, images = tiny(name), noise_images(4, 64, 64)
    boxes = [[[4.0, 4.0, 36.0, 36.0]], [], [[0.0, 0.0, 20.0, 60.0], [30.0, 30.0, 62.0, 62.0]], [[8.0, 8.0, 40.0, 40.0]]]
    samples = [sample((64, 64), index, boxes=box) for index, box in enumerate(boxes)]
    attack = DIFGSM(steps=2)
    together = attack(teacher, images, samples)
    alone = torch.cat([attack(teacher, images[i : i + 1], samples[i : i + 1]) for i in range(4)])
    # rounding differs between batch sizes, so pixels whose gradient is about zero may go either way
    assert (together == alone).float().mean() > 0.99


def test_teacher_and_global_generator_stay_as_they_were() -> None:
    teacher = tiny("faster_rcnn_r18")
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    state = torch.get_rng_state()
    first = DIFGSM(steps=1)(teacher, noise_images(1, 64, 64), [sample((64, 64))])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert all(weight.grad is None for weight in teacher.parameters())
    torch.manual_seed(5)
    assert torch.equal(DIFGSM(steps=1)(teacher, noise_images(1, 64, 64), [sample((64, 64))]), first)


@pytest.mark.parametrize(
    "change",
    [
        {"eps": 4.0},
        {"step": 1.0},
        {"steps": 2},
        {"momentum": 0.0},
        {"diversity_probability": 0.0},
        {"diversity_min_scale": 0.5},
        {"loss": "cls+reg"},
        {"published": True},
        {"seed": 1},
    ],
)
def test_every_setting_acts(change: dict[str, Any]) -> None:
    teacher, images, samples = tiny("retinanet_r18"), noise_images(1, 64, 64), [sample((64, 64))]
    base = DIFGSM(steps=3, diversity_probability=1.0)
    changed = DIFGSM(**{**base.parameters(), **change})
    assert not torch.equal(base(teacher, images, samples), changed(teacher, images, samples))
    assert changed.parameters() != base.parameters()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 9.0}, r"attack: step: must be in 0\.\.eps, which is 8\.0, but got 9\.0"),
        ({"eps": -1.0, "step": 0.0}, r"attack: eps: must be in 0\.\.127 grey levels, but got -1\.0"),
        ({"eps": 128.0}, "eps: must be in"),
        ({"eps": float("nan")}, "eps: must be in"),
        ({"steps": 0}, "attack: steps: must be at least 1, but got 0"),
        ({"momentum": -0.1}, "attack: momentum: must be at least 0"),
        ({"diversity_probability": 1.1}, r"attack: diversity_probability: must be in 0\.\.1, but got 1\.1"),
        ({"diversity_min_scale": 0.0}, "attack: diversity_min_scale: must be above 0, at most 1"),
        ({"loss": "bbox"}, "attack: loss: must be one of cls, cls[+]reg, feature_distance, but got 'bbox'"),
        ({"published": True, "loss": "cls+reg"}, "attack: loss: must be cls with published, but got 'cls[+]reg'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        DIFGSM(**settings)


def test_defaults_are_those_of_a_recipe() -> None:
    section = Attack()
    recipes = {
        **section.model_dump(exclude={"diversity", "batch_size", "store"}),
        **{f"diversity_{name}": value for name, value in section.diversity.model_dump().items()},
    }
    assert AttackSettings().parameters() == recipes  # no setting that a recipe has is missing
    assert get_args(Attack.model_fields["loss"].annotation) == get_args(AttackLoss)


def test_unpadded_batch_is_refused() -> None:
    with pytest.raises(BadInput, match=r"attack: images: must have sides of multiples of 32 px, but got \(60, 64\)"):
        DIFGSM()(tiny("retinanet_r18"), noise_images(1, 60, 64), [sample((60, 64))])


def test_greater_strength_raises_the_loss_more() -> None:
    from ikd.attack import classification_loss
    from ikd.attack.gradient import prepared_samples
    from ikd.attack.preprocess import PixelNormaliser

    teacher, images, samples = tiny("retinanet_r18"), noise_images(1, 64, 64), [sample((64, 64))]
    prepared = prepared_samples(samples, (64, 64), [(64, 64)])
    values = []
    for eps in (0.0, 2.0, 8.0, 32.0):
        delta = DIFGSM(eps=eps, step=eps / 4, **PLAIN)(teacher, images, samples)
        inputs = PixelNormaliser(teacher).forward(images + delta, torch.ones(1, 1, 64, 64))
        values.append(float(classification_loss(teacher.loss(inputs, prepared))))
    assert values == sorted(values)
    assert len(set(values)) == 4


@pytest.mark.parametrize("published", [False, True])
def test_mask_teachers_are_attacked_with_their_masks(published: bool) -> None:
    import numpy as np

    from ikd.detectors import build_detector, detector_config, freeze

    small = {
        "backbone.depth": 18,
        "backbone.base_channels": 4,
        "neck.in_channels": [4, 8, 16, 32],
        "neck.out_channels": 16,
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "roi_head.bbox_roi_extractor.out_channels": 16,
        "roi_head.mask_roi_extractor.out_channels": 16,
        "roi_head.bbox_head.in_channels": 16,
        "roi_head.bbox_head.fc_out_channels": 16,
        "roi_head.mask_head.in_channels": 16,
        "roi_head.mask_head.conv_out_channels": 16,
    }
    torch.manual_seed(0)
    config = detector_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py", overrides=small, classes=["a", "b"])
    teacher = freeze(build_detector(config))
    from mmdet.structures.mask import BitmapMasks

    annotated = sample((60, 50))
    masks = np.zeros((1, 60, 50), np.uint8)
    masks[:, 8:40, 8:40] = 1
    annotated.gt_instances.masks = BitmapMasks(masks, 60, 50)
    images = noise_images(1, 64, 64)
    images[:, :, 60:], images[:, :, :, 50:] = 0, 0
    attack = DIFGSM(published=published, steps=2, diversity_probability=1.0)
    delta = attack(teacher, images, [annotated])
    assert (delta[:, :, :60, :50] != 0).float().mean() > 0.5
    assert torch.equal(delta, attack(teacher, images, [annotated]))
    assert annotated.gt_instances.masks.masks.shape == (1, 60, 50)
