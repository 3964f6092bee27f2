"""A sweep over three nodes of a cluster that is not its own; one of them dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.sweep import trials_of
from tests.faults.elsewhere_driver import LIMIT_SECONDS, ROOT, start, wait_for
from tests.faults.placed_training import notes

pytestmark = pytest.mark.fault
TRIALS = 8
SPACE = {"budget": {"trials": TRIALS}, "scheduler": {"none": {}}}


class Host:
    """The process that holds a cluster."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.cluster_host", "3"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if (told := self._answer()) is None:
            self.close()
            raise RuntimeError("the cluster does not start")
        self.address: str = told["address"]
        self.nodes: list[str] = told["nodes"]

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.communicate("end\n" if self._process.poll() is None else None, timeout=60)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    temp = tempfile.mkdtemp(prefix="ikd-", dir="/tmp")
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "IKD_HOME": str(tmp_path)}
    environment |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": temp}
    try:
        with contextlib.closing(Host(environment)) as held:
            yield held
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def runner(host: Host, **changes: Any) -> dict[str, Any]:
    return {"ray": {"address": host.address}, "concurrency": 3, **changes}


def log(ran: list[dict[str, Any]], dead: str) -> str:
    """Return one line for each stretch of a trial on a node, for people."""
    stretches: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for note in ran:
        stretches.setdefault((note["trial"], note["node"]), []).append(note)
    lines = []
    for (trial, node), found in stretches.items():
        epochs = f"epochs {found[0]['epoch']}-{found[-1]['epoch']}"
        times = f"{found[0]['at'] - ran[0]['at']:6.1f} s to {found[-1]['at'] - ran[0]['at']:6.1f} s"
        lines.append(f"trial {trial}  node {node[:8]}  {epochs}  {times}{'  (node killed)' if node == dead else ''}")
    return "\n".join(lines)


def test_trials_of_a_dead_node_go_on_elsewhere(host: Host, tmp_path: Path) -> None:
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.7, "wait": True}))
    with start("s", runner(host, storage=str(tmp_path)), SPACE, host.environment) as process:
        wait_for(lambda: len({note["node"] for note in notes(tmp_path, starts=True)}) == 3, process)
        (tmp_path / "go").touch()
        victim = notes(tmp_path, starts=True)[-1]
        wait_for(lambda: sum(note["node"] == victim["node"] for note in notes(tmp_path)) >= 3, process)
        assert host.ask(f"kill {victim['node']}") == "killed"
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 0, text
    ran = notes(tmp_path)
    print(log(ran, victim["node"]))
    trials = trials_of("s", home=tmp_path)
    assert [trial.state for trial in trials] == ["finished"] * TRIALS
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, 7)), "no hole, no repeat"
    moved = [trial.number for trial in trials if trial.crashes]
    assert moved == [victim["trial"]]
    assert trials[victim["trial"]].attempts == 2
    nodes = {note["node"] for note in ran if note["trial"] == victim["trial"]}
    assert len(nodes) == 2
    assert victim["node"] in nodes
    trained = Counter((note["trial"], note["epoch"]) for note in ran)
    assert set(trained) == {(trial, epoch) for trial in range(TRIALS) for epoch in range(1, 7)}
    assert set(trained.values()) == {1}, "the moved trial went on from its checkpoint"
    assert sorted(host.ask("nodes")) == sorted(set(host.nodes) - {victim["node"]}), "the cluster outlives the sweep"


HELD = """
import sys
from ikd.sweep.tune.environment import prepare_environment
prepare_environment("local")
import ray
from ikd.sweep.tune import cluster
from tests.faults import elsewhere_driver
from tests.unit.sweep.conftest import make_runner
if sys.argv[1] == "dead":
    cluster._quoted_python = lambda: {"py_executable": "/none/python"}
    sys.exit(elsewhere_driver.main(*sys.argv[2:]))
with cluster.ray_session(make_runner()):
    others = ray.remote(type("Others", (), {"here": lambda self: None})).options(num_cpus=2).remote()
    ray.get(others.here.remote())
    sys.exit(elsewhere_driver.main(*sys.argv[2:]))
"""
NEEDS = "A trial asks for 1 CPU; Ray has 2 CPUs on 1 node, of which {} free. Nothing is lost; the same command goes on"


@pytest.mark.parametrize(
    ("kind", "cause", "free"),
    [
        (
            "dead",
            "Ray has room, but its worker processes do not start (raylet.err: bash: line 1: /none/python",
            "1 CPU",
        ),
        ("held", "others hold the resources", "0 CPUs"),
    ],
    ids=["dead workers", "taken"],
)
def test_a_sweep_that_cannot_begin_ends_and_says_why(tmp_path: Path, kind: str, cause: str, free: str) -> None:
    (tmp_path / "placed.json").write_text(json.dumps({"seconds": 0.0}))
    runner = json.dumps({"ray": {"start_seconds": 5}})
    done = subprocess.run(
        [sys.executable, "-c", HELD, kind, "s", runner, json.dumps(SPACE)], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "IKD_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    text = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stderr
    assert f"no trial has begun for 5 s (runner: ray.start_seconds): {cause}" in text
    assert NEEDS.format(free) in text
    assert {trial.state for trial in trials_of("s", home=tmp_path)} <= {"waiting"}


def test_a_cluster_that_is_not_there_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "IKD_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with start("s", {"ray": {"address": "127.0.0.1:1"}}, SPACE, environment) as process:
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 2, text
    assert "runner: ray.address: must be a Ray cluster that runs, reached from one of its nodes" in text
    assert "but got '127.0.0.1:1'" in text
