"""Plain kernels against mmcv's compiled ones, value and gradient. Runs where the compiled ones are installed."""

from __future__ import annotations

import importlib

import pytest
import torch

from ikd.ops import extension, install
from tests.assets import ops_cases
from tests.assets.ops_cases import Case

if install().backend != "compiled":
    pytest.skip(f"mmcv's compiled kernels are not in use: {install().reason}", allow_module_level=True)

COMPILED = importlib.import_module("mmcv._ext")
PLAIN = extension("plain")
get_compiler_version = importlib.import_module("mmcv.ops").get_compiler_version


def test_comparison_compares_two_things() -> None:
    case = ops_cases.nms_case(0, soft=False)
    with ops_cases.kernels(COMPILED):
        assert get_compiler_version() != "none (ikd.ops, plain)"
    with ops_cases.kernels(PLAIN):
        assert get_compiler_version() == "none (ikd.ops, plain)"
        assert len(ops_cases.run(case)["out0"])


def compare(case: Case, tolerance: float = 1e-5) -> None:
    with ops_cases.kernels(COMPILED):
        expected = ops_cases.run(case)
    with ops_cases.kernels(PLAIN):
        found = ops_cases.run(case)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        label = f"{case.op} {case.options} {name}: ".replace("{", "{{").replace("}", "}}") + "{}"
        torch.testing.assert_close(
            found[name], tensor, atol=tolerance, rtol=tolerance, equal_nan=True, msg=label.format
        )


@pytest.mark.parametrize("seed", range(64))
def test_roi_align(seed: int) -> None:
    case = ops_cases.roi_align_case(seed)
    compare(case)
    assert all(tensor.count_nonzero() > 2 for tensor in ops_cases.run(case).values())  # zeros would compare nothing


@pytest.mark.parametrize("num_rois", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_roi_align_of_few_rois(seed: int, num_rois: int) -> None:
    compare(ops_cases.roi_align_case(seed, num_rois=num_rois))


@pytest.mark.parametrize("seed", range(0, 64, 5))
def test_roi_align_in_double(seed: int) -> None:
    compare(ops_cases.roi_align_case(seed, dtype=torch.float64), tolerance=1e-6)  # mmcv takes the scale as float32


@pytest.mark.parametrize("offset_scale", [0.0, 0.5, 6.0])
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_deformable_convolution(seed: int, modulated: bool, offset_scale: float) -> None:
    compare(ops_cases.deform_conv_case(seed, modulated=modulated, offset_scale=offset_scale))


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("seed", range(0, 24, 5))
def test_deformable_convolution_in_double(seed: int, modulated: bool) -> None:
    compare(ops_cases.deform_conv_case(seed, modulated=modulated, dtype=torch.float64), tolerance=1e-10)


@pytest.mark.parametrize("count", [0, 1, 60, 1300])
@pytest.mark.parametrize("seed", range(6))
def test_nms(seed: int, count: int) -> None:
    compare(ops_cases.nms_case(seed, soft=False, count=count))


@pytest.mark.parametrize("count", [0, 1, 60, 300])
@pytest.mark.parametrize("seed", range(12))
def test_soft_nms(seed: int, count: int) -> None:
    compare(ops_cases.nms_case(seed, soft=True, count=count))


@pytest.mark.parametrize("seed", range(6))
def test_nms_of_equal_scores(seed: int) -> None:
    case = ops_cases.nms_case(seed, soft=False, count=200)
    case.tensors["scores"].mul_(20).round_().div_(20)
    compare(case)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_nms_of_boxes_without_area(seed: int, soft: bool) -> None:
    compare(ops_cases.nms_case(seed, soft=soft, degenerate=True))


@pytest.mark.parametrize("split_thr", [10, 10000])
@pytest.mark.parametrize("kind", ["nms", "soft_nms"])
@pytest.mark.parametrize("seed", range(4))
def test_batched_nms(seed: int, kind: str, split_thr: int) -> None:
    compare(ops_cases.batched_nms_case(seed, kind=kind, split_thr=split_thr))
