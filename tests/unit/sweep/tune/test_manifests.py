"""The files that start a Ray cluster: whole, of our versions, and a batch script that saves and queues itself again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.config import load_runner

ROOT = Path(__file__).resolve().parents[4]
FOLDER = ROOT / "runners" / "ray_cluster"
SCRIPT = FOLDER / "slurm.sbatch"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
    assert found is not None
    return found[1]


def containers(pods: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pods["template"]["spec"]["containers"]
    return found


def test_the_runner_joins_a_cluster_and_shares_everything() -> None:
    runner = load_runner(ROOT / "runners" / "ray_cluster.yaml")
    assert runner.ray.address == "auto"
    assert runner.storage == "/SHARED/ikd"
    assert runner.study.startswith("postgresql://")


def test_every_file_has_the_versions_that_ikd_is_tested_with() -> None:
    ray, project = pinned("ray"), re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert project is not None
    versions = re.compile(r"(?:rayproject/ray:|ray\[default\]==|rayVersion: \")(\d+\.\d+\.\d+)")
    images = re.compile(r"REGISTRY/ikd:(\d\S+)")
    found = {file.name: file.read_text() for file in FOLDER.iterdir()}
    named = {name: versions.findall(text) for name, text in found.items()}
    assert {name for name, those in named.items() if those} == {"Dockerfile", "kuberay.yaml", "on_premises.yaml"}
    assert {one for those in named.values() for one in those} == {ray}
    built = {name: set(images.findall(text)) for name, text in found.items() if images.search(text)}
    assert built == {name: {project[1]} for name in ("Dockerfile", "kuberay.yaml", "aws.yaml")}


@pytest.mark.parametrize("name", ["on_premises.yaml", "aws.yaml"])
def test_launcher_files_have_a_head_without_trials_and_a_token_everywhere(name: str) -> None:
    (content,) = documents(name)
    assert {"cluster_name", "provider", "auth", "max_workers"} <= set(content)
    starts = {kind: " ".join(content[f"{kind}_start_ray_commands"]) for kind in ("head", "worker")}
    assert "--head --port=6379" in starts["head"]
    assert "--address=$RAY_HEAD_IP:6379" in starts["worker"]
    assert all("RAY_AUTH_MODE=token" in text for text in starts.values())
    assert "~/.ray/auth_token" in content["file_mounts"].values()
    if content["provider"]["type"] == "local":
        assert len(content["provider"]["worker_ips"]) == content["min_workers"] == content["max_workers"]
        assert "--num-cpus=0 --num-gpus=0" in starts["head"]
    else:
        kinds = content["available_node_types"]
        assert kinds[content["head_node_type"]]["resources"] == {"CPU": 0}
        assert kinds["gpu"]["min_workers"] >= 1
        for kind in kinds.values():  # the AMI's own disk is smaller than the image
            assert kind["node_config"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100
        assert {"/home/ray/.pgpass", "/home/ray/.mlflow/credentials"} <= set(content["file_mounts"])
        assert "--ulimit nofile=65536:65536" in content["docker"]["run_options"]


@pytest.mark.parametrize("name", ["on_premises.yaml", "aws.yaml"])
def test_launcher_files_are_as_ray_wants_them(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (content,) = documents(name)
    validate_config(prepare_config(content))


PLACEHOLDERS = {
    *("ACCOUNT", "PARTITION", "SHARED", "BUCKET", "REGION", "REGISTRY", "DATABASE_HOST", "MLFLOW_HOST", "DATA"),
    *("HEAD_HOST", "WORKER_HOST_1", "WORKER_HOST_2", "WORKER_HOST_3", "USER", "SWEEP_FOLDER", "STORAGE_CLASS"),
    *("AMI_WITH_DOCKER", "AMI_WITH_DOCKER_AND_NVIDIA", "INSTANCE_PROFILE_ARN", "GPU_NODE_LABEL", "GPU_NODE_VALUE"),
}


def test_what_must_be_filled_stands_in_capitals() -> None:
    found = set()
    for file in [*FOLDER.iterdir(), FOLDER.with_suffix(".yaml")]:
        text = file.read_text()
        assert "example." not in text, f"{file.name}: a made-up host is easily overlooked"
        assert "CAPITALS" in text or file.name == "Dockerfile"
        lines = [line.split(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("# ")]
        found |= PLACEHOLDERS & set(re.findall(r"[A-Z][A-Z0-9_]+", "\n".join(lines)))
    assert found >= PLACEHOLDERS - {"REGISTRY", "BUCKET", "REGION"}


def test_the_kubernetes_file_is_one_cluster_and_a_job_on_it() -> None:
    claim, cluster, job = documents("kuberay.yaml")
    assert [(one["apiVersion"], one["kind"]) for one in (claim, cluster, job)] == [
        ("v1", "PersistentVolumeClaim"),
        ("ray.io/v1", "RayCluster"),
        ("ray.io/v1", "RayJob"),
    ]
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for pods in groups:
        (container,) = containers(pods)
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
        volumes = {one["name"]: one for one in pods["template"]["spec"]["volumes"]}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert job["spec"]["entrypoint"].startswith("ikd sweep ")
    assert {one["metadata"]["labels"]["part"] for one in (claim, cluster)} == {"cluster"}
    assert job["metadata"]["labels"] == {"part": "sweep"}, "it is applied once the files are on the volume"


def test_kubernetes_has_passwords_gpu_pools_shared_memory_and_time_to_save() -> None:
    _, cluster, _ = documents("kuberay.yaml")
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    for pods in (head, workers):
        (container,) = containers(pods)
        volumes = {one["name"]: one for one in pods["template"]["spec"]["volumes"]}
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    environment = {one["name"]: one for one in containers(head)[0]["env"]}
    for name in ("PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        assert environment[name]["valueFrom"]["secretKeyRef"] == {"name": "ikd", "key": name}
        assert name not in {one["name"] for one in containers(workers)[0]["env"]}, "only the driver needs them"
    from ray.dashboard.modules.job import job_supervisor

    stop = int(environment["RAY_JOB_STOP_WAIT_TIME_S"]["value"])
    assert "RAY_JOB_STOP_WAIT_TIME_S" in Path(job_supervisor.__file__).read_text()
    assert 60 <= stop < head["template"]["spec"]["terminationGracePeriodSeconds"]
    assert workers["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert workers["template"]["spec"]["nodeSelector"]


def sent_to_the_builder(patterns: list[str], path: str) -> bool:
    """Apply a .dockerignore as Docker does: the last pattern that holds a path or a folder above it decides."""
    sent = True
    for pattern in patterns:
        expression = re.escape(pattern.lstrip("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{expression}(/.*)?", path):
            sent = pattern.startswith("!")
    return sent


def test_the_image_is_made_of_what_the_package_needs_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    needed = ["pyproject.toml", "constraints.txt", "README.md", "LICENSE", "ikd/home.py", "ikd/recipes/drawn_r18.yaml"]
    for path in needed:
        assert (ROOT / path).is_file()
        assert sent_to_the_builder(patterns, path), path
    for path in (".venv/bin/python", ".demo/mlflow.db", ".git/config", "mlflow/.env", "data/coco/1.jpg", "best.pth"):
        assert not sent_to_the_builder(patterns, path), path
    assert not sent_to_the_builder(patterns, "ikd/sweep/__pycache__/driver.cpython-311.pyc")
    secret = [line for line in (ROOT / "mlflow" / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert not sent_to_the_builder(secret, ".env")


WAITING = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
with open(os.environ["NOTES"], "a") as notes:
    notes.write(" ".join(["ikd", *sys.argv[1:], os.environ["RAY_ADDRESS"]]) + chr(10))
signal.sigwait({signal.SIGINT, signal.SIGTERM})
sys.exit(130)
"""
STUBS = {
    "scontrol": '[ "$1" = show ] && printf "n1\\nn2\\nn3\\n" || echo "scontrol $*" >> "$NOTES"',
    "srun": 'echo "srun cores $SRUN_CPUS_PER_TASK" >> "$NOTES"; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "ray": 'echo "ray $* $RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}" >> "$NOTES"; [ "$1" = health-check ] || exec sleep 30',
    # bash loses a signal that comes while it starts a command
    "ikd": f"exec {sys.executable} -c '{WAITING}' \"$@\"",
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """An environment in which the script runs with commands that only note how they were called."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "activate").write_text(f'PATH="{folder}:$PATH"\n')
    for name, body in STUBS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    given = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "n[1-3]"}
    given |= {"SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_ON_NODE": "4", "VENV": str(tmp_path / "venv")}
    return {**os.environ, **given, "NOTES": str(tmp_path / "notes")}


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_batch_script_saves_on_a_signal(job: dict[str, str], number: signal.Signals, requeued: bool) -> None:
    notes = Path(job["NOTES"])
    with subprocess.Popen(
        ["bash", SCRIPT, "space.yaml", "--name", "s"], cwd=ROOT, env=job, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 30
        noted = ("--head", "start --address", "ikd sweep")
        while not (notes.is_file() and all(word in notes.read_text() for word in noted)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        status = process.wait(timeout=30)
        os.killpg(process.pid, signal.SIGKILL)  # the steps, which Slurm would end
    assert status == 130
    lines = notes.read_text().splitlines()
    address = f"n1:{20000 + 123456 % 10000}"
    assert f"ikd sweep space.yaml --name s --runner runners/ray_cluster.yaml {address}" in lines
    assert ("scontrol requeue 123456" in lines) == requeued
    starts = sorted(line for line in lines if line.startswith("ray start"))
    assert lines.count("srun cores 32") == len(starts) == 2, "each step has the cores that Ray is told of"
    assert all(line.endswith("--num-cpus=32 --num-gpus=4 --block token 64") for line in starts)
    assert starts[0].startswith(f"ray start --address={address}")
    assert starts[1].startswith(f"ray start --head --node-ip-address=n1 --port={address.partition(':')[2]}")


def test_the_batch_script_is_whole() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    directives = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", SCRIPT.read_text(), re.M))
    assert {"nodes", "ntasks-per-node", "cpus-per-task", "gpus-per-node", "time", "signal", "requeue"} <= set(
        directives
    )
    assert directives["signal"] == "B:USR1@600"
    assert os.access(SCRIPT, os.X_OK)
