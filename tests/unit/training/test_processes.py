"""One trial in several processes: the gradient of the whole batch, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.errors import BadInput, CheckpointError, NonFiniteLoss
from ikd.training import EpochReport, StopTrial, check_processes, prepare, processes, resumable, run_trial
from ikd.training import averaging as shared
from ikd.training.checkpoint import load
from ikd.training.optim import TrialOptimWrapper
from ikd.training.processes import Task, _Other, crew
from ikd.trial import TrialOptions
from tests.processes import children

Build = Callable[..., Recipe]
Gradients = list[torch.Tensor]
ARGUMENTS = {"base_channels": 4, "neck_channels": 16}


def followers() -> list[int]:
    """Return the further training processes of this one."""
    found = []
    for pid in children(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"ikd.training.follow" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    assert followers() == []
    assert not torch.distributed.is_initialized()


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Build) -> Recipe:
    """A student that counts positives over all processes, its batch norm frozen, all images of one size.

    Then nothing depends on how a batch is shared.
    """
    built = tiny_recipe(
        student__config="ikd::fcos_r18",
        student__arguments=ARGUMENTS,
        student__overrides={"backbone.norm_eval": True},
        adversarial__enabled=False,
        augment__crop__enabled=False,
        schedule__epochs=3,
        schedule__batch_size=14,  # of 15 images with boxes: both take seven, then both the last one
        schedule__optimizer__type="sgd",  # AdamW makes a large difference of a small one
        schedule__optimizer__lr=1e-4,
    )
    assert isinstance(built, Recipe)
    prepare(built)  # its teacher is trained in this process too, which nobody is to count
    return built


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Gradients:
    """The gradient of each step, as the optimiser gets it."""
    found: Gradients = []
    original = TrialOptimWrapper.clip

    def spy(wrapper: TrialOptimWrapper) -> torch.Tensor | None:
        parameters = [one for group in wrapper.param_groups for one in group["params"]]
        found.append(torch.cat([one.grad.flatten() for one in parameters if one.grad is not None]))
        return original(wrapper)

    monkeypatch.setattr(TrialOptimWrapper, "clip", spy)
    return found


def run(
    recipe: Recipe, directory: Path, stop: int = 99, checkpoint: Path | None = None, **options: Any
) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []

    def note(report: EpochReport) -> None:
        found.append({name: value for name, value in report.metrics.items() if not name.startswith("seconds/")})
        if report.epoch == stop:
            raise StopTrial

    run_trial(recipe, note, checkpoint, directory=directory, options=TrialOptions(**options))
    return found


def test_two_processes_take_the_step_of_one_and_a_killed_one_ends_the_trial(
    recipe: Recipe, tmp_path: Path, gradients: Gradients
) -> None:
    single = run(recipe, tmp_path / "one", stop=1)
    alone = list(gradients)
    gradients.clear()
    found: list[EpochReport] = []

    def kill(report: EpochReport) -> None:
        found.append(report)
        (other,) = followers()
        os.kill(other, signal.SIGKILL)

    directory = tmp_path / "two"
    loading = recipe.with_values({"schedule.workers": 1})  # each process has a loader of its own, forked from it
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="training process 1 was killed by SIGKILL"):
        run_trial(loading, kill, directory=directory, options=TrialOptions(processes=2))
    assert time.monotonic() - began < 100, "nobody waits for the dead"

    assert len(alone) == 2
    for averaged, reference in zip(gradients, alone, strict=False):
        assert torch.linalg.vector_norm(averaged - reference) < 1e-4 * torch.linalg.vector_norm(reference)
    for name in ("loss/cls", "loss/bbox", "loss/centerness", "loss/fgd", "loss/total"):
        assert found[0].metrics[name] == pytest.approx(single[0][name], rel=1e-5), "the mean over the parts"

    last = resumable(directory)
    assert last is not None
    assert load(last)["epoch"] == 1
    assert load(last)["iteration"] == 2, "as many steps as one process takes"


@pytest.mark.slow
def test_two_processes_resumed_equal_two_uninterrupted(recipe: Recipe, tmp_path: Path) -> None:
    whole = run(recipe, tmp_path / "whole", processes=2)
    parts = run(recipe, tmp_path / "parts", stop=1, processes=2)
    parts += run(recipe, tmp_path / "parts", checkpoint=tmp_path / "parts" / "last.pth", processes=2)
    assert parts == whole
    weights = [load(tmp_path / name / "last.pth")["model"] for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all(recipe: Recipe, tmp_path: Path) -> None:
    diverging = recipe.with_values({"distill.fgd.alpha": 3e38, "distill.fgd.beta": 3e38})
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, step 1: loss_fgd="):
        run(diverging, tmp_path, processes=2)


def task_of(recipe: Recipe, folder: Path, **changes: Any) -> Task:
    task = Task(recipe, prepare(recipe), folder / "trial", ("bbox_mAP", "max"), None, folder, processes=2, threads=1)
    return replace(task, **changes)


@pytest.mark.slow
def test_an_error_elsewhere_is_raised_here(recipe: Recipe, tmp_path: Path) -> None:
    """The other process finds no checkpoint, while this one waits for it."""
    task = task_of(recipe, tmp_path, start=tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match=r"absent\.pth: must be a whole checkpoint"), crew(task):
        torch.distributed.barrier()


@pytest.mark.slow
def test_an_error_here_ends_the_others(recipe: Recipe, tmp_path: Path) -> None:
    seen: list[int] = []

    def fail() -> None:
        with crew(task_of(recipe, tmp_path)):
            seen.extend(followers())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(seen) == 1


@pytest.mark.slow
def test_the_others_end_when_the_first_process_dies(recipe: Recipe, tmp_path: Path) -> None:
    """Its end of the pipe closes, however it dies."""
    other = _Other(replace(task_of(recipe, tmp_path), rank=1))
    try:
        while not (tmp_path / "ready-1").exists():
            assert not other.ended
            time.sleep(0.05)
        assert other._process.stdin is not None
        other._process.stdin.close()
        assert other._process.wait(timeout=30) == -signal.SIGKILL
    finally:
        other.end()


@pytest.mark.parametrize(
    ("processes", "changes", "message"),
    [
        (0, {}, r"processes: must be 1 or more, but got 0"),
        (3, {}, r"schedule\.batch_size: must be a multiple of the 3 processes .* but got 14"),
        (2, {"device": "cuda"}, r"processes: must be at most the 1 GPUs that this trial sees, but got 2"),
    ],
)
def test_processes_that_cannot_be_are_refused(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, processes: int, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadInput, match=message):
        check_processes(recipe.with_values(changes), processes)


class TestJoining:
    """What a process does to become one of the trial's, gloo's or NCCL's."""

    NAMES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TORCH_NCCL_ASYNC_ERROR_HANDLING")

    def joined(self, monkeypatch: pytest.MonkeyPatch, task: Task, kind: str) -> dict[str, Any]:
        """Join; return what the group was made with, and under which environment."""
        found: dict[str, Any] = {}

        def init(backend: str, **arguments: Any) -> None:
            found.update(arguments, backend=backend, environment={name: os.environ.get(name) for name in self.NAMES})

        monkeypatch.setattr(processes, "device_of", lambda recipe: torch.device(kind))
        monkeypatch.setattr(torch.cuda, "set_device", lambda rank: found.update(chosen=rank))
        monkeypatch.setattr(torch.distributed, "init_process_group", init)
        processes.join(task)
        return found

    @pytest.mark.parametrize(
        ("kind", "backend", "device"), [("cpu", "gloo", None), ("cuda", "nccl", torch.device("cuda", 1))]
    )
    def test_only_this_machine_is_listened_to(
        self, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, backend: str, device: Any
    ) -> None:
        task = Task(recipe, None, tmp_path, ("bbox_mAP", "max"), None, tmp_path, 2, 1, rank=1)  # type: ignore[arg-type]
        found = self.joined(monkeypatch, task, kind)
        assert found["backend"] == backend
        assert found["device_id"] == device, "NCCL connects now, under this environment, and knows its device"
        assert found.get("chosen") == (1 if device else None)
        assert found["environment"] == dict(zip(self.NAMES, ("lo", "lo", "2"), strict=True))
        assert not any(name in os.environ for name in self.NAMES)

    def test_what_a_person_has_set_holds(self, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth1")
        task = Task(recipe, None, tmp_path, ("bbox_mAP", "max"), None, tmp_path, 2, 1)  # type: ignore[arg-type]
        assert self.joined(monkeypatch, task, "cuda")["environment"]["NCCL_SOCKET_IFNAME"] == "eth1"
        assert os.environ["NCCL_SOCKET_IFNAME"] == "eth1"


def test_what_a_broken_group_returned_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last collective may return garbage when the group is broken; the body then ends as if all were well."""

    class Dead:
        failed = True

    broken = threading.Event()
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "_abort", broken.set)
    with pytest.raises(RuntimeError, match="a process of the trial has failed"):
        with processes._watched([Dead()]):  # type: ignore[list-item]
            assert broken.wait(10)


class TestParts:
    """Who takes which images."""

    class Data:
        """Ten images, some upright."""

        def __len__(self) -> int:
            return 10

        def get_data_info(self, index: int) -> dict[str, int]:
            return {"width": 4 if index % 3 else 2, "height": 3}

    def batches(self, monkeypatch: pytest.MonkeyPatch, rank: int, processes: int, size: int) -> list[list[int]]:
        monkeypatch.setattr(shared, "get_dist_info", lambda: (rank, processes))
        order = shared.OrderSampler(self.Data(), seed=4)
        order.set_epoch(2)
        return list(shared.SharedBatchSampler(order, size))

    @pytest.mark.parametrize("processes", [2, 4])
    def test_a_step_sees_the_same_images(self, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
        whole = self.batches(monkeypatch, 0, 1, size=4)
        parts = [self.batches(monkeypatch, rank, processes, size=4) for rank in range(processes)]
        assert sorted(index for batch in whole for index in batch) == list(range(10))
        assert len(whole) == 3
        for step, batch in enumerate(whole):
            together = [index for part in parts for index in part[step]]
            assert set(together) == set(batch)
            assert len(together) == max(len(batch), processes), "each image once; a process without one takes the first"
            if len(batch) == 4:
                assert {len(part[step]) for part in parts} == {4 // processes}
