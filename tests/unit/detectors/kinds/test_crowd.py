"""CrowdDet in data of one class that are no crowds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData

from ikd.detectors import build_detector, detector_config, freeze, knows_one_class
from ikd.detectors.kinds.crowd import NOBODY, learn_without_crowds
from ikd.distill.functional import Targets
from ikd.distill.knowledge import sampled_targets
from ikd.distill.recording import recorded
from ikd.errors import BadInput
from tests.unit.detectors.kinds.mmdets import CROWD, REFINED, sample, small

ONE, OTHER = [10, 10, 60, 60], [40, 30, 100, 110]
IMAGES = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def crowddet(name: str = CROWD) -> Any:
    torch.manual_seed(0)
    return build_detector(small(name, ["person"]))


def loss_of(detector: Any, truth: Any) -> float:
    torch.manual_seed(1)  # of what is sampled
    return float(detector.loss(IMAGES, [truth])["loss_rcnn_emd"].detach())


def as_mmdet_has_it(detector: Any) -> Any:
    """Return a copy with mmdet's own classes."""
    plain = copy.deepcopy(detector)
    for module in (plain.roi_head, plain.roi_head.bbox_head.loss_bbox):
        module.__class__ = type(module).__mro__[2]
    return plain


@pytest.mark.parametrize("name", [CROWD, REFINED])
def test_more_classes_than_one_are_refused(name: str) -> None:
    rule = "detector: num_classes: must be 1 for a CrowdDet, .* but got 3; take data of one class, or another detector"
    with pytest.raises(BadInput, match=rule):
        detector_config(name, classes=["a", "b", "c"])
    with pytest.raises(BadInput, match=r"override roi_head\.bbox_head\.num_classes=2: the data set has 1 classes"):
        detector_config(name, overrides={"roi_head.bbox_head.num_classes": 2}, classes=["a"])
    assert detector_config(name, classes=None).roi_head.bbox_head.num_classes == 1


def test_it_is_known_by_its_head() -> None:
    assert knows_one_class(small(CROWD, ["a"]))
    assert not knows_one_class(detector_config("ikd::mask_rcnn_r18", classes=["a"]))


def test_a_crowd_is_learned_as_mmdet_learns_it() -> None:
    detector, truth = crowddet(), sample([ONE, OTHER])
    plain = as_mmdet_has_it(detector)
    assert type(plain.roi_head).__module__ == "mmdet.models.roi_heads.multi_instance_roi_head"
    assert "loss" in vars(type(plain.roi_head)), "mmdet's own"
    labelled = sample([ONE, OTHER])
    assert loss_of(detector, truth) == loss_of(plain, labelled)


@pytest.mark.parametrize("name", [CROWD, REFINED])
@pytest.mark.parametrize(
    ("boxes", "ignored"),
    [([], []), ([ONE], []), ([], [OTHER]), ([ONE], [OTHER])],
    ids=["nothing", "one", "ignored alone", "one beside ignored"],
)
def test_images_of_few_objects_are_learned_from(name: str, boxes: list[Any], ignored: list[Any]) -> None:
    detector, truth = crowddet(name), sample(boxes, ignored)
    losses = detector.loss(IMAGES, [truth])
    assert len(truth.ignored_instances) == len(ignored), "the sample stays as it was"
    emd = losses["loss_rcnn_emd"]
    assert emd.isfinite()
    assert emd > 0.5, "where there is nothing, that is learned"
    emd.backward()
    assert detector.roi_head.bbox_head.fc_cls[0].weight.grad.any()


def test_an_image_without_objects_teaches_mmdets_own_nothing_and_one_object_stops_it() -> None:
    plain = as_mmdet_has_it(crowddet())
    assert loss_of(plain, sample([])) == 0, "else nothing needs to be mended here"
    truth = sample([ONE])
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        plain.roi_head.bbox_assigner.assign(InstanceData(priors=torch.zeros(0, 4)), truth.gt_instances)


def test_an_ignored_box_is_neither_object_nor_background() -> None:
    detector, seen = crowddet(), []
    assigner = detector.roi_head.bbox_assigner
    plain = assigner.assign

    def assign(regions: Any, truth: Any, ignored: Any) -> Any:
        seen.append((ignored.labels.tolist(), plain(regions, truth, ignored).labels[-2:]))
        return plain(regions, truth, ignored)

    assigner.assign = assign
    detector.loss(IMAGES, [sample([ONE], [[70, 70, 120, 120]])])
    ((labels, of_boxes),) = seen
    assert labels == [NOBODY]
    assert of_boxes[0].tolist() == [1, 0], "the object, and no second one there"
    assert of_boxes[1, 0] == NOBODY, "of the region that is the ignored box itself"


def test_labels_are_whole_numbers() -> None:
    detector = crowddet().eval()
    with torch.no_grad():
        found = detector.predict(IMAGES, [sample([])])[0].pred_instances
    assert len(found) > 0
    assert found.labels.dtype == torch.int64
    assert not found.labels.any()


def test_it_needs_no_torchvision() -> None:
    assert "use_torchvision" not in repr(small(CROWD, ["a"]))


def test_names_are_mmdets_and_others_are_left_alone() -> None:
    detector = crowddet()
    assert type(detector.roi_head).__name__ == "MultiInstanceRoIHead"
    assert type(copy.deepcopy(freeze(detector)).roi_head) is type(detector.roi_head)
    other: Any = build_detector(detector_config("ikd::mask_rcnn_r18", arguments={"base_channels": 4}, classes=["a"]))
    before = type(other.roi_head)
    learn_without_crowds(other)
    assert type(other.roi_head) is before


def test_regions_with_an_object_are_of_its_class() -> None:
    detector, sampled = crowddet(), list[Any]()
    with recorded(detector.roi_head.bbox_sampler, "sample", sampled):
        detector.loss(IMAGES, [sample([ONE, OTHER])])
    (labels,) = sampled_targets(sampled, Targets([torch.zeros(0, 4)], [torch.zeros(0).long()], (128, 128))).labels
    assert len(labels) == len(sampled[0].pos_priors) > 0
    assert labels.tolist() == [0] * len(labels)
