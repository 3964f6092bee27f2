"""Sizes, fillings, colours, mosaics and mixtures in a training: they act, resume alike, stop, and are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData

from ikd.config import Recipe
from ikd.distill.detector import DistillDetector
from ikd.distill.resizing import resized
from ikd.errors import ConfigError
from ikd.training import check, phases
from tests.marks import some
from tests.unit.training.test_schedule import content, equal, trained

Build = Callable[..., Recipe]
PLAIN = {"adversarial__enabled": False, "augment__enabled": False, "schedule__epochs": 2}
PAD = {"input__pad": {"enabled": True, "size": [128, 96]}}
OPTIONS: dict[str, dict[str, Any]] = {
    "sizes by image": {"input__multi_scale": {"enabled": True, "ratio": [0.5, 1.5]}},
    "sizes of a list": {"input__multi_scale": {"enabled": True, "scales": [[64, 64], [96, 96]]}},
    "sizes by batch": {"input__batch_scale": {"enabled": True, "ratio": [0.7, 1.3], "every": 1}},
    "pad": PAD,
    "hsv": {"input__photometric__enabled": True},
    "distortion": {"input__photometric": {"enabled": True, "kind": "distortion"}},
    "mosaic": {"input__mosaic__enabled": True},
    "mixup": {"input__mixup__enabled": True},
    "all": PAD
    | {
        "input__mosaic__enabled": True,
        "input__mixup": {"enabled": True, "probability": 0.5},
        "input__multi_scale": {"enabled": True, "ratio": [0.5, 1.5]},
        "input__photometric__enabled": True,
        "input__joint__enabled": True,
        "input__cutout__enabled": True,
        "input__copy_paste__enabled": True,
        "input__stop_fraction": 0.5,
        "schedule__workers": 1,
    },
}


@pytest.fixture(scope="module")
def usual(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return content(trained(tiny_recipe(**PLAIN), tmp_path_factory.mktemp("usual"))[0], "model")


@pytest.mark.parametrize("option", some(reversed(OPTIONS), 1))
def test_each_option_acts_and_goes_on_as_if_it_had_not_stopped(
    tiny_recipe: Build, usual: Any, tmp_path: Path, option: str
) -> None:
    recipe = tiny_recipe(**(PLAIN | OPTIONS[option]))
    whole, parts = trained(recipe, tmp_path / "whole")[0], trained(recipe, tmp_path / "parts", 1)[0]
    assert equal(content(whole, "model"), content(parts, "model"))
    assert not equal(content(whole, "model"), usual)
    assert recipe.fingerprint() != tiny_recipe(**PLAIN).fingerprint()


def test_perturbed_copies_and_noise_come_along_in_mosaics_of_varied_sizes(tiny_recipe: Build, tmp_path: Path) -> None:
    """IKD whole: stored perturbations and noise, in a mosaic at other sizes by image, filled up."""
    acting = {"input__mosaic__enabled": True, "input__multi_scale": {"enabled": True}, "schedule__epochs": 2} | PAD
    recipe = tiny_recipe(**acting, augment__stop_fraction=0.5, distill__confidence=["adversarial"])
    check(recipe)
    reports = trained(recipe, tmp_path)[1]
    assert [("loss/adversarial" in one.metrics) for one in reports] == [True, False]
    assert reports[0].metrics["loss/adversarial"] > 0


def test_sizes_by_batch_are_those_of_the_copies_too(
    tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, list[int]]] = []
    original = DistillDetector.losses

    def spy(self: DistillDetector, data: Any) -> Any:
        before = [int(one.shape[1]) for one in data["inputs"]]
        taken = original(self, data)
        seen.append((self.resize, before))
        return taken

    monkeypatch.setattr(DistillDetector, "losses", spy)
    section = {"enabled": True, "ratio": [0.5, 1.5], "every": 2}
    trained(tiny_recipe(input__batch_scale=section, schedule__batch_size=4, schedule__epochs=1), tmp_path)
    factors = [factor for factor, _ in seen[-4:]]
    assert factors[0] == factors[1] != factors[2] == factors[3], "two steps with one"
    assert all(0.5 <= factor <= 1.5 for factor in factors)


def test_a_batch_is_resized_with_boxes_and_masks() -> None:
    # not before ikd's kernels are there
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    boxes = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    sample = DetDataSample(metainfo={"img_shape": (40, 60), "scale_factor": (2.0, 2.0)})
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(boxes.clone()), masks=BitmapMasks(torch.ones(1, 40, 60).numpy().astype("uint8"), 40, 60)
    )
    image = torch.full((3, 40, 60), 7, dtype=torch.uint8)
    found = resized({"inputs": [image], "adversarial": [image + 1], "data_samples": [sample]}, 1.5)
    assert found["inputs"][0].shape == found["adversarial"][0].shape == (3, 60, 90)
    assert (found["inputs"][0] == 7).all()
    assert (found["adversarial"][0] == 8).all()
    assert torch.equal(sample.gt_instances.bboxes.tensor, boxes * 1.5)
    assert sample.gt_instances.masks.masks.shape == (1, 60, 90)
    assert (sample.img_shape, sample.scale_factor) == ((60, 90), (3.0, 3.0))
    same = {"inputs": [image], "data_samples": [sample]}
    assert resized(same, 1.0) is same


def test_mosaic_and_mixup_stop_where_they_are_told(tiny_recipe: Build) -> None:
    recipe = tiny_recipe(**(PLAIN | {"schedule__epochs": 10}), input__mosaic__enabled=True, input__stop_fraction=0.7)
    assert [(one.first, one.mixes) for one in phases(recipe.stages[0])] == [(0, True), (7, False)]
    never = tiny_recipe(**PLAIN, input__mosaic__enabled=True, input__stop_fraction=0.0)
    assert not any(one.mixes for one in phases(never.stages[0]))
    assert not any(one.mixes for one in phases(tiny_recipe(**PLAIN, input__stop_fraction=0.7).stages[0]))


MIXED, ADVERSARIAL = {"input__mixup__enabled": True}, {"adversarial__enabled": True}
ONLINE = ADVERSARIAL | {"attack__store": "online"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            MIXED | ADVERSARIAL,
            r"input\.mixup\.enabled: must be false with adversarial\.enabled: a mixed image holds half",
        ),
        (MIXED | {"augment__enabled": True}, r"input\.mixup\.enabled: must be false with augment\.noise"),
        (MIXED | {"distill__me__enabled": True}, r"input\.mixup\.enabled: must be false with distill\.me"),
        (
            {"input__mosaic__enabled": True, "distill__me__enabled": True},
            r"input\.mosaic\.enabled: must be false with distill\.me",
        ),
        (
            {"input__mosaic__enabled": True, "augment__enabled": True, "augment__published": True},
            r"input\.mosaic\.enabled: must be false with augment\.published",
        ),
        ({"input__mosaic__enabled": True} | ONLINE, r"attack\.store: must be disk with input\.mosaic"),
        (PAD | ONLINE, r"attack\.store: must be disk with input\.pad"),
        ({"input__multi_scale__enabled": True} | ONLINE, r"attack\.store: must be disk with input\.multi_scale"),
        ({"input__multi_scale": {"ratio": [2.0, 0.5]}}, r"multi_scale\.ratio: must be the smallest, then the largest"),
        (
            {"input__multi_scale": {"ratio": [0.0, 0.5]}},
            r"multi_scale\.ratio\[0\]: should be greater than or equal to 0\.05",
        ),
        ({"input__batch_scale": {"ratio": [1.0, 1e3]}}, r"batch_scale\.ratio\[1\]: should be less than or equal to 20"),
        ({"input__mixup__jitter": [1e-6, 1.0]}, r"mixup\.jitter\[0\]: should be greater than or equal to 0\.05"),
        ({"input__pad__size": [100_000, 640]}, r"pad\.size\[0\]: should be less than or equal to 32768"),
        ({"input__mosaic__centre": [1.5, 0.5]}, r"mosaic\.centre: must be the smallest, then the largest"),
        ({"input__mosaic": {"enabled": True, "centre": [1.0, 2.5]}}, r"mosaic\.centre: must be below 2"),
        ({"input__mixup__jitter": [1.5, 0.5]}, r"mixup\.jitter: must be the smallest, then the largest"),
        ({"input__mosaic__fill": 256}, r"mosaic\.fill: should be less than or equal to 255"),
        ({"input__pad": {"enabled": True, "size": [64, 96]}}, r"input\.pad\.size: must be at least 96 x 96, which"),
        (
            PAD | {"input__multi_scale": {"enabled": True, "crop": False}},
            r"multi_scale\.crop: must be true with input\.pad",
        ),
        (
            {"input__mosaic__enabled": True, "input__multi_scale": {"enabled": True, "crop": False}},
            r"multi_scale\.crop: must be true with input\.mosaic",
        ),
        ({"input__batch_scale__ratio": [2.0, 0.5]}, r"batch_scale\.ratio: must be the smallest, then the largest"),
        (
            {"input__mosaic__enabled": True, "input__multi_scale": {"enabled": True, "scales": [[64, 64]]}},
            r"multi_scale\.scales: must be empty with input\.mosaic",
        ),
        ({"input__photometric__kind": "sepia"}, r"photometric\.kind: should be 'hsv' or 'distortion'"),
        ({"input__stop_fraction": 1.5}, r"input\.stop_fraction: should be less than or equal to 1"),
    ],
)
def test_what_cannot_be_together_is_refused_by_field(tiny_recipe: Build, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_recipe(**(PLAIN | changes))


def test_masks_come_along(tiny_recipe: Build, tmp_path: Path) -> None:
    changes = {
        "student__config": "ikd::mask_rcnn_r18",
        "student__arguments": {"base_channels": 4, "neck_channels": 16},
        "teachers__sequence": [],
        "distill__host": "none",
        "schedule__epochs": 1,
    }
    recipe = tiny_recipe(**(PLAIN | OPTIONS["all"] | changes))
    check(recipe)
    assert trained(recipe, tmp_path)[1][0].metrics["loss/mask"] > 0
