from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from numpy.typing import NDArray

from ikd.augment import AttachPerturbation, PackPair
from ikd.data import image_digest
from ikd.errors import BadInput, DataError
from tests.unit.augment.samples import SMALL, Constant, image_file, sample


class Stored:
    """Gives one array, whatever it is."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def read(self, image: str) -> NDArray[Any]:
        return self.array


def test_perturbation_is_added_and_clipped() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0], image[1] = 250, 3
    for value, expected in ((10, [255, 13]), (-10, [240, 0])):
        results = AttachPerturbation(Constant(value, (2, 2)))(sample([SMALL], img=image.copy()))
        assert results["img"].shape == (2, 2, 6)
        assert np.array_equal(results["img"][..., :3], image)
        assert results["img"][:, 0, 3].tolist() == expected


def test_the_content_of_the_image_is_the_key() -> None:
    reader = Constant(1, (100, 120))
    for number, img_id in ((42, 1), (42, 2), (43, 1)):
        AttachPerturbation(reader)(sample([SMALL], number=number, img_id=img_id))
    assert reader.asked == [image_digest(image_file(number)) for number in (42, 42, 43)]
    assert len(set(reader.asked)) == 2


def test_an_image_that_cannot_be_read_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.png: must be readable"):
        AttachPerturbation(Constant(1, (100, 120)))(sample([SMALL], img_path="nowhere.png"))


def test_another_size_is_resized_bilinearly() -> None:
    delta = np.random.RandomState(0).randint(-8, 9, (50, 60, 3)).astype(np.int8)
    grey = np.full((100, 120, 3), 100, np.uint8)
    results = AttachPerturbation(Stored(delta))(sample([SMALL], img=grey))
    expected = np.rint(cv2.resize(delta.astype(np.float32), (120, 100), interpolation=cv2.INTER_LINEAR))
    assert np.array_equal(results["img"][..., 3:].astype(int) - 100, expected.astype(int))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int8), np.zeros((4, 4, 1), np.int8)]
)
def test_a_wrong_perturbation_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"perturbation of the image of SHA-256 [0-9a-f]{64} must be int8"):
        AttachPerturbation(Stored(array))(sample([SMALL]))


def test_a_reader_is_built_from_its_config() -> None:
    config = {"type": f"{Constant.__module__}.Constant", "value": 3, "size": (100, 120)}
    for transform in (AttachPerturbation(config), AttachPerturbation({**config, "type": Constant})):
        assert transform(sample([SMALL]))["img"][0, 0, 5] == 131
        assert pickle.loads(pickle.dumps(transform)).readers[0].value == 3


def test_what_is_no_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"must have a method read\(image_id\), but got PosixPath\("):
        AttachPerturbation(tmp_path)  # type: ignore[arg-type]


def test_resize_treats_six_channels_as_two_images() -> None:
    image = np.random.RandomState(0).randint(0, 256, (50, 70, 6)).astype(np.uint8)
    resize = {"type": "Resize", "scale": (133, 99), "keep_ratio": True}
    whole, first, second = (
        TRANSFORMS.build(resize)(sample([SMALL], img=np.ascontiguousarray(part)))["img"]
        for part in (image, image[..., :3], image[..., 3:])
    )
    assert np.array_equal(whole, np.concatenate([first, second], axis=2))


def test_packing_parts_the_pair() -> None:
    pair = np.random.RandomState(0).randint(0, 256, (20, 30, 6)).astype(np.uint8)
    packed = PackPair()(sample([SMALL], img=pair, img_shape=(20, 30), copies=("adversarial",)))
    assert sorted(packed) == ["adversarial", "data_samples", "inputs"]
    for key, part in (("inputs", pair[..., :3]), ("adversarial", pair[..., 3:])):
        assert packed[key].is_contiguous()
        assert np.array_equal(packed[key].numpy(), part.transpose(2, 0, 1))
    assert isinstance(packed["data_samples"].gt_instances.bboxes, HorizontalBoxes)
    assert packed["data_samples"].img_shape == (20, 30)


def test_a_single_column_that_was_flipped_is_packed() -> None:
    pair = np.random.RandomState(0).randint(0, 256, (20, 1, 6)).astype(np.uint8)
    flipped = np.flip(pair, axis=1)
    packed = PackPair()(sample([], img=flipped, img_shape=(20, 1), copies=("adversarial",)))
    assert np.array_equal(packed["inputs"].numpy(), pair[..., :3].transpose(2, 0, 1))
    assert np.array_equal(packed["adversarial"].numpy(), pair[..., 3:].transpose(2, 0, 1))


def test_packing_a_single_image_is_mmdets() -> None:
    packed = PackPair()(sample([SMALL]))
    assert sorted(packed) == ["data_samples", "inputs"]
    assert np.array_equal(packed["inputs"].numpy(), sample([SMALL])["img"].transpose(2, 0, 1))
