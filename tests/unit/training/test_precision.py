"""Half precision, memory order, compilation: each acts, by no more than its rounding, and is refused where it can't."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.distill import precision
from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.precision import arrange, autocast_type, check_precision
from ikd.distill.terms import Terms
from ikd.errors import BadInput, ConfigError
from ikd.training import check, prepare, run_trial
from ikd.training.optim import ScaledOptimWrapper, TrialOptimWrapper, optim_wrapper
from tests.unit.attack.toys import tiny
from tests.unit.distill.heads import hyperparameters
from tests.unit.distill.test_canvas import batch_of

Build = Callable[..., Recipe]
Losses = dict[str, float]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def losses_of(recipe: Recipe, host: str = "fgd") -> Losses:
    """The losses of one batch, and the total gradient as `gradient`, of a pair arranged as the recipe asks."""
    student = tiny("retinanet_r18").requires_grad_(True)
    torch.manual_seed(3)
    levels = [build_loss(host, 16, 16) for _ in range(5)]
    terms = Terms(range(5), range(5), host=(host, levels), adversarial=[build_loss("adversarial", 16, 16)] * 5)
    model = arrange(DistillDetector(student, tiny("retinanet_r18", 1), terms), recipe)
    wrapper = optim_wrapper(recipe, model, CPU)
    data = batch_of((64, 96), (64, 64))
    data["adversarial"] = [255 - image for image in data["inputs"]]
    torch.manual_seed(4)
    with wrapper.optim_context(model):
        total, named = model.parse_losses(wrapper.losses(model, data))
    wrapper.backward(total)
    norm = wrapper.clip()
    assert norm is not None
    return {name: float(value.detach()) for name, value in named.items() if "loss" in name} | {"gradient": float(norm)}


def close(found: Losses, exact: Losses, bound: float) -> float:
    """Check every loss against a relative bound; return the largest deviation."""
    worst = max(abs(found[name] - value) / abs(value) for name, value in exact.items())
    assert worst <= bound, found
    return worst


@pytest.fixture(scope="module")
def exact(tiny_recipe: Build) -> Losses:
    return losses_of(tiny_recipe())


class TestAmp:
    """`schedule.amp`."""

    @pytest.mark.parametrize(
        ("amp", "on_cpu", "on_gpu"),
        [
            (False, None, None),
            (True, torch.bfloat16, torch.float16),
            ("bfloat16", torch.bfloat16, torch.bfloat16),
            ("float16", torch.float16, torch.float16),
        ],
    )
    def test_names_a_type(self, tiny_recipe: Build, amp: Any, on_cpu: Any, on_gpu: Any) -> None:
        recipe = tiny_recipe(schedule__amp=amp)
        assert autocast_type(recipe, CPU) is on_cpu
        assert autocast_type(recipe, CUDA) is on_gpu

    def test_only_float16_scales_the_loss(self, tiny_recipe: Build) -> None:
        model = torch.nn.Linear(1, 1)
        kinds = {
            amp: type(optim_wrapper(tiny_recipe(schedule__amp=amp), model, CUDA)) for amp in (False, True, "bfloat16")
        }
        assert kinds == {False: TrialOptimWrapper, True: ScaledOptimWrapper, "bfloat16": TrialOptimWrapper}

    def test_is_bounded(self, tiny_recipe: Build, exact: Losses) -> None:
        assert close(losses_of(tiny_recipe(schedule__amp="bfloat16")), exact, 0.05) > 0
        assert close(losses_of(tiny_recipe(schedule__amp=True)), exact, 0.05) > 0

    @pytest.mark.parametrize("host", ["mgd", "amd", "dmkd", "dfmsd"])
    def test_named_it_takes_generators_along(self, tiny_recipe: Build, host: str) -> None:
        full = losses_of(tiny_recipe(), host)
        before, with_generators = (losses_of(tiny_recipe(schedule__amp=amp), host) for amp in (True, "bfloat16"))
        name = f"loss_{host}"
        assert before[name] != with_generators[name]
        assert with_generators[name] == pytest.approx(full[name], rel=0.02)

    @pytest.mark.parametrize("host", ["fgd", "pkd"])
    def test_named_it_leaves_other_losses_alone(self, tiny_recipe: Build, host: str) -> None:
        before, after = (losses_of(tiny_recipe(schedule__amp=amp), host) for amp in (True, "bfloat16"))
        assert before == after

    def test_float16_on_a_cpu_is_refused(self, tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match=r"schedule\.amp: must not be float16 with device cpu; take bfloat16"):
            tiny_recipe(schedule__amp="float16", device="cpu")
        with pytest.raises(BadInput, match=r"schedule\.amp: must not be float16 on a CPU, but got 'float16'"):
            check_precision(tiny_recipe(schedule__amp="float16"), CPU)

    def test_bfloat16_on_an_old_gpu_is_refused(self, tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
        supported = True
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
        check_precision(tiny_recipe(schedule__amp="bfloat16"), CUDA)
        supported = False
        for field in ("schedule.amp", "distill.teacher_precision"):
            recipe = tiny_recipe().with_values({field: "bfloat16"})
            with pytest.raises(BadInput, match=rf"{field}: must not be bfloat16 on a Tesla V100.*take float16"):
                check_precision(recipe, CUDA)

    @pytest.mark.parametrize("value", ["fp16", 1, "float32"])
    def test_other_values_are_refused(self, tiny_recipe: Build, value: Any) -> None:
        with pytest.raises(ConfigError, match=r"schedule\.amp"):
            tiny_recipe(schedule__amp=value)


class TestTeacherPrecision:
    """`distill.teacher_precision`."""

    def test_bfloat16_moves_only_what_compares_with_the_teacher(self, tiny_recipe: Build, exact: Losses) -> None:
        found = losses_of(tiny_recipe(distill__teacher_precision="bfloat16"))
        assert close(found, exact, 0.05) > 0
        changed = {name for name, value in exact.items() if found[name] != value and name.startswith("loss_")}
        assert changed == {"loss_fgd", "loss_adversarial"}

    def test_float32_is_exact_under_amp(self, tiny_recipe: Build) -> None:
        follows, full = (
            losses_of(tiny_recipe(schedule__amp=True, distill__teacher_precision=value))
            for value in ("as_student", "float32")
        )
        assert follows["loss_cls"] == full["loss_cls"]
        assert follows["loss_fgd"] != full["loss_fgd"]

    def test_crosskd_runs_on_through_the_teachers_head(self, tiny_recipe: Build) -> None:
        from ikd.distill.crosskd.heads import CrossHeads

        found = {}
        for value in ("as_student", "bfloat16"):
            student, teacher = tiny("retinanet_r18").requires_grad_(True), tiny("retinanet_r18", 1)
            heads = CrossHeads(student, teacher, **hyperparameters())
            model = DistillDetector(student, teacher, Terms(heads=heads))
            arrange(model, tiny_recipe(distill__teacher_precision=value))
            found[value] = float(model.losses(batch_of((64, 64)))["loss_crosskd_cls"].detach())
        assert found["as_student"] != found["bfloat16"]
        assert found["as_student"] == pytest.approx(found["bfloat16"], rel=0.05)

    def test_other_values_are_refused(self, tiny_recipe: Build) -> None:
        with pytest.raises(ConfigError, match=r"distill\.teacher_precision"):
            tiny_recipe(distill__teacher_precision="half")
        with pytest.raises(ConfigError, match=r"distill\.teacher_precision: must not be float16 with device cpu"):
            tiny_recipe(distill__teacher_precision="float16", device="cpu")


class TestSpeed:
    """`schedule.channels_last` and `schedule.compile`."""

    @pytest.mark.parametrize("host", ["fgd", "mgd", "pkd", "fbkd", "cwd", "dfmsd", "nad"])
    def test_channels_last_only_rounds(self, tiny_recipe: Build, host: str) -> None:
        close(losses_of(tiny_recipe(schedule__channels_last=True), host), losses_of(tiny_recipe(), host), 1e-3)

    def test_channels_last_reaches_images_weights_and_teacher(self, tiny_recipe: Build) -> None:
        terms = Terms(range(5), range(5), adversarial=[build_loss("adversarial", 16, 16)] * 5)
        model = DistillDetector(tiny("retinanet_r18"), tiny("retinanet_r18", 1), terms)
        arrange(model, tiny_recipe(schedule__channels_last=True))
        last = {"memory_format": torch.channels_last}
        assert model.canvas(batch_of((64, 96)))["inputs"].is_contiguous(**last)
        for detector in (model.student, model.teacher):
            assert detector.backbone.conv1.weight.is_contiguous(**last)
            assert not detector.backbone.conv1.weight.is_contiguous()

    @pytest.mark.slow
    def test_a_compiled_backbone_only_rounds(
        self, tiny_recipe: Build, exact: Losses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precision, "COMPILER", "aot_eager")
        close(losses_of(tiny_recipe(schedule__compile=True)), exact, 1e-4)
        torch._dynamo.reset()

    def test_compiling_changes_no_name_and_takes_the_teacher_too(
        self, tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Any] = []
        monkeypatch.setattr(precision, "_compile", made.append)
        model = DistillDetector(tiny("retinanet_r18"), tiny("retinanet_r18", 1))
        names = set(model.state_dict())
        arrange(model, tiny_recipe(schedule__compile=True))
        assert made == [model.student.backbone, model.teacher.backbone]
        assert set(model.state_dict()) == names

    def test_what_is_compiled_does_not_hang_on_the_sizes_met_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        graphs: list[torch.fx.GraphModule] = []

        def count(graph: torch.fx.GraphModule, inputs: Any) -> Any:
            graphs.append(graph)
            return graph.forward

        monkeypatch.setattr(precision, "COMPILER", count)
        backbone = tiny("retinanet_r18").backbone
        precision._compile(backbone)
        for batch, side in ((8, 64), (6, 64), (8, 96)):
            backbone(torch.zeros(batch, 3, side, side))
        torch._dynamo.reset()
        assert len(graphs) == 1

    @pytest.mark.slow
    def test_a_trial_of_compiled_backbones_measures_pulls(
        self, tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precision, "COMPILER", "aot_eager")
        result = run_trial(tiny_recipe(schedule__compile=True, schedule__epochs=1), directory=tmp_path, threads=1)
        assert result.metrics["grad/fgd"] > 0

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with a C++ compiler")
    def test_machine_code_only_rounds(self, tiny_recipe: Build, exact: Losses) -> None:
        close(losses_of(tiny_recipe(schedule__compile=True)), exact, 1e-3)
        torch._dynamo.reset()

    def test_without_a_compiler_it_is_refused(self, tiny_recipe: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(precision, "has_triton", lambda: False)
        for device, lacking in ((CPU, r"C\+\+ compiler"), (CUDA, "triton")):
            with pytest.raises(BadInput, match=rf"schedule\.compile: must be false here: .*{lacking}"):
                check_precision(tiny_recipe(schedule__compile=True), device)

    def test_a_driver_without_a_gpu_rehearses_in_the_half_precision_it_has(self, tiny_recipe: Build) -> None:
        recipe = tiny_recipe(schedule__amp="float16", distill__teacher_precision="float16", schedule__compile=True)
        check(recipe)
        with pytest.raises(BadInput, match=r"schedule\.amp: must not be float16 on a CPU"):
            prepare(recipe.with_values({"device": "auto"}))
