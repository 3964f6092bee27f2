"""Detector families of other packages: found by their entry points, checked when they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.detectors import Family, Head, Neck, build_detector, detector_config, head_row, tap_names
from ikd.detectors.families import _OWN, Known
from ikd.errors import BadInput
from ikd.plugins import Plugin

ROOT = Path(__file__).resolve().parents[3]
TOY = """
from mmdet.models import RetinaHead
from mmdet.registry import MODELS
from torch import nn

from ikd.detectors import Family, Head, Neck


@MODELS.register_module()
class ToyNeck(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.outs = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)

    def forward(self, features):
        return tuple(out(feature) for out, feature in zip(self.outs, features))


@MODELS.register_module()
class ToyHead(RetinaHead):
    pass


def toy_r18(*, width: int = 8):
    return {
        "type": "RetinaNet",
        "data_preprocessor": {"type": "DetDataPreprocessor", "pad_size_divisor": 32},
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4, "out_indices": (1, 2, 3)},
        "neck": {"type": "ToyNeck", "in_channels": [8, 16, 32], "out_channels": width},
        "bbox_head": {
            "type": "ToyHead",
            "num_classes": 80,
            "in_channels": width,
            "feat_channels": width,
            "stacked_convs": 1,
            "anchor_generator": {
                "type": "AnchorGenerator", "scales": [4], "ratios": [1.0], "strides": [8, 16, 32],
            },
        },
        "test_cfg": {},
    }


FAMILY = Family(
    necks=(Neck("ToyNeck", "outs.*"),),
    heads=(Head("ToyHead", tensors_by_level=False),),
    zoo={"toy_r18": toy_r18},
)
"""
RECIPE = """
name: toy
data: {root: ikd::drawn}
student: {config: ikd::toy_r18, arguments: {width: 16}}
"""
ASKED = """
import sys
import torch
from ikd.config import load_recipe
import ikd.detectors as detectors
from ikd.errors import BadInput

assert "toy_det" not in sys.modules
student = load_recipe(sys.argv[1]).student
state = torch.get_rng_state()
config = detectors.detector_config(student.config, arguments=student.arguments, classes=["a", "b"])
assert torch.equal(torch.get_rng_state(), state)
detector = detectors.build_detector(config)
print(detectors.tap_names(detector), detectors.tap_channels(detector), detectors.tap_strides(detector))
print(detectors.head_row(detector.bbox_head), detector.bbox_head.num_classes)
try:
    detectors.detector_config("ikd::toy_r18", arguments={"widht": 16}, classes=["a"])
except BadInput as error:
    print(error)
"""


def ask(folder: Path, entry: str, module: str) -> subprocess.CompletedProcess[str]:
    """Ask for the toy's detector in a process that finds the package toy-det."""
    (folder / "toy_det").mkdir()
    (folder / "toy_det" / "__init__.py").write_text(module)
    (folder / "toy_det-0.1.dist-info").mkdir()
    (folder / "toy_det-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-det\nVersion: 0.1\n")
    (folder / "toy_det-0.1.dist-info" / "entry_points.txt").write_text(f"[ikd.detectors]\n{entry}\n")
    (folder / "toy.yaml").write_text(RECIPE)
    (folder / "ask.py").write_text(ASKED)
    command = [sys.executable, str(folder / "ask.py"), str(folder / "toy.yaml")]
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_family_of_another_package_is_built_from_a_recipe_and_tapped(tmp_path: Path) -> None:
    asked = ask(tmp_path, "toy = toy_det:FAMILY", TOY)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines() == [
        "['neck.outs.0', 'neck.outs.1', 'neck.outs.2'] [16, 16, 16] [8, 16, 32]",
        "Head(name='ToyHead', tensors_by_level=False, reads_border=False) 2",
        "ikd::toy_r18: unknown argument widht=16; allowed arguments and their defaults: width=8",
    ]


@pytest.mark.slow
def test_a_package_that_cannot_be_imported_is_named_when_detectors_are_asked_for(tmp_path: Path) -> None:
    asked = ask(tmp_path, "toy = toy_det:FAMILY", "import no_such_module")
    assert asked.returncode == 1
    assert "package toy-det: entry point ikd.detectors, toy: must be importable (toy_det:FAMILY)" in asked.stderr


def retinanet(**changes: Any) -> Any:
    arguments = {"base_channels": 4, "neck_channels": 8}
    return lambda: detector_config("ikd::retinanet_r18", arguments=arguments, overrides=changes, classes=["a"])


