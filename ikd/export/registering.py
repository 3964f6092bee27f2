"""An exported student as a version of a model in MLflow's registry."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ikd.config import Objective
from ikd.errors import BadInput
from ikd.export.exported import Exported, SearchContext
from ikd.export.folder import CARD
from ikd.sweep import SweepFolder, experiment_of, label, read_files
from ikd.tracking import RegisteredStudent, StudentFacts, Worth, check_names, code, markdown_table, plain, register_best
from ikd.trial import TEST

MOST_METRICS = 16
"""In the table of a description; all of them are metrics of the version."""
USE = """\
```python
import mlflow, pandas
student = mlflow.pyfunc.load_model("models:/{model}/VERSION")
student.predict(pandas.DataFrame({{"image": [open("image.jpg", "rb").read()]}}), params={{"score_threshold": 0.3}})
```

A row a box: `image` (row of the input), `label`, `score`, `x1`, `y1`, `x2`, `y2` in pixels. It needs mmdet and no ikd.
The files for plain mmdet, with a card that says all of this and more, are in `artifacts/student`."""


def check_register(folder: SweepFolder, register: str | None, alias: str | None, *, force: bool) -> None:
    """Refuse what cannot be registered, before anything is exported.

    Raises:
        BadInput: an alias without a model, force without an alias, a name that MLflow refuses, a sweep without tracker.
    """
    if register is None:
        if alias is not None:
            raise BadInput(f"--alias: must come with --register, the model that it belongs to, but got {alias!r}")
        if force:
            raise BadInput("--force: must come with --register and --alias: it moves an alias to a worse version")
        return
    if force and alias is None:
        raise BadInput("--force: must come with --alias: without one nothing is moved")
    check_names(register, alias)
    if read_files(folder).runner.tracking.uri == "none":
        rule = "must name an MLflow server to register in, but got 'none'"
        raise BadInput(f"{folder.files}: runner.tracking.uri: {rule}")


def register_student(
    exported: Exported, context: SearchContext, *, folder: SweepFolder, model: str, alias: str | None, force: bool
) -> RegisteredStudent:
    """Register an exported student; see `register_best`.

    Args:
        exported: the student.
        context: the sweep that it comes from.
        folder: of that.
        model: name of the registered model.
        alias: that shall lead to it; None leaves all aliases.
        force: move it to a worse version, too.
    """
    files = read_files(folder)
    return register_best(
        exported.directory,
        uri=files.runner.tracking.uri,
        home=folder.home,
        sweep=folder.path,
        number=context.trial,
        model=model,
        facts=_facts(exported, context, files.space.objective, model),
        alias=alias,
        force=force,
        experiment=experiment_of(files),
    )


def _facts(exported: Exported, context: SearchContext, objective: Objective, model: str) -> StudentFacts:
    card = json.loads((exported.directory / CARD).read_text(encoding="utf-8"))
    metric = objective.metric if objective.metric in exported.metrics else "bbox_mAP"
    worth = Worth(
        metric,
        objective.mode == "max",
        exported.metrics[metric],
        exported.test.get(f"{TEST}{metric}"),
        card["data"]["fingerprint"],
    )
    metrics = {**exported.metrics, **exported.test}
    return StudentFacts(worth, metrics, _description(card, metrics, context, model))


def _description(card: Mapping[str, Any], metrics: Mapping[str, float], context: SearchContext, model: str) -> str:
    """Return what a version is, in Markdown."""
    what = f"Trial {plain(label(context.trial, context.name))} of the sweep {code(context.sweep)}"
    said = (context.choice or {}).get("said", ())
    head = [f"{what}, epoch {card['epoch']}; recipe {code(card['name'])}."]
    head += ["\n".join(f"* {plain(line)}" for line in said)] if said else []
    finite = [name for name in metrics if math.isfinite(metrics[name])]
    rows = [[code(name), f"{100 * metrics[name]:.1f}"] for name in finite[:MOST_METRICS]]
    size = f"{card['parameters']:,} parameters"
    size += f", {card['multiply_adds'] / 1e6:.1f} M multiply-adds" if card["multiply_adds"] is not None else ""
    return "\n\n".join(
        [
            *head,
            "In plain mmdet, x100:\n\n" + markdown_table(["metric", "value"], rows, right=[1]),
            f"Classes: {', '.join(plain(name) for name in card['classes'])}.",
            f"Data: {code(card['data']['root'])}, fingerprint {code(card['data']['fingerprint'])}.",
            f"{size}; SHA-256 of student.pth {code(card['sha256'])}.",
            USE.format(model=model),
        ]
    )
