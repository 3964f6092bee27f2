"""What an epoch takes, measured without making anything that trials share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch

from ikd.attack import PerturbationStore, TrainingImages, attack_of, attacked_at_once, generate
from ikd.config import Recipe, StagePlan
from ikd.data import DataFiles
from ikd.detectors import build_detector
from ikd.evaluation import find_boxes
from ikd.training.kept.finding import found
from ikd.training.prepared import Prepared, PreparedStage, check, device_of, teacher_recipe
from ikd.training.rehearsal.stand_ins import half_boxes, half_labels, zero_perturbations
from ikd.training.teachers.loading import load_teacher, model_config
from ikd.training.trial import train
from ikd.training.unlabelled.making import teacher_labels
from ikd.training.worker_state import determinism, reset, settle
from ikd.trial import TRAIN_SECONDS, VAL_SECONDS, EpochReport, Shared, StopTrial, Timed, TrialFolder

BATCHES = 3
"""Of images that are attacked, or looked at, the first of which warms up."""
LOOK = 0.6
"""What evaluating a teacher on an image takes, clean and attacked, against a step of the attack."""


def timed(recipe: Recipe, threads: int, say: Callable[[str], None]) -> Iterator[Timed]:
    """Measure what a sweep over a recipe is made of.

    That is an epoch of the student alone, one with its teacher, one of each teacher that is not there yet, and a few
    images of what is made with those.

    A teacher that is not there has random weights, its perturbations are zero and its boxes half the image: what they
    hold changes no duration. All of it goes again.

    Args:
        recipe: of the sweep.
        threads: of torch, as a trial has them.
        say: told what is measured next.

    Raises:
        BadInput: the recipe does not fit its data or detectors.
    """
    settle()
    say("trying the recipe on two images")
    files = check(recipe, device_of(recipe))
    missing = [one for one in found(recipe) if not one.made]
    try:
        with tempfile.TemporaryDirectory(prefix="ikd-measure-") as folder, determinism(recipe):
            scratch = Path(folder)
            say("an epoch of the student alone")
            alone = Prepared(files, (PreparedStage(),))
            yield _epoch(recipe.student_alone(), alone, scratch / "alone", threads=threads)
            if recipe.teachers.sequence:
                say("an epoch of the student with its teacher")
                stand_in = Prepared(files, tuple(_stand_in(recipe, plan, files, scratch) for plan in recipe.stages))
                yield _epoch(recipe, stand_in, scratch / "taught", threads=threads, kind="taught")
            for one in missing:
                if one.kind != "rehearsal":
                    yield _shared(one, recipe, files, scratch, threads=threads, say=say)
    finally:
        reset()


def _epoch(
    recipe: Recipe, prepared: Prepared, directory: Path, *, threads: int, kind: Literal["alone", "taught"] = "alone"
) -> Timed:
    seconds: list[float] = []

    def report(done: EpochReport) -> None:
        interval = recipe.schedule.val_interval
        seconds.append(done.metrics[TRAIN_SECONDS] + done.metrics[VAL_SECONDS] / interval)
        raise StopTrial

    train(
        recipe.with_values({"schedule.val_interval": 1}),
        report,
        directory=directory,
        prepared=prepared,
        threads=threads,
    )
    return Timed(kind, "", seconds[0], TrialFolder(directory).largest_checkpoint())


def _shared(
    one: Shared, recipe: Recipe, files: DataFiles, scratch: Path, *, threads: int, say: Callable[[str], None]
) -> Timed:
    teacher = recipe.teachers.available[one.teacher]
    if one.kind == "teacher":
        say(f"an epoch of teacher {one.teacher}, which is not there yet")
        training, alone = teacher_recipe(recipe, teacher), Prepared(files, (PreparedStage(),))
        took = _epoch(training, alone, scratch / f"teacher-{one.teacher}", threads=threads)
        return Timed("teacher", one.teacher, took.seconds)
    say(f"a few images of the {one.kind} of {one.teacher}")
    detector = load_teacher(teacher, _weights(recipe, one.teacher, files, scratch), files.classes).to(device_of(recipe))
    if one.kind == "boxes":
        return Timed("boxes", one.teacher, _rate(lambda tick: find_boxes(recipe, files, detector, tick)))
    if one.kind == "labels":
        return Timed("labels", one.teacher, _labelling_rate(recipe, one.teacher, files, scratch, detector))
    plan = next(plan for plan in recipe.each_teacher if plan.teacher == one.teacher and plan.recipe.adversarial.enabled)
    source = TrainingImages.of(recipe, files.train, files.train_images)
    store, attack = PerturbationStore(scratch, {"measured": one.teacher}), attack_of(plan.recipe)

    def craft(tick: Callable[[int, int], None]) -> None:
        generate(
            detector,
            source,
            store,
            attack,
            batch_size=attacked_at_once(plan.recipe),
            device=device_of(recipe),
            measures=recipe.teachers.available[one.teacher].classes != "own",
            progress=tick,
        )

    return Timed("perturbations", one.teacher, _rate(craft) * (1 + LOOK / attack.steps) / 2)


def _labelling_rate(recipe: Recipe, name: str, files: DataFiles, scratch: Path, detector: torch.nn.Module) -> float:
    """Return the seconds of one image that a teacher looks at for labels."""
    plan = next(plan for plan in recipe.stages if plan.teacher == name and plan.recipe.distill.labels.enabled)
    chosen, root = recipe.teachers.available[name], scratch / f"looked-{name}"
    return _rate(lambda tick: teacher_labels(plan.recipe, chosen, files, detector, tick, root=root))


class _Enough(Exception):
    """Raised when a piece of work has been seen for long enough."""


def _rate(work: Callable[[Callable[[int, int], None]], object]) -> float:
    """Return the seconds of one image of a piece of work, of which a few batches are done."""
    marks: list[tuple[int, float]] = []

    def tick(done: int, total: int) -> None:
        marks.append((done, time.perf_counter()))
        if len(marks) > BATCHES:
            raise _Enough

    try:
        work(tick)
    except _Enough:
        pass
    first = marks[1] if len(marks) > 2 else marks[0]
    return (marks[-1][1] - first[1]) / max(1, marks[-1][0] - first[0])


def _stand_in(recipe: Recipe, plan: StagePlan, files: DataFiles, scratch: Path) -> PreparedStage:
    """Return what a stage starts from, with stand-ins for what is not there."""
    return PreparedStage.together(_of_teacher(recipe, one, files, scratch) for one in plan.each)


def _of_teacher(recipe: Recipe, plan: StagePlan, files: DataFiles, scratch: Path) -> PreparedStage:
    assert plan.teacher is not None
    perturbations = boxes = None
    if plan.recipe.adversarial.enabled and plan.recipe.attack.store == "disk":
        perturbations = zero_perturbations(plan.recipe, files, scratch / f"perturbations-{plan.first}-{plan.teacher}")
    if plan.boxes_from is not None:
        boxes = half_boxes(files, scratch / f"boxes-{plan.first}.npz")
    labels = None
    if plan.recipe.distill.labels.enabled:
        labels = half_labels(plan.recipe, files, scratch / f"labels-{plan.first}")
    return PreparedStage(_weights(recipe, plan.teacher, files, scratch), perturbations, boxes, labels=labels)


def _weights(recipe: Recipe, name: str, files: DataFiles, scratch: Path) -> Path | str:
    teacher, file = recipe.teachers.available[name], scratch / f"teacher-{name}.pth"
    if teacher.checkpoint is not None:
        return teacher.checkpoint
    if not file.is_file():
        detector = build_detector(
            model_config(teacher.model_copy(update={"pretrained_backbone": False}), files.classes)
        )
        meta = {"dataset_meta": {"CLASSES": list(files.classes)}}
        torch.save({"state_dict": detector.state_dict(), "meta": meta}, file)
    return file
