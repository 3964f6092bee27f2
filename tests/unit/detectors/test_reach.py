"""Which levels objects reach: by hand for each way of choosing, and against what mmdet's own assigners choose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.detectors import build_detector, detector_config, reached_levels

TINY = {"base_channels": 4, "neck_channels": 16}
WHOLE = (1333.0, 800.0)


def tiny(name: str, **overrides: Any) -> Any:
    return build_detector(detector_config(f"ikd::{name}", arguments=TINY, overrides=overrides, classes=["a"]))


def reached(detector: Any, *sizes: tuple[float, float]) -> list[int] | None:
    """Levels, 0 the finest."""
    found = reached_levels(detector, torch.tensor(sizes))
    return None if found is None else [level for level, one in enumerate(found) if one]


@pytest.mark.parametrize(
    ("detector", "size", "expected"),
    [
        # RetinaNet's anchors: 32 to 51, 64 to 102, 128 to 203, 256 to 406, 512 to 813 px
        ("retinanet_r18", (32, 32), [0]),
        ("retinanet_r18", (90, 90), [1]),
        ("retinanet_r18", (91, 91), [1, 2]),  # 0.5 = 90.5^2 / 128^2
        ("retinanet_r18", (160, 160), [2]),
        ("retinanet_r18", WHOLE, [4]),
        ("retinanet_r18", (4, 4), [0]),  # no overlap of 0.5, but the best there is
        # one anchor of 8 strides, 64 to 1024 px
        ("gfl_r18", (64, 64), [0]),
        ("atss_r18", (250, 250), [2]),
        ("atss_r18", WHOLE, [4]),
        # a quarter of COCO's ranges: up to 32, 64, 128, 256, and above; centres are sampled 1.5 strides around
        ("fcos_r18", (20, 10), [0]),
        ("fcos_r18", (60, 60), [0, 1]),
        ("fcos_r18", (160, 10), [2, 3]),  # half of it from the centre, all from a border
        ("fcos_r18", (900, 900), [4]),
        # log2(side / 4), cut off: 16 px and below to 63 px, to 127, 255, 511, and above
        ("reppoints_r18", (60, 60), [0]),
        ("reppoints_r18", (64, 64), [1]),
        ("reppoints_r18", (130, 130), [2]),
        ("reppoints_r18", (600, 600), [4]),
        # proposals' anchors of 16, 32, 64, 128, 256 px; RoIs below 112, 224, 448 px, and above
        ("faster_rcnn_r18", (16, 16), [0]),
        ("faster_rcnn_r18", (64, 64), [0, 2]),
        ("faster_rcnn_r18", (128, 128), [1, 3]),
        ("cascade_rcnn_r18", (300, 300), [2, 4]),
    ],
)
def test_objects_of_one_size_reach_the_levels_made_for_them(
    detector: str, size: tuple[float, float], expected: list[int]
) -> None:
    assert reached(tiny(detector), size) == expected


@pytest.mark.parametrize(
    "name", ["retinanet_r18", "gfl_r18", "atss_r18", "fcos_r18", "reppoints_r18", "faster_rcnn_r18", "mask_rcnn_r18"]
)
def test_objects_of_every_size_reach_every_level(name: str) -> None:
    """COCO's boxes at 1333x800 px reach from 1 px to the whole image."""
    sizes = [(side, side * shape) for side in (2, 8, 20, 45, 90, 200, 400, 790) for shape in (0.5, 1.0, 1.6)]
    found = reached(tiny(name), WHOLE, *((float(a), float(b)) for a, b in sizes))
    assert found == list(range(5))


def test_thresholds_and_ranges_act() -> None:
    assert reached(tiny("retinanet_r18", **{"train_cfg.assigner.pos_iou_thr": 0.2}), (60.0, 60.0)) == [0, 1, 2]
    strict = {"train_cfg.assigner.match_low_quality": False}
    assert reached(tiny("retinanet_r18", **strict), (4.0, 4.0)) == []
    near = {"bbox_head.center_sample_radius": 0.5}
    assert reached(tiny("fcos_r18", **near), (40.0, 30.0)) == [0]  # at most 20 + 8 px on the second level
    anywhere = near | {"bbox_head.center_sampling": False}
    assert reached(tiny("fcos_r18", **anywhere), (40.0, 30.0)) == [0, 1]


def test_heads_that_are_not_known_say_so() -> None:
    class Own(type(tiny("retinanet_r18").bbox_head)):  # type: ignore[misc]
        """May choose as it likes."""

    detector = tiny("retinanet_r18")
    detector.bbox_head.__class__ = Own
    assert reached(detector, (32.0, 32.0)) is None
    detector = tiny("retinanet_r18")
    detector.bbox_head.assigner = object()
    assert reached(detector, (32.0, 32.0)) is None
    assert reached_levels(tiny("retinanet_r18"), torch.zeros(0, 2)) is None


def positives(detector: Any, box: Tensor, side: int) -> set[int]:
    """The levels on which mmdet's own assignment makes a box positive."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    sample = DetDataSample(metainfo={"img_shape": (side, side), "pad_shape": (side, side)})
    sample.gt_instances = InstanceData(bboxes=box[None], labels=torch.tensor([0]))
    head = detector.bbox_head
    maps = [torch.zeros(1, 16, side // stride, side // stride) for stride in (8, 16, 32, 64, 128)]
    anchors, valid = head.get_anchors([one.shape[2:] for one in maps], [sample.metainfo], device="cpu")
    found = head.get_targets(anchors, valid, [sample.gt_instances], [sample.metainfo])
    labels = found[0 if type(head).__name__ == "RetinaHead" else 1]
    return {level for level, one in enumerate(labels) if (one == 0).any()}


@pytest.mark.parametrize("name", ["retinanet_r18", "atss_r18"])
def test_no_box_is_positive_on_a_level_that_was_given_up(name: str) -> None:
    """Real assignments at 256 px, boxes anywhere: each level they use is one that their sizes reach."""
    detector, generator = tiny(name), torch.Generator().manual_seed(0)
    for _ in range(40):
        low, high = torch.rand(2, 2, generator=generator).mul(250).sort(dim=0).values
        box = torch.cat([low, high + 4])
        allowed = reached_levels(detector, (box[2:] - box[:2])[None])
        assert allowed is not None
        assert positives(detector, box, 256) <= {level for level, one in enumerate(allowed) if one}
