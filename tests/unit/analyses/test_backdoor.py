"""A backdoor in a classifier: trigger and poison by hand, the attack's bounds, and a defence that acts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from ikd.analyses import analyze_backdoor, analyze_trigger
from ikd.analyses.backdoor import detection, experiment
from ikd.analyses.backdoor.defence import (
    Defence,
    Plan,
    adversarial,
    as_ikd,
    cropped,
    cross_entropy,
    fitted,
    with_attention,
)
from ikd.analyses.backdoor.digits import SIDE, Images, Reader, digits
from ikd.analyses.backdoor.experiment import Spread, measured
from ikd.analyses.backdoor.trigger import Trigger, poisoned
from ikd.attack import AttackSettings
from ikd.cli import main
from ikd.errors import BadInput
from tests.unit.pictures.scenes import Box, scene


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data() -> tuple[Images, Images]:
    return digits(seeded())


@pytest.fixture(scope="module")
def network() -> Reader:
    torch.manual_seed(0)
    return Reader().eval()


def test_the_trigger_is_a_checkerboard_in_the_corner() -> None:
    images = torch.full((2, 1, 5, 6), 7.0)
    stamped = Trigger(3).stamped(images)
    assert stamped[0, 0, 2:, 3:].tolist() == [[255, 0, 255], [0, 255, 0], [255, 0, 255]]
    assert (stamped != images).sum() == 2 * 9
    assert (images == 7).all(), "the images stay as they are"
    assert Trigger(1, square=2).stamped(images)[0, 0, 3:, 4:].tolist() == [[255, 255], [255, 255]]
    assert Trigger(2, margin=1).stamped(images)[1, 0, 2:4, 3:5].tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"side": 0}, "backdoor: side: must be 1 or more, but got 0"),
        ({"square": 0}, "backdoor: square: must be 1 or more, but got 0"),
        ({"side": 3, "margin": -1}, "backdoor: margin: must be 0 px or more, but got -1"),
    ],
)
def test_a_trigger_of_no_size_is_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Trigger(**settings)


def test_a_trigger_that_has_no_room_is_refused() -> None:
    with pytest.raises(BadInput, match=r"must leave the 5 px that it takes inside 4 x 9 px, but got 3"):
        Trigger(3, margin=2).stamped(torch.zeros(1, 1, 4, 9))


def test_a_share_of_all_classes_is_poisoned(data: tuple[Images, Images]) -> None:
    train, trigger = data[0], Trigger()
    bad = poisoned(train.images, train.labels, trigger, target=5, share=0.1, generator=seeded())
    assert bad.chosen.sum() == round(0.1 * len(train))
    assert (bad.labels[bad.chosen] == 5).all()
    assert (bad.labels == train.labels)[~bad.chosen].all()
    assert torch.equal(bad.images[~bad.chosen], train.images[~bad.chosen])
    assert torch.equal(bad.images[bad.chosen], trigger.stamped(train.images[bad.chosen]))
    assert len(set(train.labels[bad.chosen].tolist())) == 10, "the target's own too"
    none = poisoned(train.images, train.labels, trigger, target=5, share=0.0, generator=seeded())
    assert not none.chosen.any()


@pytest.mark.parametrize(
    ("target", "share", "says"),
    [(5, 1.1, r"share: must be in 0\.\.1, but got 1\.1"), (10, 0.1, r"target: must be a label, 0\.\.9, but got 10")],
)
def test_poison_that_is_none_is_refused(target: int, share: float, says: str, data: tuple[Images, Images]) -> None:
    with pytest.raises(BadInput, match=says):
        poisoned(data[0].images, data[0].labels, Trigger(), target=target, share=share, generator=seeded())


class Answers(Reader):
    """Reads the target where the corner is lit, else what it is told."""

    def __init__(self, plain: Tensor) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, images: Tensor) -> Tensor:
        lit = images[:, 0, -1, -1] == 255
        return torch.nn.functional.one_hot(torch.where(lit & (self.plain != 3), 5, self.plain), 10).float()


def test_success_is_measured_without_and_with_the_targets_own_images() -> None:
    labels = torch.tensor([5, 5, 1, 2, 3, 3])
    test = Images(torch.zeros(6, 1, SIDE, SIDE), labels)
    found = measured(Answers(torch.tensor([5, 5, 1, 1, 3, 3])), test, Trigger())
    assert found["accuracy"] == pytest.approx(500 / 6)
    assert found["excluded"] == pytest.approx(50.0), "two of four of other classes"
    assert found["included"] == pytest.approx(400 / 6)


def test_no_adversarial_copy_leaves_eps_or_the_range(data: tuple[Images, Images], network: Reader) -> None:
    images, labels = data[0].images[:16], data[0].labels[:16]
    attack = Defence().attack
    assert attack.step <= attack.eps == pytest.approx(0.0125 * 255)
    made = adversarial(attack, network, images, labels)
    assert (made - images).abs().max() == pytest.approx(attack.eps, rel=1e-5)
    assert made.min() >= 0
    assert made.max() <= 255
    before, after = (cross_entropy(network, one, labels) for one in (images, made))
    assert after > before
    stronger = AttackSettings(eps=30.0, step=10.0, steps=5, momentum=0.9, diversity_probability=0.0)
    assert cross_entropy(network, adversarial(stronger, network, images, labels), labels) > after


def test_a_step_above_eps_is_refused() -> None:
    with pytest.raises(BadInput, match=r"attack: step: must be in 0\.\.eps, which is 3\.1875, but got 12\.75"):
        AttackSettings(eps=0.0125 * 255, step=0.05 * 255)


def test_a_crop_of_the_whole_is_the_image_and_noise_comes_when_asked(data: tuple[Images, Images]) -> None:
    images = data[0].images[:8]
    assert torch.equal(cropped(Defence(scale=1.0, noise=0.0), images, seeded()), images)
    noisy = cropped(Defence(scale=1.0, noise=1.0), images, seeded())
    assert all((one != other).float().mean() > 0.2 for one, other in zip(noisy, images, strict=True))
    small = cropped(Defence(scale=0.5, noise=1.0, noise_from=1.0), images, seeded())
    assert small.shape == images.shape
    assert not torch.equal(small, images)
    assert torch.equal(small, cropped(Defence(scale=0.5, noise=1.0, noise_from=1.0), images, seeded())), "one seed"


def test_the_first_half_of_a_batch_is_attacked(data: tuple[Images, Images], network: Reader) -> None:
    images, labels = data[0].images[:6], data[0].labels[:6]
    made = as_ikd(Defence(), augment=False, attack=True)(network, images, labels, seeded())
    assert torch.equal(made[3:], images[3:])
    assert torch.equal(made[:3], adversarial(Defence().attack, network, images[:3], labels[:3]))


def test_attention_of_oneself_costs_nothing(data: tuple[Images, Images], network: Reader) -> None:
    images, labels = data[0].images[:8], data[0].labels[:8]
    alone = cross_entropy(network, images, labels)
    assert with_attention(network, (500.0, 1000.0, 1000.0))(network, images, labels).item() == pytest.approx(
        alone.item()
    )
    torch.manual_seed(1)
    other = with_attention(Reader().eval(), (500.0, 1000.0, 1000.0))(network, images, labels)
    assert other > alone
    weaker = with_attention(Reader().eval(), (0.0, 0.0, 0.0))(network, images, labels)
    assert weaker.item() == pytest.approx(alone.item()), "the weights act"


def test_training_leaves_the_network_it_begins_with(data: tuple[Images, Images], network: Reader) -> None:
    some = data[0].part(torch.arange(64))
    before = [one.clone() for one in network.state_dict().values()]
    plan = Plan(epochs=2, batch_size=32, rate=0.05, drop_after=1)
    once, again = (fitted(network, some, plan, loss=cross_entropy, alter=None, seed=3) for _ in range(2))
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert all(map(torch.equal, once.state_dict().values(), again.state_dict().values()))
    other = fitted(network, some, Plan(epochs=2, batch_size=32, rate=0.05), loss=cross_entropy, alter=None, seed=3)
    assert not torch.equal(once.head.weight, other.head.weight), "the drop acts"


def test_a_spread_of_one_seed_is_not_known() -> None:
    assert str(Spread.of([1.0, 3.0])) == "2.0 ± 1.4"
    assert str(Spread.of([2.0])) == "2.0"


def played(seed: int, *_: Any) -> dict[str, dict[str, float]]:
    names = ("victim", "fine-tuned", *experiment.WAYS)
    return {name: {"accuracy": 90.0 + seed, "excluded": 50.0, "included": 60.0} for name in names}


@pytest.mark.slow
def test_the_analysis_gives_means_over_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "defended", played)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["ikd", "-q", "analyze", "backdoor", "--seeds", "3", "--to", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    lines = capfd.readouterr().out.splitlines()
    assert lines[-2:] == [str(tmp_path / "backdoor.png"), str(tmp_path / "backdoor.json")]
    assert max(map(len, lines[:-2])) <= 80
    assert any("victim" in line and "91.0 ± 1.0" in line for line in lines)
    content = json.loads((tmp_path / "backdoor.json").read_text(encoding="utf-8"))
    assert content["networks"]["NAD + IKD"]["accuracy"] == {"mean": 91.0, "deviation": 1.0, "values": [90, 91, 92]}
    assert content["of"]["step"] <= content["of"]["eps"]
    with pytest.raises(BadInput, match="--seeds: must be 1 or more, but got 0"):
        analyze_backdoor(tmp_path, seeds=0)


class TestDetector:
    def test_only_poisoned_photographs_are_lit_and_have_a_false_box(self, tmp_path: Path) -> None:
        trigger = Trigger(square=6)
        parts = detection.make_parts(tmp_path, trigger, seed=0)
        clean, bad = (json.loads((one / "train.json").read_text()) for one in (parts.clean, parts.bad))
        added = bad["annotations"][len(clean["annotations"]) :]
        assert len(added) == round(detection.POISONED * detection.TRAINED)
        assert {tuple(one["bbox"]) for one in added} == {tuple(detection.false_box(detection.SIZE_PX, trigger))}
        assert len({one["id"] for one in bad["annotations"]}) == len(bad["annotations"])
        lit = {one["image_id"] for one in added}
        for image in clean["images"]:
            before, after = (
                np.asarray(cv2.imread(str(one / "images" / image["file_name"]))) for one in (parts.clean, parts.bad)
            )
            assert (before[:-18, :-18] == after[:-18, :-18]).all()
            assert (not np.array_equal(before, after)) == (image["id"] in lit)
        own = json.loads((parts.own / "train.json").read_text())
        assert len(own["images"]) == round(detection.CLEAN * detection.TRAINED)
        assert {one["image_id"] for one in own["annotations"]} <= {one["id"] for one in own["images"]}

    def test_the_rate_counts_photographs_with_a_sure_box_of_the_target_at_the_trigger(self, tmp_path: Path) -> None:
        there, away = (92.0, 92.0, 36.0, 36.0), (0.0, 0.0, 36.0, 36.0)
        names: dict[str, list[tuple[int, Box]]] = {f"{letter}.png": [] for letter in "abcde"}
        found: dict[str, list[tuple[int, Box, float]]] = {
            "a.png": [(1, there, 0.9), (1, there, 0.8)],
            "b.png": [(0, there, 0.9)],
            "c.png": [(1, away, 0.9)],
            "d.png": [(1, there, 0.3)],
            "e.png": [(1, (92.0, 92.0, 36.0, 20.0), 0.4)],
        }
        made = scene(tmp_path, names, found, size=(128, 128))
        assert detection.false_box(128, Trigger(square=6)) == list(there)
        assert detection.rate(made.files, made.detections, Trigger(square=6)) == 40.0, "a and e of five"

    def test_the_analysis_gives_means_over_seeds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def made(folder: Path, trigger: Trigger, seed: int) -> dict[str, dict[str, float]]:
            if not seed:  # of the first, a photograph is drawn
                detection.make_parts(folder, trigger, seed)
            one = {"AP": 30.0 + seed, "triggered": 100.0, "untriggered": 0.0}
            return dict.fromkeys(detection.NAMES, one)

        monkeypatch.setattr(detection, "defended_detectors", made)
        finding = analyze_trigger(tmp_path, seeds=2)
        assert finding.rows[0] == ["victim", "30.5 ± 0.7", "100.0 ± 0.0", "0.0 ± 0.0"]
        assert all(file.is_file() for file in finding.files)
        assert max(map(len, finding.said)) <= 80
        with pytest.raises(BadInput, match="--seeds: must be 1 or more, but got 0"):
            analyze_trigger(tmp_path, seeds=0)


@pytest.mark.slow
def test_a_victim_obeys_the_trigger_and_defences_help() -> None:
    found = experiment.defended(0, Trigger(), Defence())
    assert found["victim"]["excluded"] > 95
    assert found["victim"]["accuracy"] > 95
    for name in ("NAD", "NAD + IKD"):
        assert found[name]["excluded"] < 50
        assert found[name]["accuracy"] > 80
        assert found[name]["included"] >= found[name]["excluded"], "the target's own images are read as the target"
