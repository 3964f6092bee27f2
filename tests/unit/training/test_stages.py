"""Teacher sequences: what a stage teaches, what it takes over, and what is never in memory together."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput
from ikd.training import EpochReport, StopTrial, load_teacher, perturb, prepare, resumable, run_trial
from tests.marks import some
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]
Metrics = dict[str, float]
TIMED = ("seconds/train", "seconds/val", "seconds/attack")


@pytest.fixture(scope="module")
def staged(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build recipes of two stages of one epoch: an untrained small teacher, then the trained one."""
    base = tiny_recipe()
    big = base.teachers.available["big"].model_dump(mode="json")
    small = {**big, "arguments": {**big["arguments"], "base_channels": 4}}
    weak = save_untrained(base, small, tmp_path_factory.mktemp("weak") / "weak.pth")
    available = {"big": big, "weak": {**small, "recipe": None, "checkpoint": str(weak)}}

    def build(**changes: Any) -> Recipe:
        values = {
            "teachers__available": available,
            "teachers__sequence": ["weak", "big"],
            "adversarial__enabled": False,
        }
        return tiny_recipe(**(values | changes))

    return build


def curve(recipe: Recipe, directory: Path, **arguments: Any) -> list[Metrics]:
    reports: list[EpochReport] = []
    run_trial(recipe, reports.append, directory=directory, **arguments)
    return [{name: value for name, value in one.metrics.items() if name not in TIMED} for one in reports]


def first_epoch(recipe: Recipe, directory: Path) -> Metrics:
    """Return what the first epoch reports; the training ends there."""
    found: list[Metrics] = []

    def report(one: EpochReport) -> None:
        found.append({name: value for name, value in one.metrics.items() if name not in TIMED})
        raise StopTrial

    run_trial(recipe, report, directory=directory)
    return found[0]


@pytest.fixture(scope="module")
def plain(staged: Build, tmp_path_factory: pytest.TempPathFactory) -> list[Metrics]:
    return curve(staged(), tmp_path_factory.mktemp("plain"))


def in_parts(recipe: Recipe, folder: Path, *stops: int) -> list[Metrics]:
    """Train a recipe, stopped after some epochs and taken up from its checkpoint each time."""
    found: list[Metrics] = []

    def report(one: EpochReport) -> None:
        found.append({name: value for name, value in one.metrics.items() if name not in TIMED})
        if one.epoch in stops:
            raise StopTrial

    for stop in stops:
        last = run_trial(recipe, report, resumable(folder), directory=folder)
        assert last.epochs == stop
    run_trial(recipe, report, resumable(folder), directory=folder)
    return found


def test_each_stage_has_its_teacher(staged: Build, plain: list[Metrics], tmp_path: Path) -> None:
    assert [report["stage"] for report in plain] == [1.0, 2.0]
    one = curve(staged(teachers__sequence=["weak"], schedule__epochs=2), tmp_path / "one")
    other = first_epoch(staged(teachers__sequence=["big", "weak"]), tmp_path / "other")
    assert plain[0]["loss/fgd"] == pytest.approx(one[0]["loss/fgd"], rel=1e-6), "the first stage is the weak teacher's"
    assert plain[1]["loss/fgd"] != pytest.approx(one[1]["loss/fgd"], rel=1e-3), "the second is not"
    assert plain[0]["loss/fgd"] != pytest.approx(other["loss/fgd"], rel=1e-3), "the order counts"


def test_teachers_are_never_in_memory_together(staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.nn.Module]] = []

    def spy(*args: Any) -> torch.nn.Module:
        gc.collect()
        assert [one for one in alive if one() is not None] == []
        teacher = load_teacher(*args)
        alive.append(weakref.ref(teacher))
        return teacher

    monkeypatch.setattr("ikd.training.stage.load_teacher", spy)
    curve(staged(), tmp_path)
    assert len(alive) == 2


