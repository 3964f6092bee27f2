from __future__ import annotations

import pytest
import torch

from tests.assets import make_ops_reference, ops_cases

STORED = make_ops_reference.load()


def test_reference_covers_every_kernel_that_the_compiled_mmcv_has_on_a_cpu() -> None:
    ops = {case.op for case, _ in STORED.values()}
    assert ops == {"nms", "soft_nms", "roi_align", "deform_conv2d", "modulated_deform_conv2d"}


@pytest.mark.parametrize("name", STORED)
def test_plain_kernels_give_what_the_compiled_ones_gave(name: str) -> None:
    case, expected = STORED[name]
    found = ops_cases.run(case)
    assert found.keys() == expected.keys()
    assert name.endswith("none") or all(tensor.any() for tensor in expected.values())
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        torch.testing.assert_close(found[key], tensor, atol=1e-5, rtol=1e-5)
