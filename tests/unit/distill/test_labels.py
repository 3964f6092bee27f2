"""The student's own loss on photographs without labels: weights, means over parts, boxes that are ignored."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from ikd.distill.labels import averaged, boxes_in, ignored, ignoring_assigners, weighed


def test_losses_are_weighed_under_their_own_names() -> None:
    found = weighed(
        {"loss_cls": [torch.tensor(1.0), torch.tensor(2.0)], "d0.loss_bbox": torch.tensor(3.0), "acc": 1}, 0.5
    )
    assert found == {"loss_labels_cls": [0.5, 1.0], "loss_labels_d0.loss_bbox": 1.5}


def test_terms_are_means_over_all_images() -> None:
    parts = [({"loss_fgd": torch.tensor(3.0), "loss_sfa": torch.tensor(1.0)}, 3), ({"loss_fgd": torch.tensor(7.0)}, 1)]
    found = averaged(parts)
    assert float(found["loss_fgd"]) == 4.0
    assert float(found["loss_sfa"]) == 1.0
    listed = averaged([({"loss_a": [torch.tensor(1.0), torch.tensor(1.0)]}, 1), ({"loss_a": torch.tensor(4.0)}, 1)])
    assert float(listed["loss_a"]) == 3.0


def test_boxes_are_counted_without_those_set_aside() -> None:
    samples = [SimpleNamespace(gt_instances=[1, 2], ignored_instances=[1]), SimpleNamespace(gt_instances=[])]
    assert boxes_in(samples) == 2


class _Head(nn.Module):
    def __init__(self, *assigners: object) -> None:
        super().__init__()
        if len(assigners) == 1:
            self.assigner = assigners[0]
        else:
            self.bbox_assigner = list(assigners)


def test_assigners_heed_ignored_boxes_while_the_block_lasts() -> None:
    first, second, own = (SimpleNamespace(ignore_iof_thr=value) for value in (-1, -1, 0.3))
    student = nn.Sequential(_Head(first), _Head(second, own), _Head(SimpleNamespace()))
    assert ignoring_assigners(student) == [first, second, own]
    with ignored(student, acts=True):
        assert [one.ignore_iof_thr for one in (first, second, own)] == [0.5, 0.5, 0.3]
    assert [one.ignore_iof_thr for one in (first, second, own)] == [-1, -1, 0.3]
    with ignored(student, acts=False):
        assert first.ignore_iof_thr == -1
