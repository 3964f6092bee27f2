"""What is wrong with this machine's set-up, and what to do about each fault.

`diagnose` looks and changes nothing; `ikd doctor` has it look in a process of its own (`ikd.doctor_apart`), prints what
was found by `render` and ends with `exit_status`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlparse

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.table import Table
from rich.text import Text

from ikd.errors import BadInput
from ikd.home import BOUND, home, store_bound
from ikd.plugins import Group
from ikd.world import python_code

Status = Literal["ok", "warn", "fail"]

GIB = 1 << 30
COCO_STORE_GB = 140
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
"""Present only where ikd runs from its source tree."""

IMPORT_SECONDS = 120
"""How long one import may take in a process of its own; a cold disk needs tens of seconds."""

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""What a container may use: bytes, or `max`."""

GPU_DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
"""What the NVIDIA, AMD and WSL drivers put in place where there is a GPU, usable by torch or not."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at, in a word or two.
        status: `fail` means that ikd cannot work, `warn` that it will, but slowly or incompletely.
        detail: what was found.
        advice: what to do; empty only when `status` is `ok`.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


def diagnose(looking: Callable[[str], None] = lambda look: None) -> Iterator[Check]:
    """Look at everything ikd depends on, in the order in which faults explain each other.

    A check that itself breaks becomes a failed check, so that the others are still seen.

    Args:
        looking: is told what is looked at now.
    """
    looks: Sequence[Callable[[], Iterable[Check]]] = (
        python,
        packages,
        imports,
        gpu,
        kernels,
        storage,
        perturbations,
        memory,
        shared_memory,
        git,
        plug_ins,
    )
    for look in looks:
        name = look.__name__.replace("_", " ")
        looking(name)
        try:
            yield from list(look())  # all or nothing of a look
        except Exception as error:  # a doctor that dies of the disease tells nothing
            yield Check(name, "fail", f"{type(error).__name__}: {error}", "set up again: make clean .venv")


def exit_status(checks: Iterable[Check]) -> int:
    """Return 1 when any check failed, else 0; warnings do not count."""
    return int(any(check.status == "fail" for check in checks))


def render(checks: Iterable[Check]) -> Table:
    """Return the checks as a table for a terminal."""
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "check", "found", "what to do")
    for check in checks:
        table.add_row(Text(check.status, style=colours[check.status]), check.name, check.detail, check.advice)
    return table


def plug_ins() -> Iterator[Check]:
    """Check what other packages register, where they do: a broken one stops nearly every command."""
    found = [entry for group in get_args(Group) for entry in importlib.metadata.entry_points(group=group)]
    if not found:
        return
    try:
        import ikd.config  # noqa: F401 - loads the losses; detector families are loaded with mmdet, which takes seconds
    except BadInput as error:
        yield Check("plug-ins", "fail", str(error), "mend or uninstall the package that it names")
    else:
        yield Check("plug-ins", "ok", ", ".join(sorted(f"{entry.name} ({entry.group})" for entry in found)))


def python() -> Iterator[Check]:
    """Check that this Python is one that the pinned packages exist for."""
    detail = f"{sys.version.split()[0]} at {sys.executable}"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        yield Check("Python", "ok", detail)
    else:
        advice = "install Python 3.10, 3.11 or 3.12, then: make clean .venv PYTHON=/path/to/python3.12"
        yield Check("Python", "fail", detail, advice)


def packages() -> Iterator[Check]:
    """Check the version of each direct dependency against ikd's metadata, and against the pins of the source tree."""
    try:
        required = importlib.metadata.requires("ikd") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("ikd", "warn", f"runs from {Path(__file__).parent} without being installed", "make .venv")
        required = []
    yield from _compare(required, read_pins(CONSTRAINTS))


def _compare(required: Sequence[str], pins: dict[str, SpecifierSet]) -> Iterator[Check]:
    for line in required:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            yield check_version(need, pins.get(_canonical(need.name), SpecifierSet()))


