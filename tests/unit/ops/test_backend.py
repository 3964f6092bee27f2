from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ikd.errors import BadInput, UnsupportedKernel
from ikd.ops import BACKENDS, SUPPORTED, extension, install
from ikd.ops import backend as _install
from ikd.ops import torchvision as _torchvision

ROOT = Path(__file__).parents[3]


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh process on plain kernels: a process decides about its kernels only once."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = os.environ | {"IKD_OPS": "plain"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process that has not chosen its kernels, and where mmcv has none."""
    monkeypatch.setattr(_install, "_installed", None)
    monkeypatch.delitem(sys.modules, "mmcv.ops")
    monkeypatch.setitem(sys.modules, "mmcv._ext", None)  # as if it were not installed
    monkeypatch.delenv("IKD_OPS", raising=False)
    return monkeypatch


@pytest.mark.slow
def test_plain_kernels_make_every_detector_importable_and_nothing_is_printed() -> None:
    script = """
        import ikd.ops, sys
        kernels = ikd.ops.install()
        assert ikd.ops.install() is kernels
        assert (kernels.backend, kernels.reason) == ("plain", "chosen by IKD_OPS"), kernels
        import mmcv.ops, mmdet.models, mmdet.datasets, mmdet.evaluation
        from mmdet.registry import MODELS
        for name in ("RetinaNet", "GFL", "RepPointsDetector", "MaskRCNN", "DINO", "RTMDet", "FCOS", "ATSS", "YOLOX"):
            assert MODELS.get(name) is not None, name
        assert "ikd.ops (plain)" in repr(sys.modules["mmcv._ext"])
        assert mmcv.ops.get_compiler_version() == "none (ikd.ops, plain)"
    """
    done = python(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_package_imports_neither_mmcv_nor_mmdet() -> None:
    done = python(
        "import ikd.ops, sys; print([m for m in sys.modules if m.startswith(('mmcv', 'mmdet', 'torchvision'))])"
    )
    assert done.stdout.strip() == "[]"


def test_unknown_backend_is_refused_with_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_OPS", "fast")
    rule = "IKD_OPS must be one of compiled, torchvision, plain, or unset for the best one here, but got 'fast'"
    with pytest.raises(BadInput, match=rule):
        install()


def test_change_of_mind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = install().backend
    other = next(name for name in BACKENDS if name != backend)
    monkeypatch.setenv("IKD_OPS", other)
    with pytest.raises(
        BadInput, match=rf"uses the {backend} kernels already, but got IKD_OPS='{other}'; set it before"
    ):
        install()


def test_coming_too_late_is_refused(undecided: pytest.MonkeyPatch) -> None:
    undecided.setitem(sys.modules, "mmcv.ops", ModuleType("mmcv.ops"))
    undecided.setenv("IKD_OPS", "plain")
    with pytest.raises(BadInput, match=r"mmcv\.ops was imported before .*call ikd\.ops\.install\(\) before anything"):
        install()


def test_missing_compiled_kernels_are_refused_with_the_way_to_get_them(undecided: pytest.MonkeyPatch) -> None:
    undecided.setenv("IKD_OPS", "compiled")
    with pytest.raises(BadInput, match=r"mmcv was installed without its kernels; unset it .*--no-build-isolation"):
        install()


def test_broken_compiled_kernels_are_passed_over_with_their_error(undecided: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError(f"{name}: undefined symbol: _ZN3c10\nmore")

    undecided.setattr(importlib, "import_module", fail)
    undecided.setattr(_torchvision, "why_not", lambda: "torchvision is not installed")
    kernels = _install._choose(None)
    assert kernels.backend == "plain"
    assert kernels.reason == (
        "mmcv's compiled kernels do not load (mmcv._ext: undefined symbol: _ZN3c10); torchvision is not installed"
    )


def test_compiled_kernels_without_cuda_are_passed_over_on_a_gpu_machine_unless_named(
    undecided: pytest.MonkeyPatch,
) -> None:
    compiled = ModuleType("mmcv._ext")
    vars(compiled)["get_compiling_cuda_version"] = lambda: "not available"
    undecided.setitem(sys.modules, "mmcv._ext", compiled)
    assert _install._choose(None) == _install.Kernels("compiled", "mmcv was installed with its kernels")
    undecided.setattr(torch.cuda, "is_available", lambda: True)
    undecided.setattr(_torchvision, "why_not", lambda: None)
    kernels = _install._choose(None)
    assert kernels.backend == "torchvision"
    assert kernels.reason == "mmcv's kernels were compiled without CUDA, and this machine has a GPU"
    assert _install._choose("compiled").backend == "compiled"


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed here")
def test_missing_torchvision_is_refused(undecided: pytest.MonkeyPatch) -> None:
    undecided.setenv("IKD_OPS", "torchvision")
    with pytest.raises(
        BadInput, match=r"torchvision is not installed; unset it .*install the torchvision that was built"
    ):
        install()


@pytest.mark.parametrize("name", ["psamask_forward", "softmax_focal_loss_forward", "nms_rotated"])
def test_any_other_kernel_says_its_name_and_how_to_get_it(name: str) -> None:
    with pytest.raises(UnsupportedKernel, match=rf"mmcv's kernel '{name}' exists only compiled.*--no-build-isolation"):
        getattr(extension("plain"), name)(torch.zeros(1), option=1)


def test_unsupported_operator_fails_by_name_from_mmcv() -> None:
    ops = importlib.import_module("mmcv.ops")
    with pytest.raises(UnsupportedKernel, match="'contour_expand'"):
        ops.contour_expand(torch.zeros(1, 4, 4), torch.zeros(4, 4), 1, 1)


def test_stand_in_is_a_module_that_python_can_inspect() -> None:
    module = extension("plain")
    assert not hasattr(module, "__path__")
    assert module.__spec__ is not None
    assert all(callable(vars(module)[name]) for name in SUPPORTED)


def test_torchvision_table_holds_its_own_kernels_and_plain_ones_for_the_rest() -> None:
    mixed, plain = extension("torchvision"), extension("plain")
    assert mixed.nms is not plain.nms
    assert mixed.roi_align_forward is not plain.roi_align_forward
    assert mixed.softnms is plain.softnms
    assert mixed.sigmoid_focal_loss_forward is plain.sigmoid_focal_loss_forward
