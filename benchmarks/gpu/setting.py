"""What all sections share: device, sizes, time left, and the small data and random weights that stand for real ones."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.memory import peak_mib
from ikd.config import Recipe, load_recipe
from ikd.data import DataFiles, draw_dataset
from ikd.detectors import build_detector
from ikd.training import model_config

T = TypeVar("T")
Work = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """Where and how large to measure.

    Attributes:
        device: `cuda` or `cpu`.
        folder: for data, weights and trials; gone afterwards.
        until: end of the section, by `time.monotonic`.
        recipes: names of COCO recipes to take a step of; empty for all.
        cut: notes of what was not measured for lack of time.
    """

    device: torch.device
    folder: Path
    until: float
    recipes: tuple[str, ...] = ()
    cut: list[str] = field(default_factory=list)

    @property
    def small(self) -> bool:
        """Whether sizes are those of a try-out on a CPU."""
        return self.device.type == "cpu"

    def in_time(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items while there is time; where it ends before them, that is noted."""
        for done, item in enumerate(items):
            if time.monotonic() > self.until:
                self.cut.append(f"out of time after {done} rows; give it more by --minutes")
                return
            yield item

    def wait(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, work: Work, repeats: int = 5) -> float:
        """Return the median time of a piece of work, after one that warms up."""
        taken = []
        for _ in range(repeats + 1):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            taken.append(1e3 * (time.perf_counter() - start))
        return statistics.median(taken[1:])

    def measure(self, work: Work, repeats: int = 5) -> dict[str, Any]:
        """Return time, peak memory beyond what was held before, and waits of the host for the device."""
        middle = self.milliseconds(work, repeats)
        return {"ms": middle, "peak_mib": peak_mib(work, self.device), "waits": self.waits(work)}

    def waits(self, work: Work) -> int | None:
        """Count how often the host waits for the device; None on a CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("called a synchronizing" in str(one.message) for one in found)

    def data(self) -> Path:
        """Return a drawn data set of 16 training and 10 validation images, made by the first call."""
        root = self.folder / "data"
        return root if root.exists() else draw_dataset(root, num_train=16, num_val=10, size_px=128, seed=0)

    def recipe(self, name: str, **values: Any) -> Recipe:
        """Return a recipe on the drawn data, with nothing to download."""
        split = {"annotations": "train.json", "images": "images"}
        data = {"root": str(self.data()), "train": split, "val": split | {"annotations": "val.json"}}
        fixed = {"data": data, "student.pretrained_backbone": False, "device": self.device.type}
        return load_recipe(name).with_values(fixed | {key.replace("__", "."): value for key, value in values.items()})

    def with_random_teachers(self, recipe: Recipe) -> Recipe:
        """Return the recipe with checkpoints of random weights for its teachers."""
        classes = DataFiles.of(recipe).classes
        for stage in recipe.teachers.stages:
            weights = self.folder / f"{stage.teacher}.pth"
            if not weights.exists():
                torch.manual_seed(0)
                teacher = build_detector(model_config(recipe.teachers.available[stage.teacher], classes))
                torch.save({"state_dict": teacher.state_dict(), "meta": {"CLASSES": classes}}, weights)
            recipe = recipe.with_values({f"teachers.available.{stage.teacher}.checkpoint": str(weights)})
        return recipe