def check_version(need: Requirement, pin: SpecifierSet) -> Check:
    """Compare one installed package with what ikd needs and with the version it was tested with.

    Args:
        need: the line of pyproject.toml.
        pin: the version of constraints.txt; empty where it is unknown.
    """
    install = f"pip install '{need.name}{pin or need.specifier}'"
    try:
        version = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return Check(need.name, "fail", "not installed", install)
    if not need.specifier.contains(version, prereleases=True):
        return Check(need.name, "fail", f"{version}, but ikd needs {need.specifier}", install)
    if not pin.contains(version, prereleases=True):
        return Check(need.name, "warn", f"{version}, ikd is tested with {pin}", f"{install}  (if anything misbehaves)")
    return Check(need.name, "ok", version)


def read_pins(constraints: Path) -> dict[str, SpecifierSet]:
    """Read the pins that apply to this Python; none where the file is absent, as in an installed wheel."""
    if not constraints.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in constraints.read_text().splitlines())
    pins = [Requirement(line) for line in lines if line]
    return {_canonical(pin.name): pin.specifier for pin in pins if pin.marker is None or pin.marker.evaluate()}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


OWNERS = {
    "cv2": tuple(f"opencv{contrib}-python{headless}" for contrib in ("", "-contrib") for headless in ("", "-headless")),
    "mlflow": ("mlflow", "mlflow-skinny"),
}
"""Distributions that a package may come from, where their name is another."""


