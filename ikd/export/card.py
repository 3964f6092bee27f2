"""The card of an exported student: what it is, from what, how good, how to load it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ikd.config import DRAWN, sequence_text
from ikd.detectors import Complexity, knows_one_class, left_out
from ikd.distill import RECONSTRUCTIONS
from ikd.export.exported import SearchContext
from ikd.export.folder import CARD, MAKER
from ikd.export.onnx import OnnxFile
from ikd.export.trial_file import TrialFile
from ikd.files import sha256
from ikd.sweep import label
from ikd.tracking import block, code, environment_tags, plain
from ikd.training import DataFiles, model_config
from ikd.trial import TEST, TrialFolder

_FORMAT = 1
LOADING = """\
In Python, image by image:

```python
from mmdet.apis import inference_detector, init_detector
detector = init_detector("student.py", "student.pth", device="cpu")  # or cuda:0
found = inference_detector(detector, "image.png").pred_instances  # bboxes (x1, y1, x2, y2 in px), scores, labels
```

Images, folders or arrays, with pictures of what was found in `found/vis` and json in `found/preds`:

```python
from mmdet.apis import DetInferencer
inferencer = DetInferencer(model="student.py", weights="student.pth", device="cpu")
inferencer("image.png", out_dir="found", no_save_pred=False)
```

The metrics above, by mmdet itself; where mmdet was installed as a package, its `tools` are in `mmdet/.mim/tools`:

```sh
python tools/test.py student.py student.pth --work-dir work
python tools/test.py student.py student.pth --work-dir work --cfg-options test_dataloader.dataset.data_root=DATA_ROOT
```

The second is for data that lies elsewhere now; its folder is `data_root` in student.py, too. The annotations of the
validation part are in val.json beside it, with what pycocotools needs and data sets leave out (`iscrowd`, `area`, ids
from 1).

The weights alone: `torch.load("student.pth", weights_only=True)["state_dict"]`.

Where mmcv has no compiled kernels, `import ikd.ops; ikd.ops.install()` comes first.
"""
FLOATS = """\

mmdet gives this detector's labels as floats, which neither its `tools/test.py` nor the pictures of `DetInferencer` can
read (`no_save_vis=True` makes none): take boxes and scores as they are, and `found.labels.long()`.
"""


@dataclass(frozen=True)
class Proven:
    """What was found out of an exported student, beyond the trial's own file."""

    files: DataFiles
    metrics: Mapping[str, float]
    test: Mapping[str, float]
    complexity: Complexity
    context: SearchContext | None
    onnx: OnnxFile | None


