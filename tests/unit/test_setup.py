"""The set-up: pins for every Python, and a Makefile that does nothing twice and says what is wrong.

The Makefile runs for real, in a copy of its folder, with interpreters that only pretend to install.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12")
TOOLS = (
    "make",
    "sh",
    "awk",
    "sed",
    "cat",
    "cut",
    "du",
    "df",
    "rm",
    "cp",
    "mkdir",
    "dirname",
    "touch",
    "env",
    "bash",
    "echo",
)

PRETENDER = """#!/bin/sh
# Answers the probe as Python {version} would, pretends to make environments, and notes each call of pip.
case "$1 $2" in
  "-c import cv2") [ ! -e "{log}.no-libgl" ] ;;
  "-c "*) exec "{real}" -c 'import sys; sys.version_info = ({commas}); exec(sys.argv[1])' "$2" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") [ "$3" = --version ] || echo "$@" >> "{log}"; [ "$3" = --version ] || [ ! -e "{log}.fail" ] ;;
esac
"""


class Clone:
    """A copy of what set-up reads, with a PATH of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "my  clone"
        self.bin = tmp_path / "bin"
        self.log = tmp_path / "pip.log"
        self.environment: dict[str, str] = {}
        self.folder.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")

    def script(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, version: str) -> Path:
        commas = version.replace(".", ", ")
        text = PRETENDER.format(version=version, commas=commas, real=sys.executable, log=self.log)
        return self.script(name, text)

    def make(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        # a PATH and nothing else: an outer `make test PYTHON=...` would come through MAKEFLAGS
        command = ["make", *(arguments or (".venv",))]
        environment = {"PATH": str(self.bin), **self.environment}
        return subprocess.run(
            command, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def installs(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Clone(tmp_path)


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def pins(python: str) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_once_to_a_version_it_allows(python: str) -> None:
    found = pins(python)
    extras = project()["optional-dependencies"]
    lines = [*project()["dependencies"], *(line for extra in extras.values() for line in extra)]
    assert len(lines) > 15
    needs = list(map(Requirement, lines))
    own = [need for need in needs if need.name == "ikd"]
    beside_dev = {"docs", "postgresql", "text"}
    assert {extra for need in own for extra in need.extras} == beside_dev, "what `make` installs beside dev"
    assert extras.keys() >= beside_dev
    for need in (need for need in needs if need not in own):
        (pin,) = found[canonicalize_name(need.name)]
        (exact,) = pin.specifier
        assert need.specifier.contains(exact.version), f"{need} against {pin}"


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_is_exact_and_single(python: str) -> None:
    found = pins(python)
    assert len(found) > 100
    for name, applying in found.items():
        assert [[s.operator for s in pin.specifier] for pin in applying] == [["=="]], f"{name} on Python {python}"
    versions = {str(found[name][0].specifier) for name in ("opencv-python", "opencv-python-headless")}
    assert len(versions) == 1, "both write the folder cv2"


def test_each_dependency_and_warning_filter_says_who_needs_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    silent = []
    for opening in ("dependencies = [", "onnx = [", "gpu = [", "docs = [", "dev = [", "filterwarnings = ["):
        start = lines.index(opening)
        block = lines[start + 1 : lines.index("]", start)]
        commented = [line for before, line in zip(["", *block], block, strict=False) if "#" in line + before]
        silent += [line for line in block if line not in commented and line.strip() != '"error",']
    assert silent == []


def test_installed_packages_fit_each_other() -> None:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("this environment has no pip")
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_set_up_installs_with_the_constraints_and_only_once(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    assert clone.make().returncode == 0
    assert clone.installs() == ["-m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]"]
    assert clone.make().returncode == 0
    assert len(clone.installs()) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_set_up_installs_again_when_what_it_read_changed(clone: Clone, name: str) -> None:
    clone.python("python3", "3.11.7")
    clone.make()
    later = (clone.folder / ".venv" / "set-up-done").stat().st_mtime + 2
    os.utime(clone.folder / name, (later, later))
    assert clone.make().returncode == 0
    assert len(clone.installs()) == 2


def test_a_moved_folder_gets_a_new_environment(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    clone.make()
    (clone.folder / ".venv" / "leftover").touch()
    clone.folder = clone.folder.rename(clone.folder.parent / "moved")
    assert clone.make().returncode == 0
    assert len(clone.installs()) == 2
    assert not (clone.folder / ".venv" / "leftover").exists()
    clone.make()
    assert len(clone.installs()) == 2


def test_another_python_gets_a_new_environment(clone: Clone, tmp_path: Path) -> None:
    clone.python("python3", "3.11.7")
    clone.make()
    other = clone.python("other python", "3.12.1")
    assert clone.make(".venv", f"PYTHON={other}").returncode == 0
    assert len(clone.installs()) == 2
    assert (clone.folder / ".venv" / "made-for").read_text() == f"{clone.folder} 3.12\n"


@pytest.mark.parametrize("version", ["3.8.18", "3.9.2", "3.13.0"])
def test_a_python_that_will_not_do_is_named_with_its_version(clone: Clone, version: str) -> None:
    clone.python("python3", version)
    done = clone.make()
    assert done.returncode != 0
    assert f"python3: is Python {version}" in done.stderr
    assert "ikd needs Python 3.10, 3.11 or 3.12" in done.stderr
    assert "PYTHON=/path/to" in done.stderr
    assert not (clone.folder / ".venv").exists()


def test_the_first_python_that_runs_is_taken(clone: Clone) -> None:
    clone.python("python3", "3.8.18")
    clone.script("python3.12", "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    clone.python("python3.11", "3.11.7")
    assert clone.make().returncode == 0
    assert (clone.folder / ".venv" / "made-for").read_text().endswith(" 3.11\n")


def test_a_named_python_is_not_replaced_by_another(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    done = clone.make(".venv", "PYTHON=python3.10")
    assert done.returncode != 0
    assert "python3.10: not found" in done.stderr
    assert clone.installs() == []


def test_a_python_without_venv_is_named_with_the_package_that_brings_it(clone: Clone) -> None:
    python = clone.python("python3", "3.11.7")
    hidden = "sys.modules.update(ensurepip=None); sys.version_info"
    clone.script("python3", python.read_text().replace("sys.version_info", hidden))
    done = clone.make()
    assert done.returncode != 0
    assert "apt install python3.11-venv" in done.stderr


@pytest.mark.parametrize(("free_kib", "passes"), [(3 << 20, False), (5 << 20, True)])
def test_a_full_disk_is_told_before_anything_is_made(clone: Clone, free_kib: int, passes: bool) -> None:
    clone.python("python3", "3.11.7")
    clone.script("df", f"#!/bin/sh\necho Filesystem\necho /dev/vda 1 1 {free_kib} 1% /\n")
    done = clone.make()
    assert (done.returncode == 0) == passes
    assert (clone.folder / ".venv").exists() == passes
    told = f"{clone.folder} has 3072 MiB free, 4000 MiB are needed"
    assert (told in done.stderr) != passes


def test_a_full_temporary_folder_is_told_too(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    small = 'case "$2" in /tmp) free=900000 ;; *) free=9000000 ;; esac'
    clone.script("df", f"#!/bin/sh\n{small}\necho Filesystem\necho /dev/vda 1 1 $free 1% /\n")
    done = clone.make()
    assert done.returncode != 0
    assert "/tmp has 878 MiB free, 1000 MiB are needed" in done.stderr
    assert "TMPDIR" in done.stderr


def test_a_failed_pip_is_explained_and_goes_on_next_time(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    failing = Path(f"{clone.log}.fail")
    failing.touch()
    done = clone.make()
    assert done.returncode != 0
    assert "pip failed" in done.stderr
    assert "MiB" in done.stderr
    assert "run make again" in done.stderr
    (clone.folder / ".venv" / "downloaded").touch()
    failing.unlink()
    assert clone.make().returncode == 0
    assert (clone.folder / ".venv" / "downloaded").exists(), "what was installed is kept"


def test_without_libgl_the_headless_opencv_is_put_in_place(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    Path(f"{clone.log}.no-libgl").touch()
    assert clone.make().returncode == 0
    assert len(clone.installs()) == 2
    assert clone.installs()[1].endswith("-c constraints.txt --force-reinstall --no-deps opencv-python-headless")


def test_verbs_work_from_any_folder(clone: Clone, tmp_path: Path) -> None:
    clone.python("python3", "3.11.7")
    assert clone.make("-C", str(clone.folder), ".venv", cwd=tmp_path).returncode == 0
    assert clone.make("-f", str(clone.folder / "Makefile"), ".venv", cwd=tmp_path).returncode == 0
    assert len(clone.installs()) == 1
    assert not (tmp_path / ".venv").exists()


def test_make_alone_lists_the_verbs_and_does_nothing(clone: Clone) -> None:
    done = clone.make("help")
    for verb in ("demo", "clean-demo", "test", "test-faults", "test-all", "lint", "docs", "clean"):
        assert f"make {verb} " in done.stdout
    assert not (clone.folder / ".venv").exists()


def test_the_demo_sweeps_then_exports_into_the_clone(clone: Clone) -> None:
    clone.python("python3", "3.11.7")
    clone.make()
    seen = clone.folder / "seen"
    ikd = clone.folder / ".venv" / "bin" / "ikd"
    ikd.write_text(f'#!/bin/sh\necho "$IKD_HOME: $@" >> "{seen}"\n')
    ikd.chmod(0o755)
    done = clone.make("demo")
    assert done.returncode == 0, done.stderr
    home = clone.environment.get("IKD_HOME", "")
    assert seen.read_text().splitlines() == [
        f"{home}: sweep search_spaces/quickstart.yaml --name demo --runner runners/local.yaml",
        f"{home}: export demo --to .demo/student",
    ], "in the usual home, where ikd status demo finds it"
    assert f". '{clone.folder}/.venv/bin/activate'" in done.stdout.splitlines()[-1]


def test_the_demo_can_begin_anew(clone: Clone, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    clone.environment["IKD_HOME"] = str(home)
    for path in (home / "sweeps" / "demo", home / "sweeps" / "mine", clone.folder / ".demo" / "student"):
        path.mkdir(parents=True)
    assert clone.make("clean-demo").returncode == 0
    assert [path.name for path in (home / "sweeps").iterdir()] == ["mine"]
    assert not (clone.folder / ".demo").exists()


def test_clean_leaves_only_what_was_cloned(clone: Clone) -> None:
    before = sorted(clone.folder.iterdir())
    clone.python("python3", "3.11.7")
    clone.script("find", f'#!/bin/sh\nexec {shutil.which("find")} "$@"\n')
    clone.make()
    (clone.folder / "ikd" / "__pycache__").mkdir(parents=True)
    (clone.folder / ".demo").mkdir()
    assert clone.make("clean").returncode == 0
    assert not (clone.folder / "ikd" / "__pycache__").exists()
    (clone.folder / "ikd").rmdir()
    assert sorted(clone.folder.iterdir()) == before


FAULT = """
import pathlib, pytest
def test_slow_machine():
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        raise RuntimeError("a deadline is missed")
def test_wrong():
    assert {wrong} == 1
def test_without_service():
    pytest.skip("needs PostgreSQL")
"""


@pytest.mark.parametrize("wrong", [False, True])
def test_a_fault_test_has_a_second_try_and_both_outcomes_are_printed(clone: Clone, tmp_path: Path, wrong: bool) -> None:
    clone.python("python3", "3.11.7")
    clone.make()
    clone.script("python", '#!/bin/sh\necho "$@"\n').rename(clone.folder / ".venv" / "bin" / "python")
    command = clone.make("test-faults", "PYTEST_ARGS=-p no:cacheprovider").stdout.splitlines()[-1].split()
    assert command[:5] == ["-m", "pytest", "tests/faults", "-m", "fault"]
    faults = tmp_path / "test_faults.py"
    faults.write_text(FAULT.format(wrong=2 if wrong else 1))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(faults), *command[5:]], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == wrong, done.stdout
    once = lines.index("RERUN test_faults.py::test_slow_machine")
    then = lines.index("PASSED test_faults.py::test_slow_machine")
    assert any("RuntimeError: a deadline is missed" in line for line in lines[once:then]), done.stdout
    assert any(line.startswith("SKIPPED [1] test_faults.py") and "needs PostgreSQL" in line for line in lines)
    assert ("FAILED test_faults.py::test_wrong - assert 2 == 1" in lines) == wrong
    counted = "1 failed, 1 passed, 1 skipped, 2 rerun" if wrong else "2 passed, 1 skipped, 1 rerun"
    assert counted in lines[-1]


@pytest.mark.parametrize("failing", [None, "test", "docs", "test-faults"])
def test_ci_runs_the_tests_of_its_own_checkout_and_hands_on_their_status(clone: Clone, failing: str | None) -> None:
    script = clone.folder / ".ci" / "run"
    script.parent.mkdir()
    shutil.copy(ROOT / ".ci" / "run", script)
    assert script.stat().st_mode & stat.S_IXUSR
    clone.script("make", f'#!/bin/sh\necho "$PWD: $@"; cat; [ "$1" != "{failing}" ] || exit 2\n')
    environment = {"PATH": str(clone.bin)}
    done = subprocess.run(
        [str(script)], env=environment, input="typed", capture_output=True, text=True, check=False, cwd="/"
    )
    verbs = ["test", "docs", "test-faults"]
    ran = verbs[: verbs.index(failing) + 1] if failing else verbs
    assert done.stdout.splitlines() == [f"{clone.folder}: {verb}" for verb in ran]
    assert done.returncode == (2 if failing else 0)
