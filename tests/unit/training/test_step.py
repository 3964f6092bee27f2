"""One step: it stops before the optimiser when something is not finite, and clips without asking."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.terms import Terms
from ikd.errors import NonFiniteLoss
from ikd.training.optim import ScaledOptimWrapper, TrialOptimWrapper
from tests.unit.attack.toys import tiny
from tests.unit.distill.test_canvas import batch_of


class Line(nn.Module):
    """A model whose loss is `slope` times its weight."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.weight, self.slope = nn.Parameter(torch.ones(2)), slope

    def losses(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (self.weight * self.slope).sum()}


def wrapper_of(model: nn.Module, kind: type[TrialOptimWrapper] = TrialOptimWrapper, **options: Any) -> Any:
    return kind(torch.optim.SGD(model.parameters(), 0.5), model, **options)


def step(wrapper: Any, model: Line) -> Tensor | None:
    wrapper.backward(wrapper.losses(model, {})["loss"])
    norm: Tensor | None = wrapper.clip()
    wrapper.step()
    wrapper.zero_grad()
    return norm


def test_gradients_are_clipped_and_their_norm_is_returned() -> None:
    model = Line(slope=3.0)
    norm = step(wrapper_of(model, max_norm=1.0), model)
    assert norm is not None
    assert norm.item() == pytest.approx(3 * 2**0.5)
    assert model.weight.tolist() == pytest.approx([1 - 0.5 / 2**0.5] * 2)
    assert step(wrapper_of(model), model) is None, "nobody asked"


def test_a_scaled_step_is_left_out_when_it_overflows() -> None:
    model = Line()
    wrapper = wrapper_of(model, ScaledOptimWrapper, max_norm=35.0, autocast=torch.float16)
    assert step(wrapper, model) is None
    assert model.weight.tolist() == [0.5, 0.5], "scaled up and back"
    before = wrapper.loss_scaler.get_scale()
    model.slope = float("inf")
    step(wrapper, model)
    assert model.weight.tolist() == [0.5, 0.5]
    assert wrapper.loss_scaler.get_scale() == before / 2

    other = wrapper_of(Line(), ScaledOptimWrapper)
    other.load_state_dict(wrapper.state_dict())
    assert other.loss_scaler.get_scale() == before / 2


def student(seed: int = 0, name: str = "retinanet_r18") -> Any:
    made = tiny(name, seed)
    return made.requires_grad_(True)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_parameters()}


def test_a_gradient_that_is_not_finite_stops_before_the_optimiser() -> None:
    model = DistillDetector(student())
    model.position = (3, 7)
    before = state(model)
    weight = model.student.bbox_head.retina_reg.weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLoss, match=r"epoch 3, step 7: gradient=(nan|inf)"):
        model.train_step(batch_of((64, 64)), wrapper_of(model, max_norm=35.0))
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


def test_a_loss_that_is_not_finite_is_named_without_clipping() -> None:
    levels = [build_loss("fitnet", 16, 16, weight=1.0) for _ in range(5)]
    model = DistillDetector(student(), tiny("retinanet_r18", 1), Terms(range(5), range(5), host=("fitnet", levels)))
    before = state(model)
    for level in levels:
        level.loss.weight = float("inf")  # type: ignore[assignment]
    with pytest.raises(NonFiniteLoss, match=r"step 0: fitnet=inf|loss_fitnet=inf"):
        model.train_step(batch_of((64, 64)), wrapper_of(model))
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


@pytest.mark.parametrize("name", ["faster_rcnn_r18", "mask_rcnn_r18", "retinanet_r18"])
def test_a_student_of_nan_has_diverged_and_does_not_crash(name: str) -> None:
    """Weights that became NaN in between, as without clipping: the RoIs of a two-stage student are NaN then."""
    model = DistillDetector(student(name=name))
    next(model.student.parameters()).data.fill_(float("nan"))
    data = batch_of((64, 64), (64, 64))
    if model.student.with_mask if name == "mask_rcnn_r18" else False:
        from mmdet.structures.mask import BitmapMasks

        for sample in data["data_samples"]:
            sample.gt_instances.masks = BitmapMasks([torch.ones(64, 64).byte().numpy()], 64, 64)
    with pytest.raises(NonFiniteLoss, match="=nan"):
        model.train_step(data, wrapper_of(model))


def test_a_student_of_boxes_is_shown_no_masks_that_its_teacher_reads() -> None:
    """mmdet's assigner of RTMDet takes masks, where there are some, for tensors of its own."""
    from mmdet.structures.mask import BitmapMasks

    data, shown = batch_of((64, 64)), batch_of((64, 64))
    for sample in data["data_samples"]:
        count = len(sample.gt_instances)
        sample.gt_instances.masks = BitmapMasks(torch.ones(count, 64, 64).numpy().astype("uint8"), 64, 64)
    model = DistillDetector(student(name="rtmdet").train())
    found, expected = model.losses(data), model.losses(shown)
    assert {"loss_cls", "loss_bbox"} <= found.keys() == expected.keys()
    assert all("masks" in sample.gt_instances for sample in data["data_samples"]), "the teacher's are still there"
