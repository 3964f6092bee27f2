"""The Ray of a sweep: a private one, what a cluster must have, and the watch over trials that do not begin."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ikd.errors import BadInput, JobError
from ikd.sweep.tune.environment import prepare_environment
from tests.unit.sweep.conftest import make_runner

SCRIPT = """
from ikd.config import Runner
from ikd.sweep.tune.environment import prepare_environment
prepare_environment("local")
from ikd.sweep.tune.cluster import ray_session
import ray
with ray_session(Runner()):
    # Tune gives every trial a runtime environment, which sends the start of its worker through a shell
    task = ray.remote(lambda: __import__("sys").executable).options(runtime_env={"env_vars": {"A": "1"}})
    print(ray.get(task.remote(), timeout=60))
"""


@pytest.mark.slow
def test_workers_start_from_an_interpreter_with_a_space_in_its_path(tmp_path: Path) -> None:
    environment = tmp_path / "with space"
    environment.symlink_to(sys.prefix)
    python = environment / "bin" / "python"
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(
        [python, "-W", "ignore", "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(python)


@pytest.fixture
def cluster() -> ModuleType:
    prepare_environment("local")
    from ikd.sweep.tune import cluster as _cluster

    return _cluster


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": name, "Alive": alive, "NodeManagerHostname": name, "NodeManagerAddress": "::1",
        "Resources": resources,
    }  # fmt: skip


NODES = [node("head"), node("a", CPU=4, GPU=1), node("b", CPU=3), node("gone", alive=False, CPU=64, GPU=8)]


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        ({"cpus": 1}, 7),
        ({"cpus": 2}, 3),  # 2 and 1: what is left over on two nodes makes no third place
        ({"cpus": 4}, 1),
        ({"cpus": 1, "gpus": 0.5}, 2),
        ({"cpus": 3, "gpus": 0.5}, 1),
        ({"cpus": 0.1, "gpus": 0.1}, 10),
    ],
)
def test_places_are_counted_node_by_node(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch, trial: dict[str, float], expected: int
) -> None:
    monkeypatch.setattr(cluster.ray, "nodes", lambda: NODES)
    assert cluster.places(make_runner(trial=trial)) == expected


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        ({"cpus": 5}, "runner: trial.cpus: must be at most the 4 CPUs of the largest node of this Ray, but got 5"),
        ({"gpus": 2}, "runner: trial.gpus: must be at most the 1 GPUs of the largest node of this Ray, but got 2"),
    ],
)
def test_a_trial_that_no_node_holds_is_refused(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch, trial: dict[str, float], message: str
) -> None:
    monkeypatch.setattr(cluster.ray, "nodes", lambda: NODES)
    with pytest.raises(BadInput, match=message):
        cluster.places(make_runner(trial=trial))


def test_a_trial_whose_parts_fit_different_nodes_is_refused(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.ray, "nodes", lambda: [node("a", CPU=8), node("b", CPU=1, GPU=1)])
    with pytest.raises(BadInput, match=r"runner: trial: must fit one node of this Ray, but none has 4 CPUs, 1 GPU"):
        cluster.places(make_runner(trial={"cpus": 4, "gpus": 1}))


def test_a_long_folder_for_sockets_is_refused(cluster: ModuleType, tmp_path: Path) -> None:
    long = tmp_path / "a-folder-with-a-long-name"
    long.mkdir()
    with pytest.raises(BadInput, match=r"runner: ray.temp: must be a folder that can be written, its path at most 24"):
        cluster._temp_of(make_runner(ray={"temp": str(long)}))
    with pytest.raises(BadInput, match=r"runner: ray.temp: .* but got '/none'"):
        cluster._temp_of(make_runner(ray={"temp": "/none"}))
    assert cluster._temp_of(make_runner(ray={"temp": "/tmp"})) == "/tmp"


@pytest.mark.parametrize(("failures", "starts"), [(0, 1), (2, 3), (3, 3)])
def test_a_private_ray_that_is_late_is_started_again(
    cluster: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: int, starts: int
) -> None:
    tried: list[dict[str, Any]] = []

    def init(*address: str, **arguments: Any) -> None:
        tried.append(arguments)
        if len(tried) <= failures:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    late = r"Ray does not start on this machine: The current node timed out"
    with pytest.raises(JobError, match=late) if failures == 3 else contextlib.nullcontext():
        cluster._start(make_runner(concurrency=3, trial={"cpus": 1.5}), str(tmp_path))
    assert [one["num_cpus"] for one in tried] == [5] * starts


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_trials_that_do_not_begin_end_the_wait(cluster: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "standstill", lambda runner: JobError("nothing begins"))
    clock = Clock()
    watch = cluster.Standstill(make_runner(ray={"start_seconds": 30}), clock)
    clock.now += 30
    watch.check()
    watch.begun(0)
    clock.now += 1000
    watch.check()
    watch.left(0)
    assert not watch.running
    clock.now += 30
    watch.check()
    clock.now += 1
    with pytest.raises(JobError, match="nothing begins"):
        watch.check()


def test_nodes_that_come_and_go_change_the_places(cluster: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node("a", CPU=2)]
    monkeypatch.setattr(cluster.ray, "nodes", lambda: nodes)
    clock = Clock()
    watch = cluster.Standstill(make_runner(concurrency=4), clock)
    nodes.append(node("b", CPU=8))
    assert watch.room(2) == 2, "it looks every ten seconds"
    clock.now += 10
    assert watch.room(2) == 4, "no more than the runner's concurrency"
    clock.now += 10
    nodes.pop()
    assert watch.room(4) == 2
    clock.now += 10
    nodes.clear()
    assert watch.room(2) == 2
