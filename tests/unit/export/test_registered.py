"""A registered student gives boxes in a process that cannot import ikd, and they are those of plain mmdet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikd.export import Exported
from ikd.tracking import StudentFacts, Worth, local_uri, open_tracker, register_best

LOAD = """
import json, sys, warnings

class NoIkd:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ikd":
            raise ImportError("ikd is not here")

sys.meta_path.insert(0, NoIkd())
sys.path = [place for place in sys.path if not place.endswith("ikd")]
warnings.simplefilter("ignore")
import mlflow, pandas

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/cells@champion")
image = open(sys.argv[2], "rb").read()
found = model.predict(pandas.DataFrame({"image": [image, image]}), params={"score_threshold": 0.2})
example = model.predict(model.input_example)
assert not [name for name in sys.modules if name.split(".")[0] == "ikd"]
try:
    model.predict(pandas.DataFrame({"image": [b"no image"]}))
    refused = ""
except ValueError as error:
    refused = str(error)
print(json.dumps({"found": found.to_dict("list"), "columns": list(example.columns), "refused": refused}))
"""


@pytest.fixture
def registered(exported: Exported, tmp_path: Path) -> str:
    """Register the student of the tests in an MLflow of its own; gives the address of that."""
    folder = tmp_path / "sweeps" / "s"
    with open_tracker("local", home=tmp_path, folder=folder) as tracker:
        tracker.start_sweep("s", tags={}, params={})
        tracker.start_trial(7, name="7 mgd", params={}, tags={})
        tracker.end_trial(7, "finished")
        assert tracker.flush(120)
    facts = StudentFacts(Worth("bbox_mAP", True, exported.metrics["bbox_mAP"], None, "9c1f"), exported.metrics)
    register_best(
        exported.directory, uri="local", home=tmp_path, sweep=folder, number=7, model="cells", facts=facts,
        alias="champion",
    )  # fmt: skip
    return local_uri(tmp_path)


def plainly(exported: Exported, image: Path) -> list[tuple[int, float]]:
    """Return label and score of what plain mmdet finds."""
    import ikd.ops

    ikd.ops.install()
    from mmdet.apis import inference_detector, init_detector

    detector = init_detector(str(exported.config), str(exported.checkpoint), device="cpu")
    found = inference_detector(detector, str(image)).pred_instances
    return [(label, score) for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)]


@pytest.mark.slow
def test_boxes_without_ikd(registered: str, exported: Exported, best: Path, tmp_path: Path) -> None:
    image = sorted((best.parent.parent / "data" / "images").iterdir())[0]
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "IKD"))}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, registered, str(image)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found = told["found"]
    wanted = [(label, score) for label, score in plainly(exported, image) if score >= 0.2]
    assert wanted, "else the comparison says nothing"
    assert found["image"] == [0] * len(wanted) + [1] * len(wanted)
    assert found["score"][: len(wanted)] == pytest.approx([score for _, score in wanted], abs=1e-5)
    classes = json.loads((exported.directory / "card.json").read_text())["classes"]
    assert found["label"][: len(wanted)] == [classes[label] for label, _ in wanted]
    assert all(left < right for left, right in zip(found["x1"], found["x2"], strict=True))
    assert told["columns"] == ["image", "label", "score", "x1", "y1", "x2", "y2"]
    assert told["refused"] == "image: row 0 must hold a whole PNG or JPEG file"
