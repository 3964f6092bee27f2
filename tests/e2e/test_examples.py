"""Every script of examples/ runs to its end, and the notebook shows a sweep."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from benchmarks.report.played import play, played_space
from ikd import load_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = ROOT / "docs" / "notebooks" / "read_a_sweep.ipynb"


def run(script: str, *arguments: str, home: Path, path: tuple[Path, ...] = ()) -> str:
    """Run a script as a person does, elsewhere than in the clone; return what it prints."""
    environment = {
        **os.environ,
        "IKD_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(package: Path, place: Path) -> tuple[Path, Path]:
    """Register a package as pip does, in a folder of its own; return what to import from."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    metadata = place / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [
        line for group, one in groups for line in (f"[{group}]", *(f"{name} = {value}" for name, value in one.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return place, package


@pytest.fixture(scope="module")
def played_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    play(home, "whole", played_space(20))
    return home


def test_the_readme_lists_every_example() -> None:
    listed = set(re.findall(r"^\| `([\w./]+)` \|", (EXAMPLES / "README.md").read_text(), flags=re.M))
    there = {
        one.name + "/" * one.is_dir() for one in EXAMPLES.iterdir() if one.name not in ("README.md", "__pycache__")
    }
    assert listed == there
    assert len(listed) == 5


def test_the_space_from_python_fits_its_recipe() -> None:
    example = runpy.run_path(str(EXAMPLES / "sweep_from_python.py"))
    space = example["make_space"](6).checked(load_recipe(example["RECIPE"]))
    assert space.budget.trials == 6
    assert set(space.parameters) == set(example["PARAMETERS"])


@pytest.mark.slow
def test_a_finished_sweep_is_read(played_home: Path) -> None:
    text = run("read_sweep.py", "whole", "--report", "report.html", home=played_home)
    assert "Sweep('whole': complete, 20 of 20 trials ended)" in text
    assert re.search(r"over student_alone: \+\d\.\d \[", text)
    assert (played_home / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_notebook_reads_a_sweep(played_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    for name, value in {
        "IKD_HOME": str(played_home), "IKD_SWEEP": "whole", "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(played_home / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own shows pictures in the notebook
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(played_home)}}
    )
    client.execute()
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("Sweep('whole': complete" in one for one in shown)
    assert any("student_alone" in one and "confirmed" in one for one in shown)
    assert any("<table" in one for one in shown)
    assert any("image/png" in one for one in shown), "curves"
    assert (played_home / "report.html").is_file()


def test_the_notebook_is_stored_without_results() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in notebook.cells if "outputs" in cell)


@pytest.mark.parametrize(("package", "name"), [("own_detector", "rtmdet"), ("own_loss", "huber")])
@pytest.mark.slow
def test_the_packages_of_the_examples_register(package: str, name: str, tmp_path: Path) -> None:
    code = {
        "own_loss": "from ikd.distill import check_loss; check_loss('huber')",
        "own_detector": (
            "from ikd.detectors import build_detector, detector_config, tap_names\n"
            "taps = tap_names(build_detector(detector_config('ikd::rtmdet_small', classes=('a', 'b'))))\n"
            "assert taps == [f'neck.out_convs.{level}.conv' for level in range(3)], taps"
        ),
    }[package]
    path = os.pathsep.join(map(str, (*installed(EXAMPLES / package, tmp_path), ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "IKD_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_loss_and_a_detector_of_ones_own_are_trained(tmp_path: Path) -> None:
    for package in ("own_loss", "own_detector"):
        place = tmp_path / f"{package} installed"
        place.mkdir()
        path = installed(EXAMPLES / package, place)
        text = run(f"{package}/train.py", "--epochs", "1", "--work", str(tmp_path / "work"), home=tmp_path, path=path)
        assert "epoch 1: bbox_mAP" in text
        assert (tmp_path / "work" / package / "best.pth").is_file()


@pytest.mark.slow
def test_a_tuner_of_ones_own_finds_a_student(tmp_path: Path) -> None:
    arguments = ["--samples", "2", "--epochs", "1", "--work", str(tmp_path / "work")]
    text = run("plain_ray_tuner.py", *arguments, home=tmp_path)
    (best,) = re.findall(r"^its student: (.*)$", text, flags=re.M)
    assert Path(best).is_file()


@pytest.mark.slow
def test_a_sweep_from_python_exports_its_student(tmp_path: Path) -> None:
    text = run(
        "sweep_from_python.py", "--trials", "4", "--epochs", "1", "--work", str(tmp_path / "work"), home=tmp_path
    )
    assert (tmp_path / "work" / "student" / "student.pth").is_file()
    assert "chosen" in text
