"""The doctor finds each fault it knows, and says what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console

from ikd import doctor, ops
from ikd.doctor import GIB, Check, check_free, check_version, diagnose, exit_status, render
from ikd.errors import BadInput
from tests.unit.distill.toy_package import SECTION, write_toy

ROOT = Path(__file__).resolve().parents[2]


def one(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


def test_a_sound_machine_has_no_failed_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IKD_OPS", raising=False)
    checks = {check.name: check for check in diagnose()}
    assert {"Python", "import mlflow", "import ray", "import cv2", "kernels", "home", "disk", "memory"} <= set(checks)
    failed = [check for check in checks.values() if check.status == "fail" and not check.name.startswith("GPU")]
    assert failed == []
    assert all(check.advice for check in checks.values() if check.status != "ok")
    assert not (tmp_path / "home").exists(), "looking must not write"


def test_only_a_failed_check_fails_the_command() -> None:
    assert exit_status([]) == 0
    assert exit_status([Check("a", "ok", ""), Check("b", "warn", "slow", "do")]) == 0
    assert exit_status([Check("a", "ok", ""), Check("b", "fail", "gone", "do")]) == 1


def test_checks_are_shown_with_what_to_do() -> None:
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(render([Check("Python", "ok", "3.11"), Check("disk", "fail", "1 GiB", "free some")]))
    rows = [line for line in console.export_text().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row.strip("│").split("│")] for row in rows] == [
        ["ok", "Python", "3.11", ""],
        ["fail", "disk", "1 GiB", "free some"],
    ]


def test_a_broken_look_is_itself_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared_memory() -> Iterable[Check]:
        raise OSError("no such device")

    for name in ("imports", "packages", "gpu", "kernels"):
        monkeypatch.setattr(doctor, name, lambda: [])
    monkeypatch.setattr(doctor, "shared_memory", shared_memory)
    checks = {check.name: check for check in diagnose()}
    assert checks["shared memory"].status == "fail"
    assert "no such device" in checks["shared memory"].detail
    assert "git" in checks, "the looks after the broken one are still made"


class _Version(NamedTuple):
    major: int
    minor: int
    micro: int


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 9, 18), "fail"), ((3, 10, 0), "ok"), ((3, 12, 9), "ok"), ((3, 13, 0), "fail")],
)
def test_python_outside_3_10_to_3_12_fails(
    version: tuple[int, int, int], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", _Version(*version))
    check = one(doctor.python())
    assert check.status == status
    assert ("3.10, 3.11 or 3.12" in check.advice) == (status == "fail")


@pytest.mark.parametrize(
    ("need", "pin", "status", "says"),
    [
        ("numpy>=1", "", "ok", ""),
        ("numpy>=1", f"=={doctor._version('numpy')}", "ok", ""),
        ("numpy>=1", "==1.2.3", "warn", "tested with ==1.2.3"),
        ("numpy>=99", "==99.1", "fail", "needs >=99"),
        ("no-such-package>=1", "", "fail", "not installed"),
    ],
)
def test_versions_are_judged_by_need_then_by_pin(need: str, pin: str, status: str, says: str) -> None:
    check = check_version(Requirement(need), SpecifierSet(pin))
    assert check.status == status
    assert says in check.detail
    if status == "fail":
        assert check.advice == f"pip install '{need.partition('>')[0]}{pin or '>=1'}'"


def test_a_local_build_counts_as_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert check_version(Requirement("torch>=2.6"), SpecifierSet("==2.13.0")).status == "ok"


def test_each_dependency_of_the_metadata_is_checked_and_extras_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["numpy>=1", "PyYAML>=99", 'no-such>=1; extra == "onnx"', 'no-such>=1; python_version < "3"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    assert [(check.name, check.status) for check in doctor.packages()] == [("numpy", "ok"), ("PyYAML", "fail")]


def test_without_metadata_the_doctor_says_that_ikd_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    check = one(doctor.packages())
    assert (check.name, check.status, check.advice) == ("ikd", "warn", "make .venv")


def test_pins_are_read_with_their_markers_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text('# why\nA_b==1 ; python_version >= "3"\nA_b==2 ; python_version < "3"\n\nc.d==3  # why\n')
    assert doctor.read_pins(file) == {"a-b": SpecifierSet("==1"), "c-d": SpecifierSet("==3")}
    assert doctor.read_pins(tmp_path / "absent") == {}


def finished_import(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.syspath_prepend(folder)
    return doctor._finish_import(name, doctor._start_import(name), "install it")


def test_an_import_that_fails_is_shown_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lame.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    check = finished_import("lame", tmp_path, monkeypatch)
    assert (check.status, check.advice) == ("fail", "install it")
    assert check.detail == "ImportError: libGL.so.1: cannot open shared object file"


@pytest.mark.parametrize("init", [True, False])
def test_a_folder_in_the_place_of_a_package_is_found(
    init: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shadow").mkdir()
    if init:
        (tmp_path / "shadow" / "__init__.py").touch()
    check = finished_import("shadow", tmp_path, monkeypatch)
    assert check.status == "fail"
    assert str(tmp_path / "shadow") in check.detail
    assert "rename" in check.advice


def install(name: str, target: Path, *, package: str = "", record: bool = True) -> None:
    """Make what `pip install --target` leaves, in part."""
    package = package or name
    (target / package).mkdir(parents=True)
    (target / package / "__init__.py").touch()
    info = target / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if record:
        (info / "RECORD").write_text(f"{package}/__init__.py,,\n{info.name}/METADATA,,\n")


@pytest.mark.parametrize("record", [True, False])
def test_a_package_may_be_installed_anywhere_on_the_path(
    record: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("borrowed", tmp_path / "pip target", record=record)
    check = finished_import("borrowed", tmp_path / "pip target", monkeypatch)
    assert (check.status, check.detail) == ("ok", str(tmp_path / "pip target" / "borrowed"))


def test_a_package_that_is_edited_where_it_lies_is_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, site = tmp_path / "my source" / "src", tmp_path / "site"
    install("edited", site)
    source.mkdir(parents=True)
    (site / "edited").rename(source / "edited")
    content = {"url": source.parent.as_uri(), "dir_info": {"editable": True}}
    (site / "edited-1.0.dist-info" / "direct_url.json").write_text(json.dumps(content))
    monkeypatch.syspath_prepend(site)
    assert finished_import("edited", source, monkeypatch).status == "ok"


def test_a_folder_before_the_installed_package_still_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("hidden", tmp_path / "site")
    install("another", tmp_path / "work", package="hidden")
    monkeypatch.syspath_prepend(tmp_path / "site")
    check = finished_import("hidden", tmp_path / "work", monkeypatch)
    assert (check.status, str(tmp_path / "work" / "hidden") in check.detail) == ("fail", True)


@pytest.mark.parametrize("name", ["cv2", "ray", "mlflow"])
def test_what_the_doctor_imports_is_found_to_be_installed(name: str) -> None:
    file = importlib.util.find_spec(name)
    assert file is not None
    assert file.origin is not None
    owners = doctor.OWNERS.get(name, (name,))
    assert any(doctor._owns(one, Path(file.origin)) for known in owners for one in doctor._distributions(known))


def test_an_import_that_never_ends_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 0.5)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = doctor._start_import("endless")
    check = doctor._finish_import("endless", process, "install it")
    assert (check.status, process.poll() is None) == ("fail", False)


@pytest.mark.parametrize(("driver", "status"), [(True, "warn"), (False, "ok")])
def test_no_usable_gpu_is_a_fault_only_where_there_is_one(
    driver: bool, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidiactl"
    if driver:
        device.touch()
    monkeypatch.setattr(doctor, "GPU_DEVICE_FILES", (device,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = one(doctor.gpu())
    assert (check.status, "CPU" in check.detail) == (status, True)


def test_gpus_are_named_with_their_memory_and_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties(NamedTuple):
        name: str
        total_memory: int

    def ones(size: int, device: str) -> Any:
        if device == "cuda:1":
            raise RuntimeError("CUDA error: no kernel image is available\nmore lines")
        return torch.zeros(size)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties(f"Card {index}", 80 * GIB))
    monkeypatch.setattr(torch, "ones", ones)
    good, bad = doctor.gpu()
    assert (good.status, good.detail) == ("ok", "Card 0, 80 GiB")
    assert (bad.status, bad.detail) == ("fail", "Card 1, 80 GiB: CUDA error: no kernel image is available")


@pytest.mark.parametrize(
    ("backend", "gpu", "usable", "status"),
    [
        ("plain", False, False, "ok"),
        ("plain", True, False, "warn"),
        ("plain", False, True, "warn"),
        ("torchvision", True, True, "ok"),
        ("compiled", True, True, "ok"),
    ],
)
def test_kernels_in_use_are_named_and_plain_ones_warn_on_a_gpu(
    backend: Any, gpu: bool, usable: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    monkeypatch.setattr(ops, "install", lambda: ops.Kernels(backend, "because"))
    monkeypatch.setattr(doctor, "GPU_DEVICE_FILES", (Path("/"),) if gpu else ())
    check = one(doctor.kernels())
    assert (check.status, check.detail) == (status, f"{backend}: because")
    assert ("pip install 'ikd[gpu]'" in check.advice) == (status == "warn")


def test_a_bad_choice_of_kernels_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def install() -> ops.Kernels:
        raise BadInput("IKD_OPS must be one of a, b, but got 'c'")

    monkeypatch.setattr(ops, "install", install)
    check = one(doctor.kernels())
    assert (check.status, check.detail) == ("fail", "IKD_OPS must be one of a, b, but got 'c'")


@pytest.mark.parametrize(
    ("free_bytes", "status"),
    [(GIB - 1, "fail"), (GIB, "warn"), (10 * GIB - 1, "warn"), (10 * GIB, "ok")],
)
def test_free_disk_space_has_two_limits(free_bytes: int, status: str) -> None:
    assert check_free(Path("/somewhere"), free_bytes, "set IKD_HOME").status == status


def test_every_check_of_the_module_is_made() -> None:
    """One that nobody calls tells nobody anything."""
    made = inspect.getsource(doctor.diagnose)
    generators = {name for name, one in vars(doctor).items() if inspect.isgeneratorfunction(one) and name[0] != "_"}
    looks = sorted(generators - {"diagnose"})
    assert len(looks) >= 11
    assert [name for name in looks if f"        {name},\n" not in made] == []


@pytest.mark.parametrize(
    ("bound", "status", "text"),
    [
        (None, "ok", "kept within 500 GB; one store takes about 140 GB for COCO"),
        ("0.001", "ok", "kept within 0.001 GB"),
        ("1e9", "warn", "kept within 1e+09 GB"),
        ("much", "fail", "IKD_STORE_GB: must be a number of GB above 0, but got 'much'"),
    ],
)
def test_the_bound_of_perturbations_is_said(
    bound: str | None, status: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IKD_STORE_GB", raising=False)
    if bound is not None:
        monkeypatch.setenv("IKD_STORE_GB", bound)
    check = one(doctor.perturbations())
    assert check.status == status
    assert text in check.detail
    assert ("IKD_STORE_GB" in check.advice) == (status != "ok")


def test_a_home_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "file" / "ikd"))  # a file in the way stops root too
    written, disk = doctor.storage()
    assert (written.name, written.status) == ("home", "fail")
    assert "IKD_HOME" in written.advice
    assert disk.name == "disk"


@pytest.mark.parametrize(("limit", "status"), [("max\n", "ok"), (f"{2 * GIB}\n", "warn")])
def test_the_memory_limit_of_a_container_counts(
    limit: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "memory.max"
    file.write_text(limit)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2 * GIB // 512}[name])
    monkeypatch.setattr(doctor, "MEMORY_LIMIT", file)
    assert one(doctor.memory()).status == status


@pytest.mark.parametrize(("free", "status"), [(64 << 20, "warn"), (2 * GIB, "ok")])
def test_little_shared_memory_warns(free: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert one(doctor.shared_memory(tmp_path)).status == status
    assert list(doctor.shared_memory(tmp_path / "absent")) == []


def test_git_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    check = one(doctor.git())
    assert (check.status, "commit" in check.advice) == ("warn", True)


def test_the_doctor_is_light_to_import() -> None:
    code = "import sys, ikd.doctor; sys.exit(str({'torch', 'ray', 'mlflow', 'mmdet'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("section", "status", "says"),
    [
        (SECTION, "ok", "toy (ikd.losses)"),
        ("import no_such_module", "fail", "package toy-kd: entry point ikd.losses, toy: must be importable"),
    ],
)
def test_what_other_packages_register_is_looked_at(section: str, status: str, says: str, tmp_path: Path) -> None:
    folder = write_toy(tmp_path, section=section)
    code = "from ikd.doctor import plug_ins; print(*((one.status, one.detail) for one in plug_ins()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(f"('{status}', ")
    assert says in done.stdout


def test_without_other_packages_there_is_no_such_line() -> None:
    assert list(doctor.plug_ins()) == []