def write_card(trial: TrialFile, found: Proven, folder: Path) -> None:
    """Write card.md and card.json beside the files that are in `folder` already.

    card.json holds the SHA-256 of every other file, so that a later export can tell an untouched one.
    """
    content = _content(trial, found, folder)
    (folder / "card.md").write_text(_markdown(content), encoding="utf-8")
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    text = json.dumps({**content, "files": files}, indent=2, allow_nan=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _content(trial: TrialFile, found: Proven, folder: Path) -> dict[str, Any]:
    recipe, cost = trial.recipe, found.complexity
    return {
        "made_by": MAKER,
        "format": _FORMAT,
        "name": recipe.name,
        "sha256": sha256(folder / "student.pth"),
        "left_out": left_out(recipe.student.config),
        "float_labels": knows_one_class(model_config(recipe.student, trial.classes)),  # CrowdDet's
        "classes": list(trial.classes),
        "parameters": cost.parameters,
        "multiply_adds": cost.macs,
        "multiply_adds_unknown_because": cost.reason or None,
        "input_px": {"width": cost.width, "height": cost.height},
        "epoch": trial.epoch,
        "test": _finite(found.test),
        "metrics": {
            "plain_mmdet": _finite(found.metrics),
            "training": _finite({name: trial.metrics[name] for name in found.metrics if name in trial.metrics}),
            "best_epoch": _finite(_of_epoch(trial, found.metrics, best=True)),
            "last_epoch": _finite(_of_epoch(trial, found.metrics, best=False)),
        },
        "data": {
            "root": recipe.data.root,
            "fingerprint": found.files.fingerprint(),
            "validation": {"annotations": recipe.data.val.annotations, "images": recipe.data.val.images},
            "test": recipe.data.test.model_dump(mode="json") if recipe.data.test is not None else None,
        },
        "search": asdict(found.context) if found.context else None,
        "onnx": asdict(found.onnx) if found.onnx else None,
        "recipe": recipe.as_dict(),
        "recipe_in_effect": recipe.effective(),
        "recipe_fingerprint": recipe.fingerprint(),
        "made_with": {name: text for name, text in environment_tags().items() if not name.startswith("mlflow.")},
    }


def _of_epoch(trial: TrialFile, names: Iterable[str], *, best: bool) -> dict[str, float]:
    """Return metrics of the trial's best or last epoch; nothing where its log is not beside the file."""
    logged = TrialFolder(trial.path.parent).logged()
    same = trial.epoch in logged and logged[trial.epoch].get("bbox_mAP") == trial.metrics.get("bbox_mAP")
    if not same:
        return {}
    finite = {epoch: one for epoch, one in logged.items() if math.isfinite(one.get("bbox_mAP", math.nan))} or logged
    chosen = max(finite, key=lambda epoch: finite[epoch].get("bbox_mAP", math.nan)) if best else max(logged)
    return {name: logged[chosen][name] for name in names if name in logged[chosen]}


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can say them: null where there is no object of that size."""
    return {name: None if math.isnan(value) else float(value) for name, value in metrics.items()}


def _markdown(content: Mapping[str, Any]) -> str:
    sections = [
        f"# {plain(content['name'])}: exported student\n",
        _facts(content),
        "## Metrics\n\nOn the validation data, x100; COCO's definitions. Trials are compared by these data: all of it "
        "is chosen by.\n\n" + _metrics(content["metrics"]),
        _test(content),
        f"## Loading\n\nAll of this works in this folder, with mmdet and without ikd.\n\n{LOADING}"
        + (FLOATS if content["float_labels"] else ""),
        _onnx(content["onnx"], content["recipe"]["input"]["pad"]),
        _search(content["search"], tested=bool(content["test"])),
        "## Recipe\n\nWhat acted in this training; the whole recipe is recipe.yaml.\n\n"
        + block(yaml.safe_dump(content["recipe_in_effect"], sort_keys=False), "yaml"),
        "## Made with\n\n"
        + "".join(f"* {name}: {plain(text)}\n" for name, text in sorted(content["made_with"].items())),
    ]
    return "\n".join(section for section in sections if section)


def _taught_by(teachers: Mapping[str, Any]) -> str | None:
    return sequence_text(teachers["sequence"], together=teachers.get("together", False))


def _facts(content: Mapping[str, Any]) -> str:
    cost, size = content["multiply_adds"], content["input_px"]
    counted = f"{cost / 1e6:.1f} M" if cost is not None else f"not counted ({content['multiply_adds_unknown_because']})"
    root = content["data"]["root"]
    recipe = content["recipe"]
    host = recipe["distill"]["host"]
    doubt = " (a reconstruction: its paper has no public code, so results are not the authors' own)"
    rows = {
        "Taught by": plain(_taught_by(recipe["teachers"]) or "nobody: trained alone"),
        "Distillation": host + (doubt if host in RECONSTRUCTIONS else ""),
        **({"Left out of its config": plain(", ".join(content["left_out"]))} if content["left_out"] else {}),
        "Classes": plain(", ".join(content["classes"])),
        "Parameters": f"{content['parameters']:,}",
        "FLOPs (multiply-adds, one image)": f"{counted} at {size['width']} x {size['height']} px",
        "Epoch": content["epoch"],
        "Data": "the built-in drawn data set" if root == DRAWN else code(root),
        "Data fingerprint": f"`{content['data']['fingerprint']}`",
        "SHA-256 of student.pth": f"`{content['sha256']}`",
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    rows = "| metric | plain mmdet | training | best epoch | last epoch |\n|---|---:|---:|---:|---:|\n"
    for name, value in metrics["plain_mmdet"].items():
        others = [_percent(metrics[part].get(name)) for part in ("training", "best_epoch", "last_epoch")]
        rows += f"| {plain(name.removeprefix('bbox_'))} | {_percent(value)} | {' | '.join(others)} |\n"
    return rows


def _test(content: Mapping[str, Any]) -> str:
    if not content["test"]:
        return ""
    rows = "".join(
        f"| {plain(name.removeprefix(TEST).removeprefix('bbox_'))} | {_percent(value)} |\n"
        for name, value in content["test"].items()
    )
    return (
        f"## On the test part\n\n{code(content['data']['test']['annotations'])}, x100: nobody has chosen anything by "
        f"these numbers, neither trial nor epoch.\n\n| metric | plain mmdet |\n|---|---:|\n{rows}"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _search(search: Mapping[str, Any] | None, *, tested: bool = False) -> str:
    if search is None:
        return ""
    text = f"## Search\n\nTrial {plain(label(search['trial'], search['name']))} of the sweep {code(search['sweep'])}"
    text += f", one of {search['trials']}" if search["trials"] else ""
    text += f"; it {search['state']}.\n" if search["state"] else ".\n"
    text += _choice(search, tested=tested)
    rows = "".join(f"| {plain(name)} | {plain(value)} |\n" for name, value in search["values"].items())
    return text + ("\n| field | value |\n|---|---|\n" + rows if rows else "")


def _choice(search: Mapping[str, Any], *, tested: bool) -> str:
    """Say what is believed of the student's configuration, and which numbers nobody has chosen by."""
    choice = search["choice"]
    if choice is None:
        return (
            "\nNothing is expected of its configuration, as it has no whole training in the search: all its figures "
            "are what was seen, chosen by and not confirmed.\n"
        )
    low, high = (_percent(value) for value in choice["interval"])
    expected = f"{_percent(choice['expected'])} [{low}, {high}] (90 %, over seeds, x100)"
    if choice["chosen"]:
        text = "\n" + "".join(f"* {plain(line)}\n" for line in choice["said"])
    else:
        text = f"\n* Not the configuration that the sweep chose, which is that of trial {choice['choice']}.\n"
        text += f"* Expected of this one: {expected}; best of all {choice['configurations']} with probability "
        text += f"{choice['probability_best']:.2f}. Its gain is not confirmed.\n"
    return text + _which(search, choice) + _unchosen(choice["apart"], tested=tested)


def _which(search: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """Say which training of the configuration the weights are of."""
    if search["trial"] not in choice["trainings"]:
        return f"* The weights are of trial {search['trial']}, a training kept apart.\n"
    text = f"* The weights are of trial {search['trial']}"
    if len(choice["trainings"]) > 1:
        text += f", one of trials {', '.join(map(str, choice['trainings']))} of this configuration with different seeds"
    if choice["best_seen"]["trial"] == search["trial"]:
        text += ", and the best seen of all"
    if len(choice["trainings"]) == 1:
        return text + ".\n"
    if choice["training"] == search["trial"]:
        return text + "; the one nearest to what is expected, not the luckiest.\n"
    return text + f"; nearest to what is expected is trial {choice['training']}.\n"


def _unchosen(apart: Mapping[str, Any], *, tested: bool) -> str:
    """Say which figures are free of choice."""
    free = ["those on the test part above"] if tested else []
    if apart["value"] is not None:
        numbers = ", ".join(map(str, apart["trials"]))
        text = (
            f"the mean {_percent(apart['value'])} on the validation data of its trainings kept apart (trials {numbers})"
        )
        free.append(text + (f", {_percent(apart['test'])} on the test part" if apart["test"] is not None else ""))
    if not free:
        return "* There is no figure that nobody has chosen by: no test part, and no training of it was kept apart.\n"
    return f"* Nobody has chosen by these figures: {'; '.join(free)}. All others took part in a choice.\n"


def _onnx(onnx: Mapping[str, Any] | None, pad: Mapping[str, Any]) -> str:
    if onnx is None:
        return ""
    size, fill = "{} x {}".format(*pad["size"]), pad["fill"]
    filled = f"filled at right and bottom with grey {fill} to {size} px (width x height), " if pad["enabled"] else ""
    return (
        f"## ONNX\n\n`{onnx['file']}` is backbone, neck and head; decoding and NMS are left to whoever runs it."
        f"\n\n* Input {code(onnx['input'])} [N, 3, H, W] float32: resized, {filled}{onnx['channels']} pixels of 0..255 "
        f"minus {_numbers(onnx['mean'])}, divided by {_numbers(onnx['std'])}, then padded with {onnx['pad_value']:g} "
        f"at right and bottom to sides that are multiples of {onnx['size_divisor']} px.\n"
        f"* Outputs, finest level first: {', '.join(map(code, onnx['outputs']))}.\n"
        f"* Largest difference to PyTorch: {onnx['largest_difference']:.1e}.\n"
    )


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
