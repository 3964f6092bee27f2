"""The second pass of masking enhancement (DFMSD, Eq. 6 to 8), against values computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.detectors import Taps, freeze
from ikd.distill.detector import DistillDetector
from ikd.distill.functional import standardise
from ikd.distill.losses.registry import build_loss
from ikd.distill.terms import Terms
from tests.unit.distill.test_canvas import CAFFE, batch_of, images, small, statistics

ALPHA, BETA = 3e-3, 5e-4
SIZES = ((64, 96), (50, 70))


def model(standardised: Sequence[int] = (), **weights: Any) -> DistillDetector:
    torch.manual_seed(0)
    student, teacher = small(), freeze(small(**CAFFE))
    levels = [build_loss("dfmsd", 16, 16, **{"alpha": ALPHA, "beta": BETA, **weights}) for _ in range(5)]
    return DistillDetector(
        student, teacher, Terms(range(5), range(5), host=("dfmsd", levels), standardised=frozenset(standardised))
    ).train()


def copies() -> list[Tensor]:
    """Enhanced images: one of the size of its clean one, one cropped."""
    return [255 - image for image in images((64, 96), (40, 60))]


def data(**more: Any) -> dict[str, Any]:
    return {**batch_of(*SIZES), **more}


def by_hand(detector: DistillDetector, given: list[Tensor], weight: float, standardised: Sequence[int] = ()) -> float:
    """Eq. 8: the squared distance of the teacher's maps from the restored ones, over all levels, a mean over images."""
    with torch.no_grad():
        batch = detector.student.data_preprocessor({"inputs": given}, True)["inputs"]
        theirs = detector.teacher.data_preprocessor({"inputs": given}, False)["inputs"]
        maps = []
        for one, seen in ((detector.student, batch), (detector.teacher, theirs)):
            taps = Taps(one)
            with taps.capture() as found:
                one.extract_feat(seen)
            maps.append([standardise(each) if level in standardised else each for level, each in enumerate(found)])
        levels: Any = detector.host
        total = 0.0
        for level, student, teacher in zip(levels, *maps, strict=True):
            total += float(((level.loss.restore(student, teacher) - teacher) ** 2).sum()) / len(given)
    return weight * total


def test_the_second_pass_is_betas_loss_on_the_copies_and_the_first_is_alphas() -> None:
    detector = model()
    losses = detector.losses(data(enhanced=copies()))
    assert losses["loss_dfmsd"].item() == pytest.approx(by_hand(detector, data()["inputs"], ALPHA), rel=1e-4)
    assert losses["loss_me"].item() == pytest.approx(by_hand(detector, copies(), BETA), rel=1e-4)
    assert losses["loss_me"].requires_grad


def test_without_beta_it_counts_with_alpha() -> None:
    detector = model(beta=None)
    assert detector.losses(data(enhanced=copies()))["loss_me"].item() == pytest.approx(
        by_hand(detector, copies(), ALPHA), rel=1e-4
    )


def test_it_sees_standardised_maps_where_the_host_does() -> None:
    detector = model(standardised=(0, 2))
    found = detector.losses(data(enhanced=copies()))["loss_me"].item()
    assert found == pytest.approx(by_hand(detector, copies(), BETA, (0, 2)), rel=1e-4)
    assert found != pytest.approx(by_hand(detector, copies(), BETA), rel=0.01)


def test_everything_else_is_that_of_the_clean_images() -> None:
    """The detection losses, the host on clean images, and the student's running statistics."""
    one, other = model(), model()
    both, alone = one.losses(data(enhanced=copies())), other.losses(data())
    assert "loss_me" not in alone
    for name, value in alone.items():
        assert torch.equal(torch.stack([*value]) if isinstance(value, list) else value,
                           torch.stack([*both[name]]) if isinstance(value, list) else both[name]), name  # fmt: skip
    assert all(torch.equal(*pair) for pair in zip(statistics(one), statistics(other), strict=True))


def test_the_gradient_is_that_of_the_sum() -> None:
    """A step of the first pass and one of the second add up to a step of both."""
    gradients = []
    for names in (("loss_dfmsd",), ("loss_me",), ("loss_dfmsd", "loss_me")):
        detector = model()
        losses = detector.losses(data(enhanced=copies()))
        sum(losses[name] for name in names).backward()
        gradients.append(detector.student.backbone.conv1.weight.grad.clone())
    assert gradients[1].abs().sum() > 0
    assert torch.allclose(gradients[0] + gradients[1], gradients[2], rtol=1e-3, atol=1e-7)
