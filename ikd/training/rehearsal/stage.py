"""One training step, one prediction and one attack of a stage, on two images of the data."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import io
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from ikd.attack import PerturbationStore, TrainingImages, attack_of, attacked_at_once, generate
from ikd.config import Detector, Recipe, StagePlan
from ikd.data import DataFiles
from ikd.detectors import LATE, has_masks, quiet, training_position
from ikd.distill import arrange, resized
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput, IkdError, JobError, NonFiniteLoss, first_line
from ikd.evaluation import find_boxes
from ikd.home import entry
from ikd.training.loaders import phases, train_loader, val_loader
from ikd.training.optim import optim_wrapper
from ikd.training.rehearsal.blame import refuse_step
from ikd.training.rehearsal.excerpt import COUNT, write_excerpt
from ikd.training.rehearsal.record import rehearsal_key
from ikd.training.rehearsal.stand_ins import half_boxes, half_labels
from ikd.training.unlabelled.images import collate_parts
from ikd.training.unlabelled.making import shown_as

TEACHERS = "teachers.available."
CPU_PIXELS = 512
"""Longest side of the images of a rehearsal on a CPU, which takes a minute for a step at COCO's size."""
Batch = dict[str, Any]


def rehearse(
    plan: StagePlan,
    files: DataFiles,
    model: DistillDetector,
    teachers: Sequence[Any],
    *,
    device: torch.device,
    sees: bool,
) -> None:
    """Let a stage do everything once that its training will do, on the two images of the most different shapes.

    They go through the recipe's own pipelines of both phases, then through prediction, attack, and a training step with
    every term. Whether a loss is finite is not judged: that depends on weights and rates, which a sweep searches, and
    training itself stops at it. What went well is remembered and not repeated.

    Args:
        plan: the stage.
        files: data of the recipe.
        model: of the stage; unfit for anything afterwards.
        teachers: frozen, with any weights, in the order of the plan's; none for a student alone.
        device: where to run.
        sees: whether the boxes of this stage's (first) teacher drive a masking enhancement.

    Raises:
        BadInput: something cannot be done; names the field, what was tried, what was raised where, and a way out.
    """
    with entry("rehearsals", rehearsal_key(plan, files, device, sees=sees)) as record:
        if record.is_file():
            return
        with tempfile.TemporaryDirectory(prefix="ikd-") as scratch, _apart(device):
            short = _Rehearsal(_affordable(plan.recipe, device), plan, write_excerpt(files, Path(scratch)), device)
            short.scratch, short.teachers = Path(scratch), [one.to(device) for one in teachers]
            short.model = arrange(model.to(device), short.recipe)
            try:
                short.run(sees=sees)
            except torch.cuda.OutOfMemoryError:  # others may hold the memory now
                return
        record.touch()


@contextlib.contextmanager
def _apart(device: torch.device) -> Iterator[None]:
    """Leave the random number generators of this process, and the GPU's memory, as they were."""
    numbers, words = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), quiet():
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(words)
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def _affordable(recipe: Recipe, device: torch.device) -> Recipe:
    """Return the recipe as it can be tried in seconds.

    Nothing is compiled. A CPU gets images that it can train on, and the half precision that it has, as a sweep's driver
    may have no GPU where its trials do; on a GPU both stay.
    """
    values: dict[str, Any] = {"schedule.compile": False}
    if device.type == "cpu":
        halves = {"schedule.amp": recipe.schedule.amp, "distill.teacher_precision": recipe.distill.teacher_precision}
        values |= {name: "bfloat16" for name, value in halves.items() if value == "float16"}
        longest = max(recipe.input.scale)
        if longest > CPU_PIXELS:
            small = CPU_PIXELS / longest
            values["input.scale"] = _smaller(recipe.input.scale, small)
            values["input.pad.size"] = _smaller(recipe.input.pad.size, small)
            values["input.multi_scale.scales"] = [_smaller(one, small) for one in recipe.input.multi_scale.scales]
    return recipe.with_values(values)


