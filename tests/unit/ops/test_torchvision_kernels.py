from __future__ import annotations

import pytest
import torch

from ikd.ops import extension
from ikd.ops import torchvision as _torchvision
from tests.assets import make_ops_reference, ops_cases
from tests.assets.ops_cases import Case

if _torchvision.why_not() is not None:
    pytest.skip(f"torchvision's kernels are not usable: {_torchvision.why_not()}", allow_module_level=True)

STORED = make_ops_reference.load()


def compare(case: Case) -> None:
    expected = ops_cases.run(case)  # on the plain kernels
    with ops_cases.kernels(extension("torchvision")):
        found = ops_cases.run(case)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", STORED)
def test_it_gives_what_the_compiled_mmcv_gave(name: str) -> None:
    case, expected = STORED[name]
    with ops_cases.kernels(extension("torchvision")):
        torch.testing.assert_close(ops_cases.run(case), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_rois", [0, 8])
@pytest.mark.parametrize("seed", range(0, 64, 3))
def test_roi_align(seed: int, num_rois: int) -> None:
    compare(ops_cases.roi_align_case(seed, num_rois=num_rois))


@pytest.mark.parametrize("offset_scale", [0.0, 2.0])
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_deformable_convolution(seed: int, modulated: bool, offset_scale: float) -> None:
    compare(ops_cases.deform_conv_case(seed, modulated=modulated, offset_scale=offset_scale))


@pytest.mark.parametrize("count", [0, 1, 700])
@pytest.mark.parametrize("seed", range(4))
def test_nms(seed: int, count: int) -> None:
    compare(ops_cases.nms_case(seed, soft=False, count=count))
