"""Fidelity and confusion of boxes made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ikd.analyses.agreement import agreement, taken_for
from ikd.analyses.seen import figures, pseudo_truth
from ikd.data import indexed
from ikd.errors import BadInput
from tests.unit.pictures.scenes import Box, Scene, scene

LEFT: Box = (2, 2, 20, 20)
RIGHT: Box = (40, 2, 20, 20)
LOWER: Box = (2, 30, 40, 26)
CAT, DOG = 0, 1


@pytest.fixture
def teacher(tmp_path: Path) -> Scene:
    """What a teacher sees; what is annotated is something else, and plays no part."""
    return scene(
        tmp_path,
        {"a.png": [(DOG, LOWER)], "b.png": [], "c.png": [(DOG, LEFT)]},
        {
            "a.png": [(CAT, LEFT, 0.9), (CAT, RIGHT, 0.6), (CAT, LOWER, 0.3), (DOG, LOWER, 0.29)],
            "b.png": [(DOG, LOWER, 0.8), (CAT, RIGHT, 0.05)],
            "c.png": [(CAT, LOWER, 0.31)],
        },
    )


def test_the_teacher_scores_exactly_100_against_itself(teacher: Scene) -> None:
    truth = pseudo_truth(teacher.files.val, teacher.detections)
    found = figures(truth, teacher.detections)
    assert found["AP"] == found["APs"] == found["APm"] == found["AP/cat"] == found["AP/dog"] == 100.0
    assert np.isnan(found["APl"]), "it sees nothing large"


def test_a_box_counts_from_above_the_score_on(teacher: Scene) -> None:
    assert len(pseudo_truth(teacher.files.val, teacher.detections)["annotations"]) == 4
    assert len(pseudo_truth(teacher.files.val, teacher.detections, 0.29)["annotations"]) == 5
    assert len(pseudo_truth(teacher.files.val, teacher.detections, 0.85)["annotations"]) == 1


def test_a_student_has_what_it_sees_of_the_teachers_boxes(teacher: Scene) -> None:
    truth = pseudo_truth(teacher.files.val, teacher.detections)
    some = [one for one in teacher.detections if one["category_id"] == 7 and one["score"] > 0.5]
    found = figures(truth, some)
    # two of three cats, both right, give precision 1 up to a recall of 2/3, which 67 of the 101 points do not pass
    assert found["AP/cat"] == pytest.approx(100 * 67 / 101)
    assert found["AP/dog"] == 0.0
    assert found["AP"] == pytest.approx(100 * 67 / 202)
    assert figures(truth, [])["AP"] == 0.0


def test_a_teacher_that_is_sure_of_nothing_is_told_its_best_score(teacher: Scene) -> None:
    with pytest.raises(BadInput, match=r"--score: must be below .* whose score is 0\.900, but got 0\.95"):
        pseudo_truth(teacher.files.val, teacher.detections, 0.95)
    with pytest.raises(BadInput, match=r"whose score is 0\.000"):
        pseudo_truth(teacher.files.val, [], 0.3)


def test_agreement_is_the_diagonal_of_each_row() -> None:
    counts = np.array([[3, 1, 1], [0, 0, 0], [2, 4, 0]])
    by_class, of_all = agreement(counts)
    assert by_class[0] == 60.0
    assert np.isnan(by_class[1]), "the teacher sees none of it"
    assert of_all == 60.0, "what the student alone sees is no box of the teacher's"


def test_boxes_of_one_class_are_matched_first(tmp_path: Path) -> None:
    both = [(CAT, LEFT, 0.9), (DOG, LEFT, 0.8), (DOG, RIGHT, 0.7), (CAT, LOWER, 0.6)]
    seen = scene(tmp_path, {"a.png": [], "b.png": []}, {"a.png": both, "b.png": [(DOG, LEFT, 0.5)]})
    index = indexed(seen.files.val)
    assert taken_for(index, seen.detections, seen.detections).tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 0]]
    other = [(DOG, LEFT, 0.9), (CAT, (41, 3, 20, 20), 0.7), (CAT, (60, 30, 9, 9), 0.8)]
    student = scene(tmp_path / "other", {"a.png": [], "b.png": []}, {"a.png": other})
    # dog at LEFT is found, the cat there is missed though a box overlaps it; dog at RIGHT is a cat; one box in vain
    counts = taken_for(index, seen.detections, student.detections)
    assert counts.tolist() == [[0, 0, 2], [1, 1, 1], [1, 0, 0]]
