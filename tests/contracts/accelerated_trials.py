"""Whole trials on an accelerator: no operation mixes devices, and a step waits for the device once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from mmengine.runner.loops import EpochBasedTrainLoop

from ikd.config import Recipe
from ikd.training import run_trial
from tests.contracts.pretend_accelerator import Away, MixedDevices, Notes, accelerator, device, noted
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
Detector = dict[str, Any]
SMALL = {"base_channels": 4, "neck_channels": 16}
CAFFE = {
    "data_preprocessor.mean": [103.53, 116.28, 123.675],
    "data_preprocessor.std": [1.0, 1.0, 1.0],
    "data_preprocessor.bgr_to_rgb": False,
}
PLAIN = {"augment__enabled": False, "adversarial__enabled": False}
NOT_OURS = ("mmdet/", "ikd/ops/", "mmengine/structures/", "backward  aten.index_put", "ikd/distill/gradients.py")
"""Assigners, samplers and losses of mmdet wait as they like, and so do the kernels that stand in for mmcv's. An index
by a mask waits in its backward pass again, where no code of anybody is at work; its forward pass has shown whose.
How hard each term pulls is measured once an epoch."""


def shipped(name: str, **more: Any) -> Detector:
    arguments = {**SMALL, **more.pop("arguments", {})}
    return {"config": f"ikd::{name}", "arguments": arguments, **more}


@pytest.fixture(scope="module")
def trial(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Notes]:
    """Train a recipe of any pair on the pretend accelerator; return what its steps asked of it."""
    base = tiny_recipe()

    def run(student: Detector, *teachers: Detector, **changes: Any) -> Notes:
        folder = tmp_path_factory.mktemp("trial")
        available = {
            f"t{index}": {**one, "checkpoint": str(save_untrained(base, one, folder / f"{index}.pth"))}
            for index, one in enumerate(teachers)
        }
        values = {
            "student__config": student["config"],
            "student__arguments": student["arguments"],
            "teachers__available": available,
            "teachers__sequence": list(available),
            "schedule__epochs": max(1, len(teachers)),
            "augment__stop_fraction": 1.0,
        }
        recipe = tiny_recipe(**(values | changes))
        notes = Notes()
        with accelerator(), counted(notes):
            run_trial(recipe, directory=folder / "trial", threads=1)
        return notes

    return run


class counted:  # noqa: N801 - reads as what it does
    """Note what the training steps ask, hooks and optimiser included."""

    def __init__(self, notes: Notes) -> None:
        self.notes, self.patch = notes, pytest.MonkeyPatch()

    def __enter__(self) -> None:
        original, notes = EpochBasedTrainLoop.run_iter, self.notes

        def run_iter(loop: Any, index: int, batch: Any) -> None:
            notes.steps += 1
            with noted(notes):
                original(loop, index, batch)

        self.patch.setattr(EpochBasedTrainLoop, "run_iter", run_iter)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def check(notes: Notes) -> None:
    assert notes.steps
    waits = {line: count for line, count in notes.waits.items() if not line.startswith(NOT_OURS)}
    assert sum(waits.values()) <= notes.steps, waits
    lists = {line: count for line, count in notes.lists.items() if not line.startswith(NOT_OURS)}
    assert not lists, "numbers copied to the device one list at a time"


RETINA = shipped("retinanet_r18")


def test_everything_of_ikd(trial: Callable[..., Notes]) -> None:
    check(trial(RETINA, RETINA, distill__host="fgd"))


@pytest.mark.slow
@pytest.mark.parametrize("host", ["mgd", "fbkd", "cwd", "pkd", "fitnet", "amd", "dmkd", "nad", "crosskd"])
def test_every_host(trial: Callable[..., Notes], host: str) -> None:
    check(trial(RETINA, RETINA, distill__host=host, **PLAIN))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["extra_loss", "standardise_inputs"])
def test_stages_with_enhancement_and_alignment(trial: Callable[..., Notes], mode: str) -> None:
    late = [{"teacher": "t0"}, {"teacher": "t1", "set": {"adversarial.enabled": True}}]
    changes = {"distill__me__enabled": True, "distill__sfa": {"enabled": True, "mode": mode, "levels": [0, 1]}}
    host = {"distill__host": "dfmsd", "teachers__sequence": late}
    check(trial(RETINA, RETINA, shipped("retinanet_r18", arguments={"depth": 34}), **host, **changes, **PLAIN))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["faster_rcnn", "mask_rcnn", "gfl", "atss", "reppoints", "fcos"])
def test_every_family(trial: Callable[..., Notes], family: str) -> None:
    one = shipped(f"{family}_r18")
    check(trial(one, one, distill__host="fgd"))


@pytest.mark.slow
def test_a_cascade_with_masks(trial: Callable[..., Notes]) -> None:
    masks = shipped("cascade_rcnn_r18", arguments={"masks": True})
    check(trial(masks, masks, distill__host="mgd"))
    check(trial(RETINA, masks, distill__host="mgd"))


@pytest.mark.slow
def test_a_teacher_of_another_normalisation(trial: Callable[..., Notes]) -> None:
    check(trial(RETINA, shipped("retinanet_r18", overrides=CAFFE), distill__host="pkd"))


class TestTheAccelerator:
    """What the trials rely on."""

    @pytest.fixture(autouse=True)
    def on(self) -> Iterator[None]:
        with accelerator():
            yield

    def test_refuses_two_devices(self) -> None:
        with pytest.raises(MixedDevices, match=r"aten\.add.*\[\(3,\)\] on the CPU.*accelerated_trials"):
            torch.ones(3, device=device()) + torch.ones(3)
        with pytest.raises(MixedDevices, match=r"aten\.index"):
            torch.arange(3)[torch.ones(3, dtype=torch.bool, device=device())]
        assert torch.arange(3, device=device())[torch.ones(3, dtype=torch.bool)].shape == (3,)
        with pytest.raises(TypeError, match="numpy"):
            torch.ones(3, device=device()).numpy()

    def test_counts_waits_and_lists(self) -> None:
        notes = Notes()
        with noted(notes):
            ones = torch.ones(3, device=device())
            ones.requires_grad_()
            (ones * 2).sum().backward()  # type: ignore[no-untyped-call]
            assert isinstance(ones.grad, Away)
            assert not notes.waits
            assert ones.grad.sum().item() == 6
            assert (ones > 0).nonzero().shape == (3, 1)
            assert ones.detach()[ones.detach() > 0].shape == (3,)
            assert ones.cpu().tolist() == [1.0, 1.0, 1.0]
            ones.new_tensor([1.0, 2.0])
        assert sum(notes.waits.values()) == 4
        assert sum(notes.lists.values()) == 1
