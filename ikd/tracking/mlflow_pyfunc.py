"""The files of a registered model: the exported student, and what MLflow needs to run it anywhere."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

KERNELS = "student_kernels"
"""Package beside a model: mmcv's kernels in PyTorch, for where mmcv has none."""
SOURCES = {"ikd.ops": KERNELS, "ikd.errors": f"{KERNELS}.errors", "ikd.masking": f"{KERNELS}.masking"}
"""What is copied into it, and how it is called there."""
REQUIRED = ("mlflow", "torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "numpy", "pandas")
"""Distributions that a model needs beside its files; mmdet asks for the rest."""
PLACEHOLDER = (48, 64)
"""Height and width of the image in the example of an input."""


def requirements() -> list[str]:
    """Return what pip installs for a student, pinned to what made it; a build's own suffix (`+cpu`) is left out."""
    found = []
    for name in (*REQUIRED, *_opencv()):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return found


def _opencv() -> Iterator[str]:
    """Yield the OpenCV that is installed: two distributions have it."""
    for name in ("opencv-python-headless", "opencv-python"):
        try:
            version(name)
        except PackageNotFoundError:
            continue
        yield name
        return
    yield "opencv-python-headless"


def write_model(student: Path, folder: Path) -> None:
    """Write a model that `mlflow.pyfunc.load_model` reads where ikd is not installed.

    Args:
        student: folder with student.py and student.pth.
        folder: of the model; must not be there.
    """
    mlflow, models = importlib.import_module("mlflow"), importlib.import_module("mlflow.models")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of pandas and of what it guesses
        kernels = _kernels(Path(scratch) / KERNELS)
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("mlflow_student.py")),
            artifacts={"student": str(student)},
            code_paths=[str(kernels)],
            signature=_signature(models),
            input_example=_example(),
            pip_requirements=requirements(),
        )


def _signature(models: Any) -> Any:
    types = importlib.import_module("mlflow.types")
    columns = {"image": "long", "label": "string", **dict.fromkeys(("score", "x1", "y1", "x2", "y2"), "double")}
    inputs = types.Schema([types.ColSpec("binary", "image")])
    outputs = types.Schema([types.ColSpec(kind, name) for name, kind in columns.items()])
    params = types.ParamSchema([types.ParamSpec("score_threshold", "double", 0.0)])
    return models.ModelSignature(inputs, outputs, params)


def _example() -> Any:
    """Return an input: a grey ramp, as no image of the data set needs to lie in a registry."""
    cv2, pandas = importlib.import_module("cv2"), importlib.import_module("pandas")
    numpy = importlib.import_module("numpy")
    height, width = PLACEHOLDER
    ramp = numpy.tile(numpy.linspace(0, 255, width).astype("uint8"), (height, 1))
    return pandas.DataFrame({"image": [cv2.imencode(".png", ramp)[1].tobytes()]})


def _kernels(folder: Path) -> Path:
    """Copy the kernels into a package of their own."""
    folder.mkdir()
    spec = importlib.util.find_spec("ikd.ops")
    assert spec is not None and spec.origin is not None  # noqa: PT018 - it is ours
    ops = Path(spec.origin).parent
    for file in [*sorted(ops.glob("*.py")), ops.parent / "errors.py", ops.parent / "masking.py"]:
        text = file.read_text(encoding="utf-8")
        for ours, theirs in SOURCES.items():
            text = text.replace(ours, theirs)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder
