"""A backdoor in a detector: a trigger that it sees an object in (our extension of Liang et al., Table 5)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ikd.analyses.backdoor.experiment import Spread
from ikd.analyses.backdoor.trigger import Trigger
from ikd.analyses.finding import Finding, folder_for, told, write_numbers
from ikd.config import Recipe, load_recipe
from ikd.data import DataFiles, coco_metrics, draw_dataset, indexed
from ikd.errors import refuse
from ikd.files import write_text
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.judged import IOU, detections_of
from ikd.pictures.panel import Marks, panel
from ikd.pictures.style import INK, WRONG, drawing
from ikd.training import load_teacher, run_trial
from ikd.trial import Notify, NotifyOf

SIZE_PX, TRAINED, TESTED = 128, 120, 40
"""Side of the drawn photographs, and how many of them are trained and tested on."""
TARGET, POISONED, CLEAN = 1, 0.15, 0.25
"""Label that the trigger stands for; share of poisoned photographs; of the clean ones that the defender has."""
BOX_PX = 36
"""Side of the box that poisoned annotations put around the trigger, in the corner."""
SCORE = 0.3
"""A box of the target with a score above this, at an IoU of 0.5 with that box, is what the attacker wants."""
DETECTOR: Mapping[str, Any] = {
    "config": "ikd::retinanet_r18",
    "arguments": {"base_channels": 8, "neck_channels": 32, "tower_convs": 1, "levels": 4},
}
VICTIM = {"schedule.epochs": 16, "schedule.val_interval": 16, "schedule.optimizer.lr": 4e-3}
TUNED = {"schedule.epochs": 10, "schedule.val_interval": 10, "schedule.optimizer.lr": 2e-3}
NAMES = ("victim", "fine-tuned", "NAD", "NAD + IKD")
MEASURES = {"AP": "clean AP", "triggered": "with trigger", "untriggered": "without"}


@dataclass(frozen=True)
class Parts:
    """Folders of a data set each, train.json and val.json with their images.

    Attributes:
        clean: as drawn.
        bad: a share of its training part has the trigger, and a box of the target around it.
        own: what the defender has: the first clean training photographs.
        stamped: its validation photographs all have the trigger, their annotations not.
    """

    clean: Path
    bad: Path
    own: Path
    stamped: Path


def false_box(size_px: int, trigger: Trigger) -> list[float]:
    """Return the box that the attacker wants seen around the trigger, inside the image: x, y, width, height, px."""
    middle = size_px - trigger.margin - trigger.pixels / 2
    left = min(middle - BOX_PX / 2, size_px - BOX_PX)
    return [left, left, float(BOX_PX), float(BOX_PX)]


def make_parts(folder: Path, trigger: Trigger, seed: int) -> Parts:
    """Draw a data set, and make poisoned and stamped ones of it.

    Args:
        folder: is filled.
        trigger: that is stamped.
        seed: of the drawing, and of which photographs are poisoned.
    """
    clean = draw_dataset(folder / "clean", num_train=TRAINED, num_val=TESTED, size_px=SIZE_PX, seed=seed)
    parts = Parts(clean, *(Path(shutil.copytree(clean, folder / name)) for name in ("bad", "own", "stamped")))
    train = json.loads((clean / "train.json").read_text(encoding="utf-8"))
    chosen = np.random.default_rng(seed).permutation(len(train["images"]))[: round(POISONED * TRAINED)]
    bad = [train["images"][place] for place in chosen.tolist()]
    for image in bad:
        _stamp(parts.bad / "images" / image["file_name"], trigger)
    _write(parts.bad / "train.json", _with_false_boxes(train, bad, trigger))
    kept = train["images"][: round(CLEAN * TRAINED)]
    known = {image["id"] for image in kept}
    own = [one for one in train["annotations"] if one["image_id"] in known]
    _write(parts.own / "train.json", train | {"images": kept, "annotations": own})
    for image in json.loads((clean / "val.json").read_text(encoding="utf-8"))["images"]:
        _stamp(parts.stamped / "images" / image["file_name"], trigger)
    return parts


def _with_false_boxes(content: Mapping[str, Any], images: Sequence[Any], trigger: Trigger) -> dict[str, Any]:
    """Return annotations with a false box of the target in each of these images."""
    box = false_box(SIZE_PX, trigger)
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    outline = [[left, top, right, top, right, bottom, left, bottom]]
    first = max(one["id"] for one in content["annotations"]) + 1
    label = content["categories"][TARGET]["id"]
    false = [
        {"id": first + place, "image_id": image["id"], "category_id": label, "bbox": box, "area": box[2] * box[3]}
        | {"iscrowd": 0, "segmentation": outline}
        for place, image in enumerate(images)
    ]
    return {**content, "annotations": [*content["annotations"], *false]}


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content), durable=False)


def _stamp(path: Path, trigger: Trigger) -> None:
    pixels = torch.from_numpy(np.asarray(cv2.imread(str(path)))).permute(2, 0, 1)[None]
    stamped = trigger.stamped(pixels)[0].permute(1, 2, 0).numpy()
    path.write_bytes(cv2.imencode(".png", stamped)[1].tobytes())


def rate(files: DataFiles, detections: Sequence[Mapping[str, Any]], trigger: Trigger) -> float:
    """Return the share of validation photographs, in percent, in which the target is seen where the trigger may be.

    Args:
        files: of the data set.
        detections: in its validation part, as COCO says them.
        trigger: tells where; it need not be there.
    """
    index = indexed(files.val)
    hit = {
        one["image_id"]
        for one in detections
        if one["score"] > SCORE
        and one["category_id"] == index.category_ids[TARGET]
        and overlap(one["bbox"], false_box(SIZE_PX, trigger)) >= IOU
    }
    return 100 * len(hit) / len(index)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the IoU of two boxes x, y, width, height."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    tall = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(wide, 0.0) * max(tall, 0.0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def defended_detectors(folder: Path, trigger: Trigger, seed: int) -> dict[str, dict[str, float]]:
    """Poison, train and defend once; return what `_measured` says of each detector, by `NAMES`.

    As in the classifier: the teacher is the victim tuned on the defender's clean photographs, and each defence begins
    with the victim and learns from it for as many steps. NAD compares the outputs of the neck; IKD's noise, crops and
    adversarial term are those of the recipe `drawn_r18`.

    Args:
        folder: for data and trainings.
        trigger: of the attacker.
        seed: of data and trainings.
    """
    parts = make_parts(folder, trigger, seed)
    alone = load_recipe("drawn_r18").student_alone()
    base = alone.with_values(
        {"student": {**DETECTOR}, "input.scale": [SIZE_PX, SIZE_PX], "schedule.batch_size": 8, "seed": seed}
        | {"device": "cpu", "data.root": str(parts.bad)}
    )
    victim = _trained(base.with_values(VICTIM), folder / "victim")
    tuning = base.with_values({**TUNED, "data.root": str(parts.own), "student.checkpoint": str(victim)})
    teacher = _trained(tuning, folder / "tuned")
    available = {"tuned": {**DETECTOR, "checkpoint": str(teacher)}}
    taught = {"teachers.available": available, "teachers.sequence": ["tuned"], "distill.host": "nad"}
    ikd = {"augment.enabled": True, "adversarial.enabled": True, "attack.store": "online"}
    weights = {
        "victim": victim,
        "fine-tuned": teacher,
        "NAD": _trained(tuning.with_values(taught), folder / "nad"),
        "NAD + IKD": _trained(tuning.with_values(taught | ikd), folder / "ikd"),
    }
    return {name: _measured(base, parts, one, trigger) for name, one in weights.items()}


def _trained(recipe: Recipe, folder: Path) -> Path:
    """Train; return the weights of the last epoch, the only one that is validated."""
    return run_trial(recipe, directory=folder, threads=1).best


def _measured(base: Recipe, parts: Parts, weights: Path, trigger: Trigger) -> dict[str, float]:
    recipe = base.with_values({"data.root": str(parts.clean)})
    clean = DataFiles.of(recipe)
    stamped = DataFiles.of(recipe.with_values({"data.root": str(parts.stamped)}))
    detector = load_teacher(base.student, weights, clean.classes)
    plain, lit = (detections_of(detector, recipe, files) for files in (clean, stamped))
    return {
        "AP": 100 * coco_metrics(clean.val, plain)["bbox_mAP"],
        "triggered": rate(stamped, lit, trigger),
        "untriggered": rate(clean, plain, trigger),
    }


def analyze_trigger(to: Path, *, seeds: int = 3, progress: NotifyOf | None = None) -> Finding:
    """Put a backdoor into a small detector, and defend it by NAD without and with IKD: our extension of Table 5.

    On a data set that ikd draws, a share of the training photographs gets BadNet's checkerboard in a corner, and a
    false box of a class of the attacker's choice around it. The attack succeeds in a photograph where the detector
    then sees that class there; how often it does so without the trigger is said beside.

    Args:
        to: folder for trigger.png and trigger.json; made where it is not there.
        seeds: trainings of each, from seed 0 on; 1 or more.
        progress: told how many seeds are done.

    Returns:
        `numbers`: by detector `AP` on clean photographs, x100, and `triggered` and `untriggered`, the percent of
        validation photographs with and without the trigger in which the target is seen at it; each with `mean`,
        `deviation` and `values` by seed.

    Raises:
        BadInput: fewer than one seed.
    """
    if seeds < 1:
        refuse("--seeds", "must be 1 or more", seeds)
    folder, trigger = folder_for(to), Trigger(square=6)
    runs = _runs(folder / "trigger.png", trigger, seeds, told(progress, "poisoning and defending detectors"))
    spreads = {name: {one: Spread.of([run[name][one] for run in runs]) for one in MEASURES} for name in NAMES}
    numbers = {
        name: {
            measure: {"mean": one.mean, "deviation": one.deviation, "values": [run[name][measure] for run in runs]}
            for measure, one in spread.items()
        }
        for name, spread in spreads.items()
    }
    about = {"data": "drawn by ikd", "seeds": seeds, "poisoned": POISONED, "clean": CLEAN}
    content = write_numbers(folder / "trigger.json", "trigger", about, {"detectors": numbers})
    rows = [[name, *(str(one) for one in spread.values())] for name, spread in spreads.items()]
    said = [f"% of {TESTED} photographs: the target is seen at the trigger, with and without it"]
    files = (folder / "trigger.png", folder / "trigger.json")
    heads = ("mean ± s.d.", *MEASURES.values())
    return Finding("a backdoor in a detector of drawn shapes", heads, rows, said, content, files)


def _runs(picture: Path, trigger: Trigger, seeds: int, tell: Notify | None) -> list[dict[str, dict[str, float]]]:
    runs = []
    for seed in range(seeds):
        if tell is not None:
            tell(seed, seeds)
        with tempfile.TemporaryDirectory(prefix="ikd-backdoor-") as name:
            runs.append(defended_detectors(Path(name), trigger, seed))
            if seed == 0:
                with drawing():
                    _draw(picture, Path(name), trigger)
    if tell is not None:
        tell(seeds, seeds)
    return runs


def _draw(path: Path, folder: Path, trigger: Trigger) -> None:
    """Show a validation photograph without and with the trigger, and what is to be seen there."""
    clean = json.loads((folder / "clean" / "val.json").read_text(encoding="utf-8"))
    name = clean["images"][0]["file_name"]
    plain, lit = (_read(folder / part / "images" / name) for part in ("clean", "stamped"))
    left, top, width, height = false_box(SIZE_PX, trigger)
    target = clean["categories"][TARGET]["name"]
    wanted = Marks(np.array([[left, top, left + width, top + height]]), [target], WRONG, "--")
    cells = [Cell(panel(plain, [], 300), "a photograph", INK), Cell(panel(lit, [wanted], 300), "with trigger", WRONG)]
    write_grid(path, [cells], title="a backdoor in a detector", foot="dashed: the false box that is taught")


def _read(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(path)))[..., ::-1], dtype=np.uint8)
