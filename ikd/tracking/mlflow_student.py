"""An exported student as an MLflow model: encoded images in, boxes out. A copy of this file lies in every such model.

It needs mmdet and what mmdet needs, and nothing of ikd: where mmcv has no compiled kernels, those in PyTorch that lie
beside it are taken.
"""

import contextlib
import importlib
import importlib.util
import io
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd

KERNELS = "student_kernels"
COLUMNS = ("image", "label", "score", "x1", "y1", "x2", "y2")


class Student(mlflow.pyfunc.PythonModel):
    """A detector.

    Input: a frame with a column `image` of PNG or JPEG files as bytes (base64 in JSON). Output: a row a box, with
    `image` (row of the input, from 0), `label` (name of the class), `score` (0 to 1) and `x1`, `y1`, `x2`, `y2` in
    pixels of that image. Parameter `score_threshold`: boxes below are left out.
    """

    def load_context(self, context: Any) -> None:
        """Build the detector from its mmdet config and checkpoint, on a GPU where there is one."""
        if importlib.util.find_spec("mmcv._ext") is None:
            importlib.import_module(KERNELS).install()
        torch, apis = importlib.import_module("torch"), importlib.import_module("mmdet.apis")
        files = context.artifacts["student"]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with contextlib.redirect_stdout(io.StringIO()):  # mmengine says what it loads
            self.detector = apis.init_detector(f"{files}/student.py", f"{files}/student.pth", device=device)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the boxes of some images."""
        least = float((params or {}).get("score_threshold", 0.0))
        rows = [row for number, image in enumerate(model_input["image"]) for row in self._boxes(number, image, least)]
        kinds = {"image": "int64", "label": "object", **dict.fromkeys(COLUMNS[2:], "float64")}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)

    def _boxes(self, number: int, image: bytes, least: float) -> list[tuple[Any, ...]]:
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(f"image: row {number} must hold a whole PNG or JPEG file")
        found = importlib.import_module("mmdet.apis").inference_detector(self.detector, pixels).pred_instances
        names = self.detector.dataset_meta["classes"]
        every = zip(found.labels.tolist(), found.scores.tolist(), found.bboxes.tolist(), strict=True)
        return [(number, names[label], score, *box) for label, score, box in every if score >= least]


mlflow.models.set_model(Student())
