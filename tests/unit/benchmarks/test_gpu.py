"""The benchmark for a machine with a GPU runs on a CPU as well, without Ray and MLflow, and says what fails."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import run
from benchmarks.gpu.setting import Setting

ROOT = Path(__file__).parents[3]
WITHOUT = (
    "import sys; sys.modules['ray'] = sys.modules['mlflow'] = None\n"
    "from benchmarks.gpu.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.slow
def test_every_section_measures_without_ray_and_mlflow(tmp_path: Path) -> None:
    written = tmp_path / "gpu.json"
    command = [
        sys.executable,
        "-c",
        WITHOUT,
        "--cpu",
        "--minutes",
        "20",
        "--json",
        str(written),
        "--recipes",
        "coco_retinanet_r50",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(written.read_text())
    assert found["machine"]["device"].startswith("CPU")
    assert {"nms", "roi_align", "modulated_deform_conv"} <= set(found["kernels"])
    assert found["kernels"]["nms"]["plain"]["ms"] > 0
    for precision in ("fp32", "bf16", "bf16, channels last"):
        row = found["steps"][f"batch 2, {precision}"]
        assert set(row) == {"student", "teacher", "fgd", "mgd", "dfmsd", "fgd+adversarial"}
        assert all(row[host]["ratio"] > 0.5 and row[host]["peak_mib"] > 0 for host in ("fgd", "mgd", "dfmsd"))
    assert found["attack"]["images_a_second"] > 0
    assert len(found["pair"]["together"]) == 2
    assert found["pair"]["slower"] > 0
    assert len(found["many"]["held_mib"]) == found["many"]["trials"] == 3
    assert all(math.isfinite(total) for total in found["recipes"]["coco_retinanet_r50"]["total_losses"])


def test_a_section_that_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    def broken(_: Setting) -> dict[str, object]:
        raise RuntimeError("no such kernel")

    def late(setting: Setting) -> dict[str, object]:
        return dict.fromkeys(map(str, setting.in_time(range(3))))

    setting = Setting(torch.device("cpu"), tmp_path, 0.0)
    found = run(setting, {"broken": (broken, 1.0), "late": (late, -1.0), "sound": (lambda _: {"ms": 1.0}, 1.0)}, 1.0)
    assert found["broken"]["error"] == "RuntimeError: no such kernel"
    assert found["late"]["error"] == "out of time after 0 rows; give it more by --minutes"
    assert found["sound"]["ms"] == 1.0


@pytest.mark.slow
def test_without_a_gpu_it_is_refused_with_the_way_out() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--cpu tries it out on small sizes" in done.stderr