def fails() -> dict[str, Any]:
    raise RuntimeError("out of ideas")


BREACHES: dict[str, tuple[Any, str]] = {
    "no family": ({"necks": ()}, r"must be an ikd\.detectors\.Family, but got \{'necks': \(\)\}"),
    "no row of a neck": (Family(necks=("FPN",)), r"necks must be a tuple of ikd\.detectors\.Neck"),  # type: ignore[arg-type]
    "no tuple of heads": (Family(heads=[Head("A")]), r"heads must be a tuple of ikd\.detectors\.Head"),  # type: ignore[arg-type]
    "no function": (Family(zoo={"toy": 3}), "zoo must be a mapping of functions"),  # type: ignore[dict-item]
    "neck taken": (Family(necks=(Neck("FPN", "outs.*"),)), "neck a name that is not taken.*but got 'FPN'"),
    "head taken": (Family(heads=(Head("SABLRetinaHead"),)), "head a name that is not taken.*but got 'SABLRetinaHead'"),
    "head twice": (Family(heads=(Head("A"), Head("A"))), "head a name that is not taken.*but got 'A'"),
    "detector taken": (Family(zoo={"gfl_r18": dict}), "detector a name that is not taken.*but got 'gfl_r18'"),
    "no name": (Family(zoo={"toy r18": dict}), "of letters, digits and _, but got 'toy r18'"),
    "no default": (Family(zoo={"toy": lambda width: {}}), "toy must have a config by its defaults: ValidationError"),
    "failure": (Family(zoo={"toy": fails}), "toy must have a config by its defaults: RuntimeError: out of ideas"),
    "no mapping": (Family(zoo={"toy": lambda: [1]}), r"toy must return a mapping.*but got \[1\]"),  # type: ignore[dict-item,return-value]
    "no type": (Family(zoo={"toy": lambda: {}}), "toy must be one that mmdet can build: mmdet cannot build None"),
    "not built": (
        Family(zoo={"toy": retinanet(**{"neck.typo": 1})}),
        "toy must be one that mmdet can build: mmdet cannot build RetinaNet: TypeError",
    ),
    "no levels": (
        Family(necks=(Neck("PAFPN", "outs.*"),), zoo={"toy": retinanet(**{"neck.type": "PAFPN"})}),
        r"neck PAFPN must have a convolution at every level, but got 'outs\.\*'",
    ),
    "no convolutions": (
        Family(necks=(Neck("PAFPN", "fpn_convs.*.norm"),), zoo={"toy": retinanet(**{"neck.type": "PAFPN"})}),
        r"neck PAFPN must have a convolution at every level, but got 'fpn_convs\.\*\.norm'",
    ),
}


def own() -> Known:
    found = Known()
    found.add(_OWN)
    return found


@pytest.mark.parametrize("case", BREACHES)
def test_a_family_that_breaks_the_contract_is_refused_by_the_name_of_its_package(case: str) -> None:
    value, message = BREACHES[case]
    with pytest.raises(BadInput, match=r"^package toy-det: entry point ikd\.detectors, toy: .*" + message):
        own().register(Plugin("toy", "ikd.detectors", "toy-det", value))


def test_a_neck_that_no_detector_of_its_package_has_is_checked_when_it_is_tapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = own()
    found.register(Plugin("toy", "ikd.detectors", "toy-det", Family(necks=(Neck("PAFPN", "outs.*"),))))
    monkeypatch.setattr("ikd.detectors.taps.known", lambda: found)
    detector = build_detector(retinanet(**{"neck.type": "PAFPN"})())
    with pytest.raises(BadInput, match=r"package toy-det: .*neck PAFPN must have a convolution at every level"):
        tap_names(detector)


def test_a_second_package_cannot_take_the_name_of_the_first() -> None:
    found = own()
    found.register(Plugin("one", "ikd.detectors", "one-det", Family(heads=(Head("NewHead"),))))
    with pytest.raises(BadInput, match=r"package other-det: .*not taken.*'NewHead'"):
        found.register(Plugin("two", "ikd.detectors", "other-det", Family(heads=(Head("NewHead"),))))


def test_a_head_without_a_row_is_as_most_are() -> None:
    assert head_row(torch.nn.Identity()) == Head("Identity")
    assert head_row(None).tensors_by_level
