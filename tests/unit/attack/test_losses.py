"""Which entries of a loss dict are attacked."""

from __future__ import annotations

import pytest
import torch

from ikd.attack import classification_loss
from ikd.attack.losses import detection_loss, feature_distance, published_loss
from ikd.errors import BadInput

one = torch.tensor
TWO_STAGE = {
    "loss_rpn_cls": [one(1.0), one(2.0)],
    "loss_rpn_bbox": [one(10.0)],
    "s0.loss_cls": one(4.0),
    "s0.acc": one(99.0),
    "s0.loss_bbox": one(20.0),
    "s0.loss_mask": one(500.0),
}


def test_classification_sums_lists_and_tensors() -> None:
    assert float(classification_loss(TWO_STAGE)) == 7
    assert float(classification_loss({"loss_cls": [one([1.0, 3.0]), one(5.0)], "loss_bbox": [one(1.0)]})) == 7


def test_detection_adds_boxes_but_no_masks() -> None:
    assert float(detection_loss(TWO_STAGE)) == 37


def test_published_drops_the_rpn_list_of_mask_models() -> None:
    assert float(published_loss(TWO_STAGE, has_masks=True)) == 4
    assert float(published_loss({"loss_cls": [one(1.0), one(2.0)], "loss_bbox": [one(9.0)]}, has_masks=False)) == 3
    assert float(published_loss({"loss_rpn_cls": [one(1.0)], "loss_cls": one(2.0)}, has_masks=False)) == 2


def test_objectness_counts_as_classification_and_buckets_of_a_border_do_not() -> None:
    assert float(classification_loss({"loss_cls": one(1.0), "loss_obj": one(2.0), "loss_bbox": one(9.0)})) == 3
    assert float(classification_loss({"loss_cls": [one(1.0)], "loss_conf": [one(2.0)], "loss_xy": [one(9.0)]})) == 3
    assert float(classification_loss({"loss_cls": one(1.0), "loss_bbox_cls": one(2.0), "loss_bbox_reg": one(9.0)})) == 1


def test_a_teacher_without_classification_is_refused_with_the_way_out() -> None:
    message = (
        r"attack\.loss: must be cls\+reg for a teacher that names no loss as one of classification "
        r"\(its losses are loss_pos, acc_cls\), but got 'cls'"
    )
    with pytest.raises(BadInput, match=message):
        classification_loss({"loss_pos": one(1.0), "acc_cls": one(1.0)})


def test_a_teacher_without_a_loss_of_its_own_is_refused() -> None:
    with pytest.raises(BadInput, match=r"attack\.loss: must be feature_distance for a teacher without a loss"):
        detection_loss({"loss_mask": one(1.0)})
    with pytest.raises(BadInput, match=r"attack\.published: must be false .* its losses are loss_rpn_cls"):
        published_loss({"loss_rpn_cls": [one(1.0)]}, has_masks=True)


def test_feature_distance_by_hand() -> None:
    clean = [torch.full((2, 1, 1, 1), 2.0), torch.full((2, 1, 1, 2), 1.0)]
    now = [torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 2), 0.0)]
    assert float(feature_distance(now, clean)) == pytest.approx(2 * (1 / 4 + 1))
    assert float(feature_distance(clean, clean)) == 0