def weights_at_start(recipe: Recipe, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Return the weights of the model at the first step of each stage, and those at the end."""
    prepare(recipe)  # a teacher that is trained now would be spied on too
    found: list[dict[str, torch.Tensor]] = []
    seen: set[int] = set()
    original = DistillDetector.train_step

    def spy(self: DistillDetector, data: Any, optim_wrapper: Any) -> Any:
        if self.position[0] not in seen:
            seen.add(self.position[0])
            found.append({name: value.clone() for name, value in self.state_dict().items()})
        return original(self, data, optim_wrapper)

    monkeypatch.setattr(DistillDetector, "train_step", spy)
    result = run_trial(recipe, stop_after_first, directory=directory)
    ended = torch.load(result.last, weights_only=True)["model"]
    run_trial(recipe, None, result.last, directory=directory)
    return [found[0], ended, found[1]]


def stop_after_first(report: EpochReport) -> None:
    if report.epoch == 1:
        raise StopTrial


@pytest.mark.parametrize("restart", some([False, True], 1))
def test_the_student_carries_over_and_losses_restart(
    staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    recipe = staged(teachers__restart_losses=restart, schedule__optimizer__lr=0.01)
    _, ended, second = weights_at_start(recipe, tmp_path, monkeypatch)
    student = [name for name in ended if name.startswith("student.")]
    assert [name for name in student if not torch.equal(ended[name], second[name])] == []
    trained = "host.0.loss.student_context.expand.weight"  # zero when it starts
    assert ended[trained].abs().sum() > 0
    assert torch.equal(ended[trained], second[trained]) is not restart
    assert bool(second[trained].abs().sum() == 0) is restart


@pytest.fixture(scope="module")
def spans(staged: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Metrics]]]:
    """Folder and reports of four epochs under a schedule of each span."""
    folder = tmp_path_factory.mktemp("spans")
    return {span: (folder / span, curve(of_span(staged, span), folder / span)) for span in ("whole", "stage")}


def of_span(staged: Build, span: str) -> Recipe:
    return staged(schedule__epochs=4, schedule__policy={"type": "cosine", "span": span})


@pytest.mark.parametrize("span", some(["whole", "stage"], 1))
def test_a_sequence_stopped_and_resumed_equals_an_uninterrupted_one(
    staged: Build, spans: dict[str, tuple[Path, list[Metrics]]], tmp_path: Path, span: str
) -> None:
    """Stopped within the first stage, at its end, and within the second."""
    folder, whole = spans[span]
    assert in_parts(of_span(staged, span), tmp_path, 1, 2, 3) == whole
    weights = [torch.load(path / "last.pth", weights_only=True)["model"] for path in (folder, tmp_path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_schedule_spans_the_whole_or_each_stage(spans: dict[str, tuple[Path, list[Metrics]]]) -> None:
    assert all([report["stage"] for report in reports] == [1, 1, 2, 2] for _, reports in spans.values())
    rates = {span: [report["lr"] for report in reports] for span, (_, reports) in spans.items()}
    assert rates["whole"] == sorted(rates["whole"], reverse=True)
    assert rates["stage"][:2] == pytest.approx(rates["stage"][2:])


@pytest.mark.slow
def test_momentum_goes_on_with_a_whole_schedule_alone(staged: Build, tmp_path: Path) -> None:
    constant = {"type": "constant"}
    curves = {
        span: curve(staged(schedule__policy={**constant, "span": span}), tmp_path / span) for span in ("whole", "stage")
    }
    assert curves["whole"][0] == curves["stage"][0]
    assert curves["whole"][1] != curves["stage"][1], "the rate is the same, the optimiser's state is not"


@pytest.mark.parametrize(
    ("sequence", "changes", "stages"),
    [
        ([{"teacher": "weak", "share": 0.25}, {"teacher": "big", "share": 0.75}], {}, [1, 2, 2, 2]),
        (["weak", "big"], {"schedule__epochs_per_stage": 1}, [1, 2]),
        pytest.param(["weak", "big", "weak", "big"], {}, [1, 2, 3, 4], marks=pytest.mark.slow),
    ],
)
def test_epochs_of_the_stages(
    staged: Build, tmp_path: Path, sequence: list[Any], changes: dict[str, Any], stages: list[int]
) -> None:
    recipe = staged(**{"teachers__sequence": sequence, "schedule__epochs": 4, **changes})
    assert [report["stage"] for report in curve(recipe, tmp_path)] == stages


def test_a_stage_has_its_own_terms(staged: Build, plain: list[Metrics], tmp_path: Path) -> None:
    second = {"teacher": "big", "set": {"distill.host": "pkd", "distill.pkd.weight": 2.0}}
    found = curve(staged(teachers__sequence=["weak", second]), tmp_path)
    assert found[0]["loss/fgd"] == plain[0]["loss/fgd"]
    assert "loss/pkd" in found[1]
    assert "loss/fgd" not in found[1]


def test_each_stage_has_perturbations_against_its_own_teacher(staged: Build) -> None:
    stages = prepare(staged(adversarial__enabled=True)).stages
    folders = [stage.perturbations for stage in stages]
    assert None not in folders
    assert folders[0] != folders[1]


def test_perturbations_are_named_by_teacher_where_a_stage_uses_them(staged: Build) -> None:
    both = staged(adversarial__enabled=True)
    first, second = (stage.perturbations for stage in prepare(both).stages)
    assert perturb(both) == {"weak": first, "big": second}
    off = {"teacher": "big", "set": {"adversarial.enabled": False}}
    assert perturb(both.with_values({"teachers.sequence": ["weak", off]})) == {"weak": first}
    assert perturb(staged()) == {}


class TestMaskingEnhancement:
    """ME of DFMSD acts in the stages asked for, on what the previous teacher sees."""

    def altered(self, recipe: Recipe, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Return the share of images altered in each epoch."""
        prepare(recipe)
        counts: dict[int, list[bool]] = {}
        original = DistillDetector.losses

        def spy(self: DistillDetector, data: Any) -> Any:
            flags = [bool(sample.metainfo.get("enhanced")) for sample in data["data_samples"]]
            counts.setdefault(self.position[0], []).extend(flags)
            return original(self, data)

        monkeypatch.setattr(DistillDetector, "losses", spy)
        curve(recipe, directory)
        return [sum(counts[epoch]) / len(counts[epoch]) for epoch in sorted(counts)]

    def recipe(self, staged: Build, **changes: Any) -> Recipe:
        values = {"distill__me__enabled": True, "augment__stop_fraction": 0.0, "augment__noise__probability": 1.0}
        return staged(**(values | changes))

    @pytest.mark.parametrize(("stages", "expected"), some([("first", [1, 0]), ("last", [0, 1]), ("both", [1, 1])], 1))
    def test_stages(
        self, staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: str, expected: list[int]
    ) -> None:
        recipe = self.recipe(staged, distill__me__stages=stages, augment__crop__probability=1.0)
        assert self.altered(recipe, tmp_path, monkeypatch) == expected

    def test_theta_and_score_decide_between_noise_and_crop(
        self, staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only noise is on: an image that shows more than theta is left alone."""
        noise_only = {"augment__crop__enabled": False, "teachers__sequence": ["big", "weak"]}
        unsure = self.recipe(staged, distill__me__min_score=1.0, **noise_only)
        assert self.altered(unsure, tmp_path / "unsure", monkeypatch) == [0, 1]
        seen = self.recipe(staged, distill__me__min_score=0.0, distill__me__theta=1e-6, **noise_only)
        assert self.altered(seen, tmp_path / "seen", monkeypatch)[1] < 0.5
        high = self.recipe(staged, distill__me__min_score=0.0, distill__me__theta=100.0, **noise_only)
        assert self.altered(high, tmp_path / "high", monkeypatch) == [0, 1]

    def test_the_boxes_are_the_previous_teachers(self, staged: Build) -> None:
        made = prepare(self.recipe(staged, distill__me__stages="both")).stages
        assert made[0].boxes == made[1].boxes, (
            "the first stage has only its own teacher, which is the second's previous"
        )
        reverse = prepare(self.recipe(staged, teachers__sequence=["big", "weak"])).stages
        assert reverse[0].boxes is None
        assert reverse[1].boxes not in (None, made[1].boxes)

    def test_beta_weighs_altered_images(self, staged: Build, tmp_path: Path) -> None:
        losses = []
        for beta in (1e-5, 3e-5):
            changes = {"distill__host": "dfmsd", "distill__dfmsd__beta": beta, "augment__crop__probability": 1.0}
            losses.append([one["loss/dfmsd"] for one in curve(self.recipe(staged, **changes), tmp_path / str(beta))])
        assert losses[0][0] == losses[1][0], "no image is altered in the first stage"
        assert losses[1][1] > 2 * losses[0][1]
        follows = {"distill__host": "dfmsd", "distill__dfmsd__alpha": 3e-5, "augment__crop__probability": 1.0}
        assert (
            self.recipe(staged, **follows).fingerprint()
            == self.recipe(staged, **follows, distill__dfmsd__beta=3e-5).fingerprint()
        ), "null is alpha"

    @pytest.mark.slow
    def test_added_images_have_a_pass_and_a_loss_of_their_own(self, staged: Build, tmp_path: Path) -> None:
        def recipe(**changes: Any) -> Recipe:
            values = {"distill__host": "dfmsd", "distill__me__form": "added", "augment__crop__probability": 1.0}
            return self.recipe(staged, **values, **changes)

        first, second = curve(recipe(distill__dfmsd__beta=1e-5), tmp_path / "beta")
        assert "loss/me" not in first
        stronger = curve(recipe(distill__dfmsd__beta=3e-5), tmp_path / "stronger")
        beta = "weight/dfmsd_beta_effective"  # of no image in the first stage
        assert stronger[0] == first | {beta: pytest.approx(3 * first[beta])}
        assert stronger[1]["loss/me"] == pytest.approx(3 * second["loss/me"], rel=0.2)
        assert stronger[1]["loss/dfmsd"] == pytest.approx(second["loss/dfmsd"], rel=0.1), "alpha weighs the clean ones"
        plain = curve(staged(distill__host="dfmsd", augment__enabled=False), tmp_path / "plain")
        assert second["loss/cls"] == pytest.approx(plain[1]["loss/cls"], rel=0.05), "detection is that of clean images"
        assert recipe().fingerprint() == recipe(distill__dfmsd__beta=2e-5).fingerprint(), "null is alpha"

    def test_it_ends_by_its_own_fraction(self, staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recipe = self.recipe(
            staged,
            distill__me={"enabled": True, "stages": "both", "stop_fraction": 0.5},
            schedule__epochs=4,
            augment__crop__probability=1.0,
        )
        assert self.altered(recipe, tmp_path, monkeypatch) == [1, 0, 1, 0]

    @pytest.mark.parametrize("form", some(["added", "replaced"], 1))
    def test_the_shares_of_altered_images_are_metrics(self, staged: Build, tmp_path: Path, form: str) -> None:
        changes = {"distill__me": {"enabled": True, "form": form}, "augment__crop__enabled": False}
        first, second = curve(self.recipe(staged, **changes, distill__host="dfmsd"), tmp_path)
        assert "me/noise_share" not in first
        assert second["me/crop_share"] == 0
        assert 0 < second["me/noise_share"] <= 1
        assert "augment/crop_share" in first, "IKD's rule, where enhancement is not at work"
        assert "augment/crop_share" not in second


class TestSemanticAlignment:
    """SFA: off, an extra loss, or standardised inputs, on chosen levels."""

    def test_modes_levels_and_weight_act(self, staged: Build, plain: list[Metrics], tmp_path: Path) -> None:
        def losses(name: str, **changes: Any) -> Metrics:
            values = {f"distill__sfa__{key}": value for key, value in changes.items()}
            return first_epoch(staged(distill__sfa__enabled=True, **values), tmp_path / name)

        extra = losses("extra", levels=[0, 1])
        assert extra["loss/fgd"] == pytest.approx(plain[0]["loss/fgd"], rel=0.05)
        assert extra["loss/sfa"] > 0
        assert losses("level", levels=[0])["loss/sfa"] < extra["loss/sfa"]
        assert losses("weight", levels=[0, 1], weight=20.0)["loss/sfa"] > 1.5 * extra["loss/sfa"]
        inputs = losses("inputs", levels=[0, 1], mode="standardise_inputs")
        assert "loss/sfa" not in inputs
        assert inputs["loss/fgd"] != pytest.approx(plain[0]["loss/fgd"], rel=0.05)

    def test_levels_that_do_not_exist_are_refused_before_training(self, staged: Build) -> None:
        with pytest.raises(BadInput, match=r"distill\.sfa\.levels: must be among 0\.\.2.*strides 8, 16, 32.*but got 3"):
            prepare(staged(distill__sfa__enabled=True, distill__sfa__levels=[0, 3]))


def copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("between", ["restart", "carry", "adopt"])
@pytest.mark.slow
def test_what_a_new_teacher_finds_of_the_average(
    staged: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """It goes on, begins anew at the student, or takes the student's place; and resumed it is no other."""
    ema = {"enabled": True, "momentum": 0.1, "warmup": "none", "between_stages": between}
    recipe = staged(schedule__ema=ema, schedule__optimizer__lr=0.01)
    prepare(recipe)
    found: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
    original = DistillDetector.train_step

    def spy(self: DistillDetector, data: Any, optim_wrapper: Any) -> Any:
        if self.position[1] == 1 and self.average is not None:
            found.append((copied(self.student), copied(self.average.module)))
        return original(self, data, optim_wrapper)

    monkeypatch.setattr(DistillDetector, "train_step", spy)
    result = run_trial(recipe, stop_after_first, directory=tmp_path / "parts")
    ended = torch.load(result.last, weights_only=True)
    run_trial(recipe, None, result.last, directory=tmp_path / "parts")
    student, average = found[1]
    name = "bbox_head.retina_cls.weight"
    before = ended["model"][f"student.{name}"], ended["average"]["model"][name]
    assert not torch.equal(*before)
    assert torch.equal(student[name], before[1 if between == "adopt" else 0])
    assert torch.equal(average[name], before[0 if between == "restart" else 1])
    whole = run_trial(recipe, None, directory=tmp_path / "whole")
    last = [torch.load(path / "last.pth", weights_only=True) for path in (tmp_path / "parts", tmp_path / "whole")]
    assert whole.epochs == 2
    for ours, theirs in ([one["average"]["model"] for one in last], [one["model"] for one in last]):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("span", ["stage", "whole"])
@pytest.mark.slow
def test_groups_of_parameters_go_on_in_the_next_stage(staged: Build, tmp_path: Path, span: str) -> None:
    """Rates of all groups go on, or begin anew; stopped at any epoch the training is no other."""
    optimizer = {
        "type": "adamw",
        "lr": 1e-3,
        "norm_decay": False,
        "bias_decay": False,
        "lr_mult": {"backbone": 0.1},
    }
    recipe = staged(
        schedule__epochs=4,
        schedule__optimizer=optimizer,
        schedule__policy={"type": "cosine", "floor": 0.1, "span": span},
    )
    whole = curve(recipe, tmp_path / "whole")
    groups = torch.load(tmp_path / "whole" / "last.pth", weights_only=True)["optimizer"]["param_groups"]
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates["lr x0.1"] == pytest.approx(0.1 * rates["rest"])
    assert rates["lr x0.1, no decay"] == pytest.approx(rates["lr x0.1"])
    assert {group["weight_decay"] for group in groups if "no decay" in group["name"]} == {0.0}
    assert in_parts(recipe, tmp_path / "parts", 1, 2, 3) == whole
