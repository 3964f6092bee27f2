"""What is crafted from the unaltered sample later is, after the same flip and crop, what a store would have given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray

from ikd.augment import UNALTERED, Geometry, train_pipeline
from ikd.data import image_digest
from tests.unit.augment.test_pipeline import ALWAYS, dataset

pytestmark = pytest.mark.usefixtures("mmdet_scope")
SCALE = (120, 96)


class Drawn:
    """A perturbation of each image that shows every flip and shift."""

    def read(self, image: str) -> NDArray[np.int8]:
        return np.random.default_rng(int(image, 16)).integers(-20, 21, (96, 96, 3), dtype=np.int8)


def loaded(directory: Path, **arguments: Any) -> list[Any]:
    samples = dataset(directory, train_pipeline(scale=SCALE, **arguments))
    found = []
    for index in range(len(samples)):
        np.random.seed(index)
        found.append(samples[index])
    return found


@pytest.mark.parametrize("order", ["flip_crop", "crop_flip"])
@pytest.mark.parametrize("augment", [None, ALWAYS, {**ALWAYS, "published": True}], ids=["none", "ours", "published"])
def test_both_ways_give_the_same_pair(drawn: Path, order: Any, augment: Any) -> None:
    stored = loaded(drawn, order=order, augment=augment, perturbations=Drawn())
    later = loaded(drawn, order=order, augment=augment, crafted_later=True)
    seen = set()
    for one, other in zip(stored, later, strict=True):
        assert "adversarial" not in other
        assert torch.equal(one["inputs"], other["inputs"])
        annotated = [each["data_samples"].gt_instances.bboxes.tensor for each in (one, other)]
        assert torch.equal(*annotated)
        unaltered = other[UNALTERED]
        delta = torch.from_numpy(Drawn().read(image_digest(unaltered["data_samples"].img_path))).permute(2, 0, 1)
        crafted = (unaltered["inputs"].to(torch.int16) + delta).clamp(0, 255).to(torch.uint8)
        geometry = unaltered["data_samples"].geometry
        assert torch.equal(geometry(crafted), one["adversarial"])
        seen.add((geometry.flips_first, geometry.window is not None, geometry.flips_last))
    assert len(seen) >= 2, "some are flipped, some are cropped"


def test_the_unaltered_sample_is_that_of_test_time(drawn: Path) -> None:
    from ikd.attack import TrainingImages
    from ikd.attack.images import open_dataset

    there = open_dataset(TrainingImages(drawn / "train.json", drawn / "images", SCALE), with_masks=False)
    for index, one in enumerate(loaded(drawn, augment=ALWAYS, flip=1.0, crafted_later=True)):
        kept, plain = one[UNALTERED], there[index]
        assert torch.equal(kept["inputs"], plain["inputs"])
        for name in ("gt_instances", "ignored_instances"):
            ours, theirs = kept["data_samples"].get(name), plain["data_samples"].get(name)
            assert torch.equal(ours.bboxes.tensor, theirs.bboxes.tensor)
            assert torch.equal(ours.labels, theirs.labels)
        assert kept["data_samples"].img_shape == plain["data_samples"].img_shape


def test_a_batch_of_them_collates(drawn: Path) -> None:
    batch = pseudo_collate(loaded(drawn, augment=ALWAYS, crafted_later=True)[:3])
    assert len(batch[UNALTERED]["inputs"]) == len(batch[UNALTERED]["data_samples"]) == 3


def test_a_geometry_flips_and_crops_in_its_order() -> None:
    image = torch.arange(12).reshape(1, 3, 4)
    assert Geometry()(image) is image
    assert Geometry(window=(1, 0, 2, 3))(image).tolist() == [[[4, 5, 6], [8, 9, 10]]]
    assert Geometry(flips_first=True, window=(0, 0, 1, 3))(image).tolist() == [[[3, 2, 1]]]
    assert Geometry(window=(0, 0, 1, 3), flips_last=True)(image).tolist() == [[[2, 1, 0]]]
