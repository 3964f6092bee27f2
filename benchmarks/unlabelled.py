"""What photographs without labels give: a part of a data set's labels, and the rest of its images without.

    python -m benchmarks.unlabelled --data FOLDER --to results.json [--shares 10 30] [--seeds 3] [--jobs 1] [--table]

Of the training part a share of the images, drawn by the seed, keeps its labels; the others lie in a folder without. The
teacher is trained on the same labels as the student, and has seen no others. All rows have the same steps, but for the
control, which has as many images as the rows with photographs. Validation is that of the data set.

Rows: the student alone; alone for twice the steps; distilled on labelled images only; with photographs, which only the
terms between the detectors see; with photographs and the teacher's labels; the teacher's labels alone.

Finished trainings are kept in the results file, by the content of their recipe: the same command goes on where it was
interrupted. `--table` trains nothing and prints what is there. The splits lie beside the results file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
from pathlib import Path
from typing import Any

from benchmarks.methods import METRICS, PLAIN, Results, Row, finished, made, spread, train_all
from ikd.config import Recipe, load_recipe
from ikd.files import write_text

STEPS, TEACHER_STEPS = 480, 960
VALIDATIONS = 4
HOST = {"distill.host": "pkd", "distill.pkd.weight": 1.0}
LABELS = {"distill.labels.enabled": True}
ROWS = (
    Row("student alone", {}),
    Row("alone, twice the steps", {}),
    Row("distilled, labelled images only", {**HOST}),
    Row("distilled, with photographs", {**HOST, **LABELS, "distill.labels.weight": 0.0}),
    Row("distilled, with photographs and labels", {**HOST, **LABELS}),
    Row("teacher's labels alone", {**LABELS}),
)
ALONE = {ROWS[0].name: 1, ROWS[1].name: 2}
"""Rows without a teacher, and how many times as many steps they have."""


def split(data: Path, target: Path, *, percent: int, seed: int) -> Path:
    """Write a data set in which a share of the training images keeps its labels; the rest are photographs.

    Args:
        data: COCO-format folder with train.json, val.json and images/.
        target: folder of the splits.
        percent: of the images.
        seed: of the draw.

    Returns:
        Folder with train.json, val.json, and the links images/ and unlabelled/*.
    """
    folder = target / f"{percent}-{seed}"
    content: dict[str, Any] = json.loads((data / "train.json").read_text())
    images = sorted(content["images"], key=lambda one: str(one["file_name"]))
    random.Random(seed).shuffle(images)
    labelled = images[: max(1, round(len(images) * percent / 100))]
    known = {one["id"] for one in labelled}
    (folder / "unlabelled").mkdir(parents=True, exist_ok=True)
    boxes = [one for one in content["annotations"] if one["image_id"] in known]
    write_text(folder / "train.json", json.dumps({**content, "images": labelled, "annotations": boxes}))
    write_text(folder / "val.json", (data / "val.json").read_text())
    links = {folder / "images": data / "images"}
    links |= {
        folder / "unlabelled" / str(one["file_name"]): data / "images" / one["file_name"]
        for one in images[len(labelled) :]
    }
    for link, source in links.items():
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.resolve())
    return folder


def base(folder: Path, *, percent: int, seed: int, labelled: int, scale: tuple[int, int], batch: int) -> Recipe:
    """Return the recipe of a split, the teacher's own written beside it."""
    per_epoch = math.ceil(labelled / batch)
    common = {
        "data.root": str(folder),
        "input.scale": list(scale),
        "schedule.batch_size": batch,
        "schedule.workers": 0,
    }
    taught = load_recipe("small_r18_teacher", {**common, **_length(TEACHER_STEPS, per_epoch), "seed": seed})
    file = folder / "teacher.yaml"
    text = json.dumps(taught.as_dict())  # YAML too
    if not file.is_file() or file.read_text() != text:
        write_text(file, text)
    values = {**common, **PLAIN, "distill.host": "none", "data.unlabeled": "unlabelled", "student.inherit": False}
    recipe = load_recipe("small_r18", {**values, **_length(STEPS, per_epoch)})
    teacher = {**recipe.teachers.available["r18x32"].model_dump(mode="json"), "recipe": str(file)}
    return recipe.with_values({"teachers.available": {"r18x32": teacher}, "name": f"{percent} % seed {seed}"})


def _length(steps: int, per_epoch: int) -> dict[str, Any]:
    epochs = max(VALIDATIONS, round(steps / per_epoch))
    return {"schedule.epochs": epochs, "schedule.val_interval": math.ceil(epochs / VALIDATIONS)}


def trainings(recipe: Recipe, seed: int) -> dict[str, Recipe]:
    """Return what each row trains on one split."""
    found = {}
    for row in ROWS:
        one = made(recipe, row, seed)
        if row.name in ALONE:
            longer = ALONE[row.name]
            one = one.student_alone().with_values(
                {
                    "schedule.epochs": longer * one.schedule.epochs,
                    "schedule.val_interval": longer * one.schedule.val_interval,
                }
            )
        found[row.name] = one
    return found


def table(shares: list[int], every: dict[tuple[int, int], dict[str, Recipe]], results: Results) -> str:
    """Return the table as Markdown: mAP and its parts, mean and deviation over the seeds that are there."""
    lines = ["| labels | method | seeds | mAP | APs | APm | APl | last mAP |", "|---|---|---|---|---|---|---|---|"]
    for percent in shares:
        for row in ROWS:
            keys = [rows[row.name].fingerprint() for (share, _), rows in every.items() if share == percent]
            found = [results[key] for key in keys if key in results]
            metrics = (*METRICS, "last_bbox_mAP")
            cells = [spread([100 * one[name] for one in found]) if found else "" for name in metrics]
            lines.append(f"| {percent} % | {row.name} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the splits, train the rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="COCO-format folder")
    parser.add_argument("--to", type=Path, required=True, help="results file, to go on from")
    parser.add_argument("--shares", type=int, nargs="+", default=[10, 30], help="percent of the labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scale", type=int, nargs=2, default=[240, 180], help="longest and shortest side, px")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    results, every = finished(options.to), {}
    for seed in range(options.seeds):
        for percent in options.shares:
            folder = split(options.data, options.to.parent / "splits", percent=percent, seed=seed)
            labelled = len(json.loads((folder / "train.json").read_text())["images"])
            scale = (options.scale[0], options.scale[1])
            recipe = base(folder, percent=percent, seed=seed, labelled=labelled, scale=scale, batch=options.batch)
            every[percent, seed] = trainings(recipe, seed)
            if not options.table:
                print(f"{percent} % of the labels ({labelled} images), seed {seed}", flush=True)
                train_all(list(every[percent, seed].values()), results, options)
    print(table(options.shares, every, results))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
