"""Measures a machine with a GPU, in eight minutes.

    python -m benchmarks.gpu [--json FILE] [--only SECTION ...] [--ray]
    python -m benchmarks.gpu --cpu              # small sizes, in half an hour: shows that it runs, not more

Needs PyTorch and the detectors' packages, neither Ray nor MLflow (`--ray` adds a sweep of six trials, which does).
Nothing is downloaded: images, weights and data are random or drawn. A section that fails is reported with its error and
the rest goes on; the exit status is 1 then. Sections:

    kernels   plain kernels beside torchvision's: values, gradients, time, waits
    steps     RetinaNet R50 from X101 at 1333x800, batch 4 to 16: FGD, MGD, DFMSD and the adversarial term, as ratio to
              the student's step plus the teacher's forward pass, with peak memory and waits; fp32, bf16, channels last
    attack    images a second
    pair      two trials at once on one card, each with half of its memory
    many      30 short trials in one process, and the memory after each
    recipes   one step of every COCO recipe; of those that differ in strengths alone, one
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.kernels import kernels
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.steps import attack, recipes, steps
from benchmarks.gpu.trials import many, pair, sweep
from ikd.ops import install

Section = Callable[[Setting], dict[str, Any]]
SECTIONS: dict[str, tuple[Section, float]] = {
    "kernels": (kernels, 0.2),
    "steps": (steps, 3.0),
    "attack": (attack, 0.2),
    "pair": (pair, 1.3),
    "many": (many, 0.5),
    "recipes": (recipes, 2.8),
}
"""What is measured, and the minutes that it may take on a GPU."""
TOTAL = sum(minutes for _, minutes in SECTIONS.values())


def run(setting: Setting, chosen: dict[str, tuple[Section, float]], share: float) -> dict[str, Any]:
    """Run sections one after the other; an error stands in the place of a result."""
    found: dict[str, Any] = {}
    for name, (section, minutes) in chosen.items():
        started = time.monotonic()
        own = replace(setting, until=started + 60 * minutes * share, cut=[])
        try:
            result = section(own)
        except Exception as error:  # of whatever kind: the other sections are still worth running
            result = {"error": f"{type(error).__name__}: {error}"}
        errors = [one for one in (result.get("error"), *own.cut[:1]) if one]
        told = {"error": "; ".join(errors)} if errors else {}
        found[name] = {"seconds": round(time.monotonic() - started, 1), **result, **told}
        print(f"{name}: {json.dumps(found[name], indent=1)}", flush=True)
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    kernels_here = install()
    card = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    return {"device": card, "torch": torch.__version__, "kernels": kernels_here.backend, "why": kernels_here.reason}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="file to write")
    parser.add_argument("--only", nargs="*", choices=[*SECTIONS, "sweep"], help="sections; default: all")
    parser.add_argument("--recipes", nargs="*", default=[], help="COCO recipes to take a step of; default: all")
    parser.add_argument(
        "--minutes", type=float, help=f"for all sections together; {TOTAL:.0f}, on a CPU {4 * TOTAL:.0f}"
    )
    parser.add_argument("--cpu", action="store_true", help="small sizes on the CPU")
    parser.add_argument("--ray", action="store_true", help="a sweep of six trials too")
    options = parser.parse_args(arguments)
    if not options.cpu and not torch.cuda.is_available():
        parser.error("needs a GPU, and torch sees none here; --cpu tries it out on small sizes")
    chosen = {**SECTIONS, **({"sweep": (sweep, 4.0)} if options.ray or "sweep" in (options.only or ()) else {})}
    chosen = {name: row for name, row in chosen.items() if options.only is None or name in options.only}
    device = torch.device("cpu" if options.cpu else "cuda")
    with tempfile.TemporaryDirectory(prefix="ikd-gpu-") as folder:
        os.environ["IKD_HOME"] = str(Path(folder) / "home")
        setting = Setting(device, Path(folder), 0.0, tuple(options.recipes))
        minutes = options.minutes or (4 * TOTAL if options.cpu else TOTAL)
        found = {"machine": machine(device), **run(setting, chosen, minutes / TOTAL)}
    options.json.write_text(json.dumps(found, indent=1))
    print(f"machine: {json.dumps(found['machine'])}; written to {options.json}")
    failed = [name for name, section in found.items() if "error" in section]
    for name in failed:
        print(f"{name} failed: {found[name]['error']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