def imports() -> Iterator[Check]:
    """Import the packages whose imports break on some machines, each in a process of its own, side by side."""
    headless = f"pip install --force-reinstall --no-deps opencv-python-headless=={_version('opencv-python')}"
    advice = {
        "cv2": f"no libGL on this machine? {headless}, or apt install libgl1",
        "ray": "pip install --force-reinstall --no-deps ray",
        "mlflow": "pip install --force-reinstall --no-deps mlflow mlflow-skinny mlflow-tracing",
    }
    started = [(name, _start_import(name)) for name in advice]
    for name, process in started:
        yield _finish_import(name, process, advice[name])


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _start_import(name: str) -> subprocess.Popen[str]:
    # The path is printed, because a folder of the same name on the path shadows a broken installation.
    code = f"import {name}; print({name}.__file__ or 'a folder without __init__.py: ' + str(list({name}.__path__)))"
    pipe = subprocess.PIPE
    return subprocess.Popen(python_code(code), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def _finish_import(name: str, process: subprocess.Popen[str], advice: str) -> Check:
    title = f"import {name}"
    try:
        out, err = process.communicate(timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Check(title, "fail", f"not done after {IMPORT_SECONDS} s", "is the disk of this Python very slow (NFS)?")
    found = (out.strip().splitlines() or [""])[-1]
    if process.returncode:
        reason = (err.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        return Check(title, "fail", reason, advice)
    if not any(_owns(one, Path(found)) for known in OWNERS.get(name, (name,)) for one in _distributions(known)):
        return Check(title, "fail", f"{found} takes the place of the real package", f"rename that, or {advice}")
    return Check(title, "ok", str(Path(found).parent))


def _distributions(name: str) -> Iterable[importlib.metadata.Distribution]:
    """Return what is installed under a name: one in each folder of the path that has it."""
    return importlib.metadata.distributions(name=name)


def _owns(distribution: importlib.metadata.Distribution, file: Path) -> bool:
    """Tell whether a file belongs to a distribution: by its list of files, and without one by lying beside it."""
    place, real = Path(str(distribution.locate_file(""))), file.resolve()
    if not file.is_file():
        return False
    if _is_editable_at(distribution, real):
        return True
    if distribution.files is None:  # as some package managers install
        return place.resolve() in real.parents
    return any(one.name == file.name and Path(place, one).resolve() == real for one in distribution.files)


def _is_editable_at(distribution: importlib.metadata.Distribution, file: Path) -> bool:
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return False
    return Path(unquote(urlparse(origin["url"]).path)).resolve() in file.parents


def gpu() -> Iterator[Check]:
    """Name each GPU that torch can really compute on, or say why there is none."""
    import torch

    if not torch.cuda.is_available():
        if not any(path.exists() for path in GPU_DEVICE_FILES):
            yield Check("GPU", "ok", "none here; trials run on the CPU")
            return
        detail = f"there is one, but torch {torch.__version__} cannot use it; trials run on the CPU"
        advice = "install a torch for your driver, see https://pytorch.org/get-started, and look at nvidia-smi"
        yield Check("GPU", "warn", detail, advice)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        detail = f"{properties.name}, {properties.total_memory / GIB:.0f} GiB"
        try:
            torch.ones(1, device=f"cuda:{index}").add_(1).item()  # a listed GPU may be too old for this torch, or taken
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            advice = (
                f"trials there will fail; hide it with CUDA_VISIBLE_DEVICES, or free it (torch {torch.__version__})"
            )
            yield Check(f"GPU {index}", "fail", f"{detail}: {reason}", advice)
        else:
            yield Check(f"GPU {index}", "ok", detail)


def kernels() -> Iterator[Check]:
    """Say which mmcv kernels the detectors will call."""
    from ikd import ops

    try:
        found = ops.install()
    except BadInput as error:
        yield Check("kernels", "fail", str(error), "unset IKD_OPS")
        return
    detail = f"{found.backend}: {found.reason}"
    import torch

    slow = found.backend == "plain" and (torch.cuda.is_available() or any(path.exists() for path in GPU_DEVICE_FILES))
    advice = (
        f"pip install 'ikd[gpu]', or the torchvision that belongs to torch {torch.__version__}: the plain kernels let "
        "a step wait for the GPU dozens of times, torchvision's do not, and need no compiler either"
    )
    yield Check("kernels", "warn" if slow else "ok", detail, advice if slow else "")


def storage() -> Iterator[Check]:
    """Check that sweeps can be written under the home directory, and how much fits."""
    folder = home()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    elsewhere = "set IKD_HOME to a folder on another disk"
    try:
        with tempfile.TemporaryFile(dir=there):
            yield Check("home", "ok", f"{folder} can be written")
    except OSError as error:
        yield Check("home", "fail", f"{folder} cannot be written: {error.strerror}", elsewhere)
        there = next(path for path in (there, *there.parents) if path.is_dir())
    yield check_free(folder, shutil.disk_usage(there).free, elsewhere)


def check_free(folder: Path, free_bytes: int, advice: str) -> Check:
    """Judge the free disk space: a small sweep writes hundreds of MiB; what COCO needs is said by `perturbations`."""
    status: Status = "fail" if free_bytes < GIB else "warn" if free_bytes < 10 * GIB else "ok"
    detail = f"{free_bytes / GIB:.1f} GiB free for {folder}"
    return Check("disk", status, detail, "" if status == "ok" else f"free some space, or {advice}")


def perturbations() -> Iterator[Check]:
    """Say what perturbations may take, against what is free: a store of COCO takes COCO_STORE_GB at 1333x800."""
    try:
        bound = store_bound()
    except BadInput as error:
        yield Check("perturbations", "fail", str(error), f"unset {BOUND}")
        return
    there = next(path for path in (home(), *home().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"kept within {bound / 1e9:g} GB; one store takes about {COCO_STORE_GB} GB for COCO, MB for small data"
    chosen = BOUND in os.environ and bound > free  # the default is no promise of anybody's
    advice = f"set {BOUND} to what may be filled: {free / 1e9:.0f} GB are free" if chosen else ""
    yield Check("perturbations", "warn" if chosen else "ok", detail, advice)


def memory() -> Iterator[Check]:
    """Check cores and main memory as far as this process may use them: one small trial takes about 1.5 GiB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = MEMORY_LIMIT.read_text().strip() if MEMORY_LIMIT.is_file() else "max"
    total = min(total, int(limit)) if limit.isdigit() else total
    detail = f"{cores} cores, {total / GIB:.1f} GiB"
    if total < 4 * GIB:
        yield Check("memory", "warn", detail, "run one trial at a time: concurrency: 1 in the runner file")
    else:
        yield Check("memory", "ok", detail)


def shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Check]:
    """Check the shared memory that Ray and data-loading workers use; containers often have only 64 MiB."""
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    detail = f"{free / GIB:.2f} GiB free in {folder}"
    if free < GIB / 2:
        yield Check("shared memory", "warn", detail, "start the container with --shm-size=2g")
    else:
        yield Check("shared memory", "ok", detail)


def git() -> Iterator[Check]:
    """Check for git, which puts the commit into each run's tags."""
    command = shutil.which("git")
    if command is None:
        yield Check("git", "warn", "not found", "apt install git; without it runs do not record your code's commit")
        return
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    yield Check("git", "ok", done.stdout.strip().removeprefix("git version "))
