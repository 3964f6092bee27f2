from __future__ import annotations

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from ikd.sweep.records.text import readable
from ikd.tracking import trial_name
from ikd.tracking.names import clean_key, clean_keys, value_text

BAD = [
    "AP@0.5",
    "mAP[50]",
    "a,b",
    "a=b",
    "x!",
    "",
    ".",
    "..",
    "../a",
    "/a",
    "a//b",
    "a/",
    "a/../b",
    "./a",
    "x" * 300,
    "a\nb",
]


@pytest.mark.parametrize("name", BAD)
def test_a_cleaned_name_is_taken_by_mlflow(name: str) -> None:
    key = clean_key(name)
    assert key != name
    assert len(key) <= 250
    for validate in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        validate(key)


@pytest.mark.parametrize("name", ["bbox_mAP", "loss/loss_cls", "distill.mgd.alpha", "a-b:c d", "weight/α_effective"])
def test_a_good_name_stays(name: str) -> None:
    assert clean_key(name) == name


def test_names_that_become_one_stay_apart() -> None:
    cleaned = clean_keys({"AP@50": 1, "AP_50": 2, "AP#50": 3})
    assert cleaned["AP_50"] == 2
    assert sorted(cleaned.values()) == [1, 2, 3]
    assert clean_keys({"AP@50": 1}) == {"AP_50": 1}


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert len(clean_keys({"x" * 300 + "a": 1, "x" * 300 + "b": 2})) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-5, "2e-05"),
        (True, "true"),
        (None, "null"),
        ("mgd", "mgd"),
        (3, "3"),
        ({"a": 1}, '{"a": 1}'),
        ([], "[]"),
        ([0, 1, 2], "[0, 1, 2]"),
        ([[1, 2], [3]], "[[1, 2], [3]]"),
        (["bbox", "segm"], "[bbox, segm]"),
    ],
)
def test_value_text(value: object, text: str) -> None:
    assert value_text(value, 6000) == text
    assert value_text(value, 6000, "validate") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["x101"], "x101"),
        (["r101", "x101"], "r101 -> x101"),
        ([{"teacher": "r101", "share": 0.3, "set": {}}, "x101"], "r101 (0.3) -> x101"),
        ([{"teacher": "r101", "share": None}, {"teacher": "x101"}], "r101 -> x101"),
        ([["r101"], ["r101", "x101"]], "[r101, r101 -> x101]"),
    ],
)
def test_teachers_are_written_as_a_sequence(value: object, text: str) -> None:
    assert value_text(value, 6000, "teachers.sequence") == text
    assert readable(value, "teachers.sequence") == text


def test_a_long_value_is_cut_and_says_so() -> None:
    assert value_text("x" * 100, 100) == "x" * 100
    cut = value_text("x" * 101, 100)
    assert len(cut) == 100
    assert cut.endswith("x ... [cut from 101 characters]")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "3"),
        ({"distill.host": "mgd", "distill.mgd.alpha": 2e-5}, "3 mgd α=2e-5"),
        ({"distill.mgd.alpha": 2e-5, "distill.host": "mgd"}, "3 mgd α=2e-5"),
        ({"adversarial.enabled": True, "adversarial.weight": 1e-6}, "3 adversarial adversarial.weight=1e-6"),
        ({"adversarial.enabled": False}, "3 no adversarial"),
        ({"teachers.sequence": ["r101", "x101"]}, "3 r101 -> x101"),
        ({"teachers.sequence": [{"teacher": "r101", "share": 0.3}, "x101"]}, "3 r101 (0.3) -> x101"),
        ({"teachers.sequence": []}, "3 no teacher"),
        ({"distill.sfa.levels": [0, 1, 2], "distill.me.stages": "last"}, "3 sfa.levels=[0, 1, 2] me.stages=last"),
        ({"schedule.clip": None}, "3 clip=null"),
        ({"validate": ["bbox", "segm"]}, "3 validate=[bbox, segm]"),
        ({"augment.area_threshold": 1024}, "3 area_threshold=1024"),
        ({"distill.fgd.alpha": 0.001, "distill.mgd.alpha": 0.5}, "3 fgd.α=0.001 mgd.α=0.5"),
        ({"distill.fgd.lambda_": 1.5e10}, "3 λ=1.5e10"),
        ({"augment.noise.sigma": 0.1, "augment.crop.min_ratio": 0.85}, "3 σ=0.1 min_ratio=0.85"),
    ],
)
def test_trial_name(values: dict[str, object], name: str) -> None:
    assert trial_name(3, values) == name


def test_a_long_trial_name_ends_before_sixty_characters() -> None:
    name = trial_name(12, {f"distill.term.value_{index}": 0.5 for index in range(20)})
    assert name.startswith("12 value_0=0.5 value_1=0.5")
    assert name.endswith(" …")
    assert len(name) <= 62
