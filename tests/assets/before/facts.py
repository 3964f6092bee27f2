"""What people's files and caches rest on, as the tree at hand has it: `python tests/assets/before/facts.py` stores it.

Stored by commit b827f8f; what a person has must stay as it was, so a later tree is compared and does not store it anew.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ikd
from ikd.config import ANCHORS, DRAWN, LATER, Recipe, load_recipe, load_runner, load_sweep, parse_sets, recipe_names
from ikd.errors import IkdError

Json = dict[str, Any]
FOLDER = Path(__file__).resolve().parent
FINGERPRINTS, SPACES, REFUSALS = (FOLDER / f"{name}.json" for name in ("fingerprints", "spaces", "refusals"))
DATA, CACHE, SEARCH_SPACES = FOLDER / "data", FOLDER / "cache", FOLDER / "search_spaces"
COCO = "/data/coco"
"""Where the recipes of COCO look for it here: they take it from the current folder otherwise."""


AS_BEFORE: Json = dict(LATER)
"""The values of fields under which training is what it was; some are no longer their defaults."""


def fingerprints() -> dict[str, dict[str, str]]:
    """Return of each shipped recipe and of each of its anchors 16 digits of the fingerprint."""
    found = {}
    for name in recipe_names():
        recipe = load_recipe(name)
        chosen = recipe.distill.prototypes
        if recipe.distill.labels.enabled or (chosen.enabled and (chosen.response_weight or chosen.couples)):
            continue  # which are younger
        recipe = recipe.with_values(AS_BEFORE)
        recipe = recipe if recipe.data.root == DRAWN else recipe.with_values({"data.root": COCO})
        names = [str(one) for one in ANCHORS if recipe.teachers.sequence or one in ("paper", "student_alone")]
        names = [one for one in names if one != "inherit_alone"]  # which is younger
        found[name] = {one: recipe.anchor(one).fingerprint()[:16] for one in names}
    return found


def spaces(folder: Path) -> dict[str, Json]:
    """Return of each search space in a folder what is searched, how much there is of it, and what it begins with."""
    from ikd.sweep import dry_run

    found = {}
    for path in sorted(folder.glob("*.yaml")):
        root = load_sweep(path).recipe.data.root
        values = AS_BEFORE | ({} if root == DRAWN else {"data.root": COCO})
        plan = dry_run(path, name="s", values=values)
        space = plan.files.space.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        counted = {"configurations": plan.configurations, "size": plan.size, "trials": plan.trials}
        counted |= {"epochs_bound": plan.epochs_bound, "epochs_expected": plan.epochs_expected}
        found[path.stem] = {
            "space": space,
            "recipe": plan.files.recipe.fingerprint()[:16],
            "counted": {name: str(number) for name, number in counted.items()},
            "samples": [dict(sample) for sample in plan.samples],
        }
    return json.loads(json.dumps(found))  # tuples are lists


HEAD = "recipe: drawn_r18\nparameters:\n"
BAD_SPACES = (
    HEAD + "  distill.fdg.alpha: {log_uniform: [1, 2]}\n",
    HEAD + "  distill.mgd.mask_ratio: {uniform: [0.5, 1.5]}\n",
    HEAD + "  attack.eps: {log_uniform: [0, 8]}\n",
    HEAD + "  seed: {int: [9, 1]}\n",
    HEAD + "  seed: {choice: [1, 2], when: {distill.host: fgd}}\n",
    HEAD + "  teachers.sequence: {choice: [[nobody]]}\n",
    HEAD + "  seed: {int: [1, 8]}\nscheduler: {asha: {graze_epochs: 1}}\n",
    HEAD + "  seed: {int: [1, 8]}\nbudget: {trials: 0}\n",
    HEAD + "  seed: {int: [1, 8]}\nanchors: [papers]\n",
    HEAD + "  seed: {int: [1, 8]}\nconstraints: [seed > attack.epz]\n",
    HEAD + "  attack.eps: {uniform: [1, 8]}\nsampler: {grid: {}}\n",
    "recipe: drawn_r19\nparameters: {seed: {int: [1, 8]}}\n",
)
BAD_RECIPES = (
    "base: drawn_r18\nschedule: {epochs: 0}\n",
    "base: drawn_r18\nstudnet: {inherit: true}\n",
    "base: drawn_r18\nteachers: {sequence: [nobody]}\n",
    "base: drawn_r18\ndistill: {fgd: {temperature: -1}, mgd: {mask_ratio: 2}}\n",
    "base: drawn_r18\nteachers: {sequence: []}\n",
    "base: drawn_r18\nadversarial: {weight: .nan}\n",
    "base: drawn_r18\nattack: {steps: 1.5}\ndata: {root: 3}\n",
    "base: absent.yaml\n",
)
BAD_RUNNERS = ("concurrency: 0\n", "trial: {gpu: 1}\n", "study: mysql://host/db\n")
BAD_SETS = ("seed", "seed=one", "attack.eps=-1", "schedule.epoch=3", "student.inherit=[")


def refusals() -> dict[str, str]:
    """Return what is said of each bad file and `--set`."""
    readers: dict[str, Callable[[Path], object]] = {"space": load_sweep, "recipe": load_recipe, "runner": load_runner}
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = {folder: "FOLDER", str(Path(ikd.__file__).parent / "recipes"): "RECIPES"}
        for kind, texts in (("space", BAD_SPACES), ("recipe", BAD_RECIPES), ("runner", BAD_RUNNERS)):
            path = Path(folder) / f"{kind}.yaml"
            for text in texts:
                path.write_text(text)
                found[text] = _said(readers[kind], path)
                for place, name in places.items():
                    found[text] = found[text].replace(place, name)
    return found | {text: _said(_set, text) for text in BAD_SETS}


def _set(text: str) -> Recipe:
    return load_recipe("drawn_r18", parse_sets([text]))


def _said(read: Callable[[Any], object], what: Any) -> str:
    try:
        read(what)
    except IkdError as error:
        return str(error)
    return "nothing"


TEACHER: Json = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}}


def cached_recipes(weights: Path) -> tuple[Recipe, Recipe]:
    """Return a recipe whose teacher was trained, and one that attacks its teacher and looks through its eyes.

    Args:
        weights: checkpoint of the second one's teacher; see `write_weights`.
    """
    common = {
        "data.root": str(DATA),
        "student.arguments": TEACHER["arguments"],
        "student.inherit": False,
        "teachers.sequence": ["small"],
        "input.scale": [64, 64],
        "attack.steps": 1,
        "schedule.epochs": 2,
        "device": "cpu",
    }
    trained = {"teachers.available": {"small": {**TEACHER, "recipe": "drawn_r18_teacher"}}}
    given = {"teachers.available": {"small": {**TEACHER, "checkpoint": str(weights)}}}
    return (
        load_recipe("drawn_r18", common | trained | {"adversarial.enabled": False}),
        load_recipe("drawn_r18", common | given | {"distill.me.enabled": True}),
    )


def write_weights(path: Path) -> None:
    """Write a checkpoint of the teacher that has the same bytes in it on every machine."""
    import torch

    from ikd.detectors import build_detector, detector_config

    classes = [one["name"] for one in json.loads((DATA / "train.json").read_text())["categories"]]
    detector = build_detector(detector_config(TEACHER["config"], arguments=TEACHER["arguments"], classes=classes))
    weights = {
        name: ((torch.arange(one.numel()) * 37 % 11 - 4) / 16).reshape(one.shape).to(one.dtype)
        for name, one in detector.state_dict().items()
    }
    weights |= {name: torch.ones_like(one) for name, one in weights.items() if name.endswith("running_var")}
    torch.save({"state_dict": weights, "meta": {"classes": classes}}, path)


def draw(folder: Path) -> None:
    """Draw three training and two validation images of one rectangle."""
    import cv2
    import numpy as np

    (folder / "images").mkdir(parents=True)
    for part, count in (("train", 3), ("val", 2)):
        images, annotations = [], []
        for number in range(1, count + 1):
            pixels = np.full((64, 64, 3), 30 * number, np.uint8)
            x, y, width, height = 8 * number, 10, 20, 24
            pixels[y : y + height, x : x + width] = (200, 40 * number, 90)
            cv2.imwrite(str(folder / "images" / f"{part}-{number}.png"), pixels)
            images.append({"id": number, "file_name": f"{part}-{number}.png", "width": 64, "height": 64})
            box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
            annotations.append({"id": number, "image_id": number, "category_id": 1 + number % 2, **box})
        categories = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(content) + "\n")


def fill_cache() -> None:
    """Let `prepare` make what both recipes need, and keep it without weights: best.pth is a text that stands for it."""
    from ikd.training import prepare

    with tempfile.TemporaryDirectory() as home:
        os.environ["IKD_HOME"] = home
        write_weights(Path(home) / "weights.pth")
        for recipe in cached_recipes(Path(home) / "weights.pth"):
            prepare(recipe)
        made = Path(home) / "cache"
        for kind in ("perturbations", "boxes"):
            shutil.copytree(made / kind, CACHE / kind, ignore=shutil.ignore_patterns("*.lock"))
        for folder in (made / "teachers").glob("*/"):
            (CACHE / "teachers" / folder.name).mkdir(parents=True)
            (CACHE / "teachers" / folder.name / "done").touch()
            (CACHE / "teachers" / folder.name / "best.pth.text").write_text("stands for the weights\n")


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    for made in (DATA, CACHE):
        shutil.rmtree(made, ignore_errors=True)
    write(FINGERPRINTS, fingerprints())
    write(SPACES, spaces(Path(ikd.__file__).parents[1] / "search_spaces"))
    write(REFUSALS, refusals())
    draw(DATA)
    fill_cache()
