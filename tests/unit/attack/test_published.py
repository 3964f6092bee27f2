"""`published=True` repeats the authors' attack, defects included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.attack import DIFGSM
from ikd.attack.published import square_diversity
from tests.unit.attack.toys import MEAN, STD, QuadraticTeacher, noise_images, sample, tiny

SHAPE = (1, 3, 4, 5)


def test_strength_and_bounds_come_from_the_normalised_range() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = QuadraticTeacher(torch.ones(SHAPE), torch.randn(SHAPE, generator=generator) * 3, bgr_to_rgb=True)
    image = noise_images(1, *SHAPE[2:])
    delta = DIFGSM(published=True, steps=5, diversity_probability=0.0)(teacher, image, [sample(SHAPE[2:])])

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    clean = (image.flip(1) - mean) / std
    reach = float((clean.amax((2, 3)) - clean.amin((2, 3))).max())
    low, high = clean.amin((2, 3), keepdim=True), clean.amax((2, 3), keepdim=True)
    velocity, adversarial = torch.zeros(SHAPE), clean
    for _ in range(5):
        gradient = adversarial - teacher.target
        velocity = velocity + gradient / gradient.abs().sum()
        change = (adversarial + 2 / 255 * reach * velocity.sign() - clean).clamp(-8 / 255 * reach, 8 / 255 * reach)
        adversarial = torch.minimum(torch.maximum(clean + change, low), high)
    torch.testing.assert_close(delta, ((adversarial - clean) * std).flip(1), atol=1e-4, rtol=1e-4)


def test_strength_shrinks_with_contrast() -> None:
    teacher, samples = tiny("retinanet_r18"), [sample((64, 64))]
    images = noise_images(1, 64, 64)
    full, flat = (DIFGSM(published=True)(teacher, x, samples).abs().max() for x in (images, 100 + images / 10))
    assert float(flat) < 0.3 * float(full)


def test_padding_is_perturbed() -> None:
    images = noise_images(1, 64, 64)
    images[:, :, :, 50:] = 0
    delta = DIFGSM(published=True)(tiny("retinanet_r18"), images, [sample((64, 50))])
    assert (delta[:, :, :, 50:] != 0).any()


def test_diversity_is_square_and_ignores_the_height() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.ones(1, 3, 40, 100)
    outs = [square_diversity(inputs, generator, probability=0.5, min_scale=0.9) for _ in range(200)]
    squares = [out for out in outs if out.shape[2] == 100]
    assert 70 < len(squares) < 130
    assert all(out is inputs or out.shape == (1, 3, 100, 100) for out in outs)
    sides = {int((out[0, 0].sum(1) > 0).sum()) for out in squares}
    assert sides == set(range(90, 100))


class RecordingTeacher(QuadraticTeacher):
    """Keeps the boxes it is shown and offers an RPN-like list beside a single loss."""

    def loss(self, inputs: Tensor, samples: list[Any]) -> dict[str, Any]:
        self.seen = [item.gt_instances.bboxes.clone() for item in samples]
        return {"loss_rpn_cls": [-1000 * inputs.sum()], "loss_cls": inputs.sum()}


@pytest.mark.parametrize("published", [True, False])
def test_boxes_and_the_rpn_list(published: bool) -> None:
    teacher = RecordingTeacher(torch.ones(SHAPE), torch.zeros(SHAPE), bgr_to_rgb=False)
    size, annotated = (32, 32), sample((32, 32), boxes=[[4.0, 4.0, 20.0, 20.0]])
    attack = DIFGSM(published=published, steps=1, diversity_probability=1.0)
    delta = attack(teacher, torch.full((1, 3, *size), 100.0) + noise_images(1, *size) / 10, [annotated])
    # the authors leave boxes where they were and drop the list, ours moves them and follows it: opposite signs
    assert (teacher.seen[0].tolist() == [[4, 4, 20, 20]]) is published
    assert float(delta.mean().sign()) == (1 if published else -1)


def test_batch_is_attacked_image_by_image() -> None:
    teacher, images = tiny("retinanet_r18"), noise_images(2, 64, 64)
    samples = [sample((64, 64), image_id) for image_id in (1, 2)]
    together = DIFGSM(published=True, steps=2)(teacher, images, samples)
    alone = DIFGSM(published=True, steps=2)(teacher, images[1:], samples[1:])
    torch.testing.assert_close(together[1:], alone)
