"""Whole trials: two at once on one card, and many in one process. `python -m benchmarks.gpu.trials` is one of two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.setting import Setting
from ikd.config import Recipe
from ikd.training import prepare, run_trial


def pair(setting: Setting) -> dict[str, Any]:
    """Time one trial alone and two at once, each a process with half of the card's memory and of the cores."""
    recipe = _recipe(setting)
    prepare(recipe)
    alone = _processes(setting, 1)
    together = _processes(setting, 2)
    seconds = max(one["seconds"] for one in together)
    return {"alone": alone[0], "together": together, "slower": seconds / alone[0]["seconds"]}


def many(setting: Setting) -> dict[str, Any]:
    """Run short trials in one process; return the memory that is still taken after each."""
    recipe = _recipe(setting)
    prepared = prepare(recipe)
    held = []
    for number in setting.in_time(range(3 if setting.small else 30)):
        run_trial(recipe, directory=setting.folder / f"trial-{number}", prepared=prepared)
        held.append(_held_mib(setting.device))
    return {"trials": len(held), "held_mib": held, "growth_mib": held[-1] - held[min(1, len(held) - 1)]}


def sweep(setting: Setting) -> dict[str, Any]:
    """Sweep six trials of the quickstart, where Ray is there."""
    runner = "gpu" if setting.device.type == "cuda" else "local"
    command = [sys.executable, "-m", "ikd.cli", "sweep", "search_spaces/quickstart.yaml", "--name", "benchmark"]
    command += ["--runner", f"runners/{runner}.yaml", "--trials", "6"]
    home = {**os.environ, "IKD_HOME": str(setting.folder / "home")}
    started = time.monotonic()
    subprocess.run(command, env=home, check=True, timeout=max(1.0, setting.until - started))
    return {"trials": 6, "seconds": time.monotonic() - started}


def _recipe(setting: Setting) -> Recipe:
    values: dict[str, Any] = {
        "schedule__epochs": 1,
        "input__scale": [96, 96],
        "attack__steps": 1,
        "schedule__workers": 0,
    }
    return setting.with_random_teachers(setting.recipe("drawn_r18", **values, schedule__warmup__iterations=0))


def _processes(setting: Setting, count: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.gpu.trials", str(setting.folder), setting.device.type]
    threads = str(max(1, (os.cpu_count() or 1) // 2))  # as a sweep: those of one trial do not crowd out another's
    limit = max(1.0, setting.until - time.monotonic())
    started = [
        subprocess.Popen([*command, f"{count}-{number}", str(1 / count), threads], stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    try:
        return [json.loads(process.communicate(timeout=limit)[0].splitlines()[-1]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _held_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.memory_reserved() / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * 4096 / 2**20


def main() -> None:
    """Run one trial in a process of its own; print what it took."""
    folder, kind, name, fraction, threads = sys.argv[1:]
    setting = Setting(torch.device(kind), Path(folder), float("inf"))
    if kind == "cuda":
        torch.cuda.set_per_process_memory_fraction(float(fraction))
    started = time.monotonic()
    run_trial(_recipe(setting), directory=setting.folder / name, threads=int(threads))
    print(json.dumps({"seconds": time.monotonic() - started, "held_mib": _held_mib(setting.device)}))


if __name__ == "__main__":
    main()