def _smaller(size: tuple[int, int], factor: float) -> list[int]:
    return [max(1, round(side * factor)) for side in size]


@dataclasses.dataclass
class _Rehearsal:
    """What one rehearsal works with."""

    recipe: Recipe
    plan: StagePlan
    files: DataFiles
    device: torch.device
    scratch: Path = dataclasses.field(init=False)
    model: DistillDetector = dataclasses.field(init=False)
    teachers: Sequence[Any] = dataclasses.field(init=False)

    def run(self, *, sees: bool) -> None:
        """Predict, attack, then train: a step may break the weights."""
        self._predict()
        attacked = zip(self.plan.teachers, self.teachers, strict=True) if self.recipe.adversarial.enabled else ()
        perturbations = [self._attack(name, teacher) for name, teacher in attacked]
        if sees:
            self._find(self.recipe)
        if self.recipe.distill.labels.enabled:
            teacher = self.recipe.teachers.available[str(self.plan.teacher)]
            self._find(_affordable(shown_as(self.recipe, teacher), self.device))
        for batch, epoch in self._batches(perturbations):
            for factor in self._factors():
                self._train(resized(copy.deepcopy(batch), factor), epoch)

    def _predict(self) -> None:
        dataset = _dataset(val_loader(self.recipe, self.files, self.model.student)["dataset"])
        self.model.validates_masks = "segm" in self.recipe.validate
        self.model.eval()
        for index in range(len(dataset)):
            batch = pseudo_collate([self._read(dataset, index)])
            with self._blamed("student", f"predict at {_size(batch)}"), torch.no_grad():
                self.model.val_step(batch)

    def _find(self, recipe: Recipe) -> None:
        """Let the (first) teacher look for boxes at the input size of a recipe."""
        scale = " x ".join(map(str, recipe.input.scale))
        with self._blamed(f"{TEACHERS}{self.plan.teacher}", f"look for boxes in images of up to {scale} px"):
            find_boxes(recipe, self.files, self.teachers[0], None)

    def _attack(self, name: str, teacher: Any) -> Path:
        """Attack both images as `ikd attack` would, in one step; return the folder of the perturbations."""
        recipe = self.recipe
        source = TrainingImages.of(recipe, self.files.train, self.files.train_images)
        store = PerturbationStore(self.scratch, {"rehearsal": name})
        attack = dataclasses.replace(attack_of(recipe), steps=1)
        size, measures = min(COUNT, attacked_at_once(recipe)), recipe.teachers.available[name].classes != "own"
        with self._blamed(f"{TEACHERS}{name}", "be attacked (adversarial.enabled)"):
            generate(teacher, source, store, attack, batch_size=size, device=self.device, measures=measures)
        return store.folder

    def _batches(self, perturbations: Sequence[Path]) -> Iterator[tuple[Batch, int]]:
        """Yield batches of the phases that differ, each with the epoch in which such a one may come."""
        with_masks = has_masks(self.model.student)
        boxes = half_boxes(self.files, self.scratch / "boxes.npz") if self.recipe.distill.me.enabled else None
        plan = dataclasses.replace(self.plan, recipe=self.recipe)
        labels = half_labels(self.recipe, self.files, self.scratch) if self.recipe.distill.labels.enabled else None
        loader = train_loader(
            plan,
            self.files,
            perturbations=perturbations[0] if perturbations else None,
            beside=perturbations[1:],
            boxes=boxes,
            with_masks=with_masks,
            labels=labels,
        )
        config = loader["dataset"]
        dataset, count = _dataset(config), min(COUNT, self.recipe.schedule.batch_size)
        pipelines, tried = [config["pipeline"], *(pipeline for _, pipeline in config["later"])], []
        for phase, pipeline in zip(phases(plan), pipelines, strict=True):
            if pipeline in tried:
                continue
            tried.append(pipeline)
            dataset.start_epoch(phase.first)
            for first in range(0, len(dataset), count):
                places = [*range(first, min(first + count, len(dataset)))]
                places += range(len(dataset), len(dataset) + count) if "unlabelled" in config else ()
                yield (
                    collate_parts([self._read(dataset, index) for index in places]),
                    0 if phase.alters or phase.attacks else LATE,
                )

    def _factors(self) -> list[float]:
        """Return the factors of the smallest and the largest batch that training may resize to."""
        section = self.recipe.input.batch_scale
        return sorted(set(section.ratio)) if section.enabled else [1.0]

    def _read(self, dataset: Any, index: int) -> Any:
        try:
            return dataset[index]
        except IkdError:
            raise
        except Exception as error:  # a damaged image fails in any way
            raise self._unreadable(error) from error

    def _train(self, batch: Batch, epoch: int) -> None:
        wrapper = optim_wrapper(self.recipe, self.model, self.device)
        self.model.train()
        try:
            with training_position(epoch):
                self.model.train_step(copy.deepcopy(batch), wrapper)  # heads write into their samples
        except NonFiniteLoss:
            pass
        except (JobError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            with training_position(epoch):
                self._find_guilty(batch, error)

    def _find_guilty(self, batch: Batch, error: Exception) -> None:
        """Refuse the student, the teacher or the term that a training step failed for."""
        doing = f"make a training step at {_size(batch)}"
        plain = {key: value for key, value in batch.items() if not key.startswith("adversarial")}
        with self._blamed("student", doing):
            alone = DistillDetector(self.model.student).to(self.device)
            bare = {key: plain[key] for key in ("inputs", "data_samples")}
            total, _ = alone.parse_losses(alone.losses(alone.data_preprocessor(copy.deepcopy(bare), True)))
            total.backward()
        for name, teacher in zip(self.plan.teachers, self.teachers, strict=True):
            with self._blamed(f"{TEACHERS}{name}", f"look at a batch at {_size(batch)}"):
                data = self.model.data_preprocessor(copy.deepcopy(plain), True)
                teacher.extract_feat(self.model.canvas(data)["inputs"])
        with self._blamed("distill", f"distil with {self.recipe.distill.host} at {_size(batch)}"):
            self.model.losses(self.model.data_preprocessor(copy.deepcopy(plain), True))
        with self._blamed("adversarial", doing):
            raise error

    def _unreadable(self, error: Exception) -> BadInput:
        said = f"{type(error).__name__}: {first_line(error)}"
        return BadInput(f"recipe {self.recipe.name}: data: an image cannot be read: {said}; see `ikd data check`")

    def _named(self) -> list[str]:
        """Return what teachers are called where a person is told which part failed."""
        names = self.plan.teachers
        return [f"teacher {name}" for name in names] if len(names) > 1 else ["teacher"] * len(names)

    @contextlib.contextmanager
    def _blamed(self, field: str, doing: str) -> Iterator[None]:
        """Turn what a detector raises into a refusal of this field."""
        try:
            yield
        except BadInput as error:
            raise BadInput(f"recipe {self.recipe.name}: {error}") from error
        except (JobError, torch.cuda.OutOfMemoryError):
            raise
        except OSError as error:
            raise self._unreadable(error) from error
        except Exception as error:  # a detector may raise anything
            detector: Detector = self.recipe.student
            if field.startswith(TEACHERS):
                detector = self.recipe.teachers.available[field.removeprefix(TEACHERS)]
            modules = {"student": self.model.student, **dict(zip(self._named(), self.teachers, strict=True))}
            refuse_step(f"recipe {self.recipe.name}: {field}", detector, doing, error, modules)


def _dataset(config: dict[str, Any]) -> Any:
    # pycocotools prints what it does
    with contextlib.redirect_stdout(io.StringIO()), DefaultScope.overwrite_default_scope("mmdet"):
        return DATASETS.build(config)


def _size(batch: Batch) -> str:
    """Return the size of the first image of each size, for people."""
    sizes = dict.fromkeys(f"{image.shape[1]}x{image.shape[2]}" for image in batch["inputs"])
    return f"{' and '.join(sizes)} px"
