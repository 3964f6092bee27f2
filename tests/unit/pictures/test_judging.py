"""Every box has pycocotools' verdict, and all counts and figures follow from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ikd.data import coco_metrics, indexed
from ikd.pictures.charts import mean_curve
from ikd.pictures.confusion import confusion, of_detector, of_truth
from ikd.pictures.detections import worst
from ikd.pictures.judged import FALSE, HIT, IGNORED, USUAL_SCORE, Truths
from tests.unit.pictures.scenes import Box, Scene, scene

LEFT: Box = (2, 2, 20, 20)
RIGHT: Box = (40, 2, 20, 20)
LOWER: Box = (2, 30, 24, 24)
CROWD: Box = (40, 30, 38, 28)
CAT, DOG = 0, 1


@pytest.fixture
def mixed(tmp_path: Path) -> Scene:
    """In `a` one of each kind: found, of a wrong class, missed, in vain, on a crowd; `b` is empty; `c` is right."""
    return scene(
        tmp_path,
        {"a.png": [(CAT, LEFT), (DOG, RIGHT), (CAT, LOWER)], "b.png": [], "c.png": [(DOG, LEFT)]},
        {
            "a.png": [
                (CAT, (3, 2, 20, 20), 0.9),
                (CAT, (40, 3, 20, 20), 0.8),
                (DOG, (70, 0, 8, 8), 0.7),
                (DOG, (45, 35, 10, 10), 0.95),
            ],
            "c.png": [(DOG, LEFT, 0.6), (DOG, LOWER, 0.1)],
        },
        crowds={"a.png": [(DOG, CROWD)]},
    )


def truths_of(made: Scene) -> list[Truths]:
    index = indexed(made.files.val)
    return [Truths.of(index, place) for place in range(len(index))]


def test_each_box_has_its_verdict(mixed: Scene) -> None:
    judged, truths = mixed.judged(), truths_of(mixed)
    first, own = judged.images[0], truths[0]
    assert first.scores.tolist() == [0.95, 0.9, 0.8, 0.7], "the surest first"
    assert first.verdicts.tolist() == [IGNORED, HIT, FALSE, FALSE]
    assert own.crowds.tolist() == [False, False, False, True]
    assert first.missed(own, 0.5).tolist() == [False, True, True, False]
    assert first.missed(own, 0.92).tolist() == [True, True, True, False], "what found it is below the score"
    assert first.false(0.75).tolist() == [False, False, True, False]
    assert first.errors(own, 0.5) == 4
    assert judged.images[1].errors(truths[1], 0.5) == 0
    assert first.boxes[1].tolist() == [3, 2, 23, 22]


def test_the_figures_are_those_of_the_evaluation(mixed: Scene) -> None:
    judged = mixed.judged()
    np.testing.assert_equal(judged.metrics, coco_metrics(mixed.files.val, mixed.detections))
    measures = judged.measures()
    assert measures["ap"] == judged.metrics["bbox_mAP"] > 0
    assert list(measures["ap_by_class"]) == ["cat", "dog"]
    assert measures["ap_by_size"]["l"] is None, "there is no large object"
    curve = mean_curve(judged.precision)
    assert curve is not None
    assert float(curve.mean()) == pytest.approx(judged.metrics["bbox_mAP"]), "its area is the AP"


def test_the_images_with_the_most_errors_come_first_and_equal_ones_in_their_order(mixed: Scene) -> None:
    assert worst(mixed.judged(), truths_of(mixed)) == [0, 1, 2]
    assert worst(mixed.judged(), truths_of(mixed), count=1) == [0]


def test_the_least_score_is_that_of_the_best_f1(mixed: Scene, tmp_path: Path) -> None:
    # at 0.60 two hits, two in vain, two missed: F1 1/2; at 0.90 one hit, three missed: 2/5; below 0.10 one more in vain
    assert mixed.judged().least == 0.11
    nothing = scene(tmp_path / "nothing", {"a.png": [(CAT, LEFT)]}, {})
    assert nothing.judged().least == USUAL_SCORE


def test_confusions_are_counted_whatever_the_class(mixed: Scene) -> None:
    judged, truths = mixed.judged(), truths_of(mixed)
    found = [of_detector(one, 0.5, own) for one, own in zip(judged.images, truths, strict=True)]
    counts = confusion([of_truth(one) for one in truths], found, 2)
    assert counts.tolist() == [
        [1, 0, 1],  # one cat found, one not
        [1, 1, 0],  # a dog taken for a cat, one found
        [0, 1, 0],  # a dog where nothing is; what lies on the crowd counts for nothing
    ]
    assert counts[:2].sum() == sum(int((~one.crowds).sum()) for one in truths), "each object is in one cell"


def test_a_detector_against_itself_agrees(mixed: Scene) -> None:
    judged, truths = mixed.judged(), truths_of(mixed)
    found = [of_detector(one, 0.5, own) for one, own in zip(judged.images, truths, strict=True)]
    counts = confusion(found, found, 2)
    assert counts.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]


def test_more_boxes_than_pycocotools_usually_takes_are_all_counted(tmp_path: Path) -> None:
    places: list[Box] = [(20.0 * (i % 20), 20.0 * (i // 20), 15, 15) for i in range(200)]
    made = scene(
        tmp_path,
        {"a.png": [(i % 2, box) for i, box in enumerate(places)]},
        {"a.png": [(i % 2, box, 0.9) for i, box in enumerate(places)]},
        size=(220, 420),
    )
    judged, truths = made.judged(), truths_of(made)
    found = [of_detector(one, 0.5, own) for one, own in zip(judged.images, truths, strict=True)]
    assert confusion([of_truth(one) for one in truths], found, 2).tolist() == [[100, 0, 0], [0, 100, 0], [0, 0, 0]]
