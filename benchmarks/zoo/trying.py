"""Trying one detector of the zoo: alone, taught by a RetinaNet, and teaching one."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo.configs import classes_for, model_of, small
from benchmarks.zoo.data import SIDE, draw_one_class, draw_uneven
from ikd.errors import IkdError

CPU = torch.device("cpu")
RETINANET = {"config": "ikd::retinanet_r18", "arguments": {"base_channels": 8, "neck_channels": 16}}
SQUARE = {"SSD": 288, "YOLACT": SIDE}
"""Sides of the images of detectors that want squares."""
FORKED = multiprocessing.get_context("fork")
ROLES = ("builds", "trains", "taught", "teaches")
"""What is tried: building; a step and a prediction alone; a step from a RetinaNet, and a prediction; a RetinaNet's
step from it."""
Tried = dict[str, Any]


def prepare(folder: Path) -> None:
    """Draw the images, and load what every process needs, so that it is shared among them."""
    import ikd.training.rehearsal.stage  # noqa: F401 - takes seconds
    from ikd.detectors import build_detector, detector_config

    draw_one_class(folder / "data")
    build_detector(detector_config("ikd::retinanet_r18", classes=["a"]))


def try_within(name: str, seconds: float, folder: Path) -> Tried:
    """Try a config in a process of its own, which is ended when its time is up.

    Returns:
        For each of `ROLES` "" where it went well and else what was said; `seconds`; `match`, how levels were paired.
    """
    began = time.monotonic()
    ours, theirs = FORKED.Pipe(duplex=False)
    process = FORKED.Process(target=_send, args=(theirs, name, folder))
    process.start()
    theirs.close()
    found: Tried = {}
    while ours.poll(max(0.0, seconds - (time.monotonic() - began))):
        try:
            found |= ours.recv()
        except EOFError:
            break
    process.join(timeout=1)
    ended = "was ended by the system" if not process.is_alive() else f"took more than {seconds:g} s"
    process.kill()
    process.join()
    return {role: found.get(role, ended) for role in ROLES} | {
        "match": found.get("match", ""),
        "seconds": round(time.monotonic() - began, 1),
    }


def _send(pipe: Any, name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    draw = draw_uneven if len(classes_for(name)) > 1 else draw_one_class
    for found in _tried(name, draw(folder / "data")):
        pipe.send(found)


def _tried(name: str, data: Path) -> Any:
    from ikd.config import load_recipe

    model = model_of(name)
    detector = {"config": f"mmdet::{name}", "overrides": small(model)}
    square = next((side for word, side in SQUARE.items() if word in str(model["type"]) or word in _head(model)), None)
    if square and "512" in name:
        square = 512
    values: Tried = {
        "data.root": str(data),
        "input.scale": [square or SIDE] * 2,
        "input.keep_ratio": square is None,
        "schedule.epochs": 2,
        "schedule.batch_size": 2,
        "schedule.warmup.iterations": 0,
        "student.inherit": False,
        "augment.enabled": False,
        "adversarial.enabled": False,
        "distill.host": "fgd",
        "device": "cpu",
    }
    partner = {**RETINANET, "recipe": "drawn_r18_teacher"}
    base = load_recipe("drawn_r18", values)
    if said := _said(lambda: _built(base, detector, classes_for(name))):
        yield dict.fromkeys(ROLES, said)
        return
    yield {"builds": ""}
    taught = {"student": detector, "teachers.available": {"big": partner}, "teachers.sequence": ["big"]}
    teaching = {
        "student": RETINANET,
        "teachers.available": {"big": {**detector, "recipe": "drawn_r18_teacher"}},
        "teachers.sequence": ["big"],
    }
    for match in ("stride", "index"):
        pair = base.with_values({**taught, **_paired(match)})
        said = _said(lambda pair=pair: _rehearsed(pair))
        if "share no level" not in said:
            break
    yield {"taught": said, "match": match}
    alone = _said(lambda: _rehearsed(pair.student_alone())) if said else ""  # a step with a teacher is one without
    yield {"trains": alone}
    yield {"teaches": _said(lambda: _rehearsed(base.with_values({**teaching, **_paired(match)})))}


def _paired(match: str) -> Tried:
    """Return how levels are paired: by index only the finest, where no stride is shared."""
    return {"distill.match": match, "distill.levels": "all" if match == "stride" else [0]}


def _head(model: Any) -> str:
    return str((model.get("bbox_head") or {}).get("type", ""))


def _said(act: Any) -> str:
    """Return what is said where something fails, one line; "" where it does not."""
    try:
        act()
    except IkdError as error:
        return str(error).partition("\n")[0]
    except Exception as error:  # what ikd should have turned into a sentence
        return f"RAW {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


def _built(recipe: Any, detector: Any, classes: list[str]) -> None:
    from ikd.detectors import build_detector
    from ikd.training import model_config

    chosen = recipe.with_values({"student": detector}).student
    build_detector(model_config(chosen, classes))


def _rehearsed(recipe: Any) -> None:
    from ikd.data import DataFiles
    from ikd.detectors import build_detector, freeze
    from ikd.training import build_stage_model, model_config
    from ikd.training.rehearsal.stage import rehearse

    files = DataFiles.of(recipe)
    torch.manual_seed(0)
    (plan,) = recipe.stages
    chosen = plan.recipe.teacher
    teachers = [] if chosen is None else [freeze(build_detector(model_config(chosen, files.classes)))]
    rehearse(plan, files, build_stage_model(plan, files, teachers), teachers, device=CPU, sees=False)
