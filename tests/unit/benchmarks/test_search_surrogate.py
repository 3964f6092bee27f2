"""The surrogate against functions and covariances that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.search.recording import Training
from benchmarks.search.surrogate import Array, encode, leave_one_out, noise_factor, surrogate
from ikd.errors import BadInput
from tests.unit.benchmarks.synthetic_recording import EPOCHS, curve_of, made

MGD = {"distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.area_threshold": 2304}


def test_coordinates_by_hand() -> None:
    space = made().searched()
    # host as two places, mgd.alpha in the middle of its four decades, fgd.alpha switched off, the middle threshold
    assert encode(space, MGD).tolist() == pytest.approx([0, 1, 0.5, 0.5, 0.5])
    fgd = {"distill.host": "fgd", "distill.fgd.alpha": 1e-2, "augment.area_threshold": 4096}
    assert encode(space, fgd).tolist() == pytest.approx([1, 0, 0.5, 1, 1])


def training(curve: tuple[float, ...], seed: int, name: str = "a") -> Training:
    return Training({"name": name}, seed, True, curve)


def test_noise_has_the_pooled_covariance_of_the_repeats() -> None:
    # deviations of a: (-1, -2), (1, 2) from its mean; of b: (-3, 0), (3, 0); two degrees of freedom in all
    found = [
        training((0.0, 0.0), 0),
        training((2.0, 4.0), 1),
        training((0.0, 5.0), 0, "b"),
        training((6.0, 5.0), 1, "b"),
    ]
    factor = noise_factor([*found, training((100.0, 100.0), 0, "alone")])
    expected = (2 * np.array([[1, 2], [2, 4]]) + 2 * np.array([[9, 0], [0, 0]])) / 2
    assert factor @ factor.T == pytest.approx(expected)
    with pytest.raises(BadInput, match="several seeds"):
        noise_factor([training((1.0, 2.0), 0)])


@pytest.mark.slow
def test_a_smooth_function_is_learnt_and_noise_is_not() -> None:
    recording = made(noise=0.0005)
    quality = leave_one_out(recording)
    assert quality.configurations == 24
    assert quality.r2.min() > 0.7
    assert (quality.mae < quality.mean_mae).all()
    expected = surrogate(recording).expected(MGD)
    assert expected == pytest.approx(curve_of(MGD), abs=0.005)
    rng = np.random.default_rng(0)
    noise = tuple(
        dataclasses.replace(one, curve=tuple(0.3 + 0.01 * rng.standard_normal(EPOCHS))) for one in recording.trainings
    )
    assert leave_one_out(dataclasses.replace(recording, trainings=noise)).r2.max() < 0.3


def test_a_configuration_is_not_predicted_from_its_own_repeats() -> None:
    recording = made(count=12, repeated=1)
    odd = tuple(dataclasses.replace(one, curve=(0.9,) * EPOCHS) for one in recording.trainings[:3])
    quality = leave_one_out(dataclasses.replace(recording, trainings=(*odd, *recording.trainings[3:])))
    # three of the 14 trainings are off by 0.6, which none of the others shows
    assert quality.mae[-1] > 3 / 14 * 0.5


def test_the_same_configuration_and_seed_train_the_same() -> None:
    recording = made(noise=0.01)
    world = surrogate(recording)

    def train(seed: int) -> Array:
        return world.train(world.expected(MGD), recording.recipe(seed).with_values(MGD).fingerprint())

    assert (train(1) == train(1)).all()
    assert (train(1) != train(2)).all()
    curves = np.array([train(seed) for seed in range(60)])
    assert curves.mean(0) == pytest.approx(world.expected(MGD), abs=0.005)
    wanted = np.sqrt((noise_factor(recording.trainings) ** 2).sum(1))
    assert curves.std(0) == pytest.approx(wanted, rel=0.35)


def test_the_papers_values_are_a_point_of_the_space() -> None:
    paper = surrogate(made()).paper()
    assert set(paper) == {"distill.host", "distill.fgd.alpha", "augment.area_threshold"}
    assert paper["distill.host"] == "fgd"


def test_the_student_alone_is_the_recorded_one_unless_it_is_far_behind() -> None:
    recording = made()
    median = surrogate(recording).alone.max()  # none is recorded
    for level, expected in ((0.31, 0.31), (0.1, median)):
        alone = Training({"distill.host": "none"}, 0, False, (level - 0.1, level, level - 0.05))
        one = surrogate(dataclasses.replace(recording, trainings=(*recording.trainings, alone)))
        assert one.alone.max() == pytest.approx(expected, abs=0.002), level
