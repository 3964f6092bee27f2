"""Hooks that make a trial reproducible and reported."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.runner import Runner

from ikd.attack import Hold, adversarial_copies, attack_of, attacked_at_once
from ikd.augment import UNALTERED, copy_against
from ikd.config import Recipe
from ikd.training.averaging import average_statistics, average_values
from ikd.training.checkpoint import Content, save, save_last, student_file
from ikd.training.costs import on_test_part
from ikd.training.optim import trained_names
from ikd.training.progress import Progress
from ikd.training.start import schedule_of
from ikd.trial import (
    ATTACK_SECONDS,
    LOSS,
    PULL,
    SHARE,
    TEACHER,
    TRAIN_SECONDS,
    VAL_SECONDS,
    EpochReport,
    Metrics,
    Report,
)


class PlaceHook(RuntimeInfoHook):
    """Tells heads that ask (TOOD) where the training is; mmengine's own reads every loss of every step besides."""

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        """Do nothing: to read a loss is to wait for the GPU."""


class EpochHook(Hook):
    """Starts each epoch from (seed, epoch) alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed everything, order the data, tell the data its epoch."""
        rank = get_rank()
        words = np.random.SeedSequence([self._seed, runner.epoch, *([rank] if rank else [])]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))
        loader = runner.train_dataloader
        loader.batch_sampler.sampler.set_epoch(runner.epoch)
        loader.dataset.start_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the model where it is, for its error message."""
        runner.model.position = (runner.epoch + 1, batch_idx + 1)


def altering_rule(recipe: Recipe) -> str | None:
    """Return whose rule decides on noise and crop in a stage, as its metrics begin: `me`, `augment`, or None."""
    if recipe.distill.me.enabled:
        return "me"
    return "augment" if recipe.augment.enabled else None


class CraftHook(Hook):
    """Crafts the adversarial copies of a batch, while the loader's processes read the next one.

    Stands before everything else that looks at a batch; the random numbers of the training are none of its.
    """

    priority = "HIGHEST"

    def __init__(self, recipe: Recipe) -> None:
        self._attack, self._batch_size = attack_of(recipe), attacked_at_once(recipe)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Put copies against each teacher in the place of what they are made from; plain epochs have neither."""
        if UNALTERED in data_batch:
            unaltered = data_batch.pop(UNALTERED)
            for place, teacher in enumerate(runner.model.teachers):
                data_batch[copy_against(place)] = adversarial_copies(
                    self._attack, teacher, unaltered, batch_size=self._batch_size
                )


class HoldHook(Hook):
    """Keeps the perturbations that a trial reads, now or in a later stage, from being deleted.

    Args:
        folders: of their stores.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._hold = Hold(folders)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Say that they are in use."""
        self._hold.keep()

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Say that they are in use."""
        self._hold.keep()


class ReportHook(Hook):
    """Averages losses, and after each validation saves, then reports exactly once."""

    priority = "LOWEST"

    def __init__(self, recipe: Recipe, progress: Progress, report: Report | None, *, stage: int) -> None:
        self._recipe, self._progress, self._report, self._stage = recipe, progress, report, stage
        self._altering = altering_rule(recipe.stages[stage].recipe)
        self._sums: dict[str, torch.Tensor] = {}
        self._altered: Counter[str | None] = Counter()
        self._joint = 0
        self._shares: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._started = self._trained = time.perf_counter()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the averages of this epoch."""
        self._sums, self._steps, self._started = {}, 0, time.perf_counter()
        self._altered.clear()
        self._joint = 0
        runner.model.forget()  # report only what acted in this epoch

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add the losses of one step, on their device, and count the images that noise or a crop altered."""
        for name, value in outputs.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._steps += 1
        facts = [sample.metainfo for sample in data_batch["data_samples"]]
        self._altered.update(one.get("altered") for one in facts)
        self._joint += sum(bool(one.get("joint")) for one in facts)

    def after_train_epoch(self, runner: Runner) -> None:
        """Note the training time; bring together what each process has of the epoch."""
        average_statistics(runner.model)
        self._sums, self._shares = average_values(self._sums), average_values(self._shares_here())
        self._trained = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: Metrics | None = None) -> None:
        """Log, save, then report."""
        if get_rank():
            return
        # The loop counts the epoch after this hook's training epoch has ended, so `epoch` is the number finished.
        epoch, values, progress = runner.epoch, self._values(runner, dict(metrics or {})), self._progress
        assert progress.data is not None
        if progress.leaves(epoch, values):
            info = {"epoch": epoch, "metrics": values, "recipe": self._recipe.as_dict()}
            save(student_file(runner.model, classes=progress.data.classes, info=info), progress.folder.best)
        if progress.options.test and self._recipe.data.test is not None and epoch == self._recipe.total_epochs:
            values |= on_test_part(self._recipe, progress.folder.best)
        # The log first: an epoch that a checkpoint holds is never without its numbers, whenever the process dies.
        progress.folder.note(epoch, values)
        goes_on = epoch < self._recipe.total_epochs  # nothing can go on from a finished training
        every = progress.options.keep_epochs
        keep = every is not None and epoch % every == 0 and goes_on
        save_last(self._content(runner, values), progress.folder, keep=keep)
        if self._report is not None:
            self._report(EpochReport(epoch, values, progress.folder.last))

    def _shares_here(self) -> dict[str, torch.Tensor]:
        """Return the shares of this process's images that had noise, were cropped, or of altered colours."""
        if not self._sums:
            return {}
        device, images = next(iter(self._sums.values())).device, self._altered.total()
        names = {} if self._altering is None else {what: self._altered[what] for what in ("noise", "crop")}
        names = {f"{self._altering}/{what}{SHARE}": count for what, count in names.items()}
        names |= {f"joint/altered{SHARE}": self._joint} if self._recipe.input.joint.acts else {}
        return {name: torch.tensor(count / images, dtype=torch.float64, device=device) for name, count in names.items()}

    def _values(self, runner: Runner, metrics: Metrics) -> Metrics:
        values = dict(metrics)
        values |= {f"{LOSS}{name}": float(value) / self._steps for name, value in self._sums.items()}
        values |= {name: float(value) for name, value in self._shares.items()}
        values |= {f"weight/{name}_effective": value for name, value in runner.model.effective_weights.items()}
        if (agreement := runner.model.agreement) is not None:
            values |= {f"weight/{name}_agreement": float(value) for name, value in agreement.latest.items()}
        for lesson in runner.model.lessons:
            if (factor := lesson.terms.cells_factor) is not None:
                values[f"weight/{lesson.called('cells_factor')}"] = factor
        values |= {f"{PULL}{name}": value for name, value in runner.model.pulls.items()}
        if len(self._recipe.stages) > 1:
            values["stage"] = float(self._stage + 1)
        values |= self._progress.costs
        values |= {f"{TEACHER}{name}": score for name, score in self._progress.teachers.items()}
        values["lr"] = float(runner.optim_wrapper.get_lr()["lr"][0])
        values[TRAIN_SECONDS] = self._trained - self._started
        if self._progress.attack_seconds:
            values[ATTACK_SECONDS], self._progress.attack_seconds = self._progress.attack_seconds, 0.0
        values[VAL_SECONDS] = time.perf_counter() - self._trained
        return values

    def _content(self, runner: Runner, values: Metrics) -> Content:
        progress = self._progress
        assert progress.data is not None
        return {
            "fingerprint": progress.fingerprint,
            "data": progress.data.as_dict(),
            "epoch": runner.epoch,
            "iteration": runner.iter,
            "metrics": values,
            "best_epoch": progress.best_epoch,
            "best_metrics": progress.best_metrics,
            "model": runner.model.state_dict(),
            **({} if runner.model.average is None else {"average": runner.model.average.state_dict()}),
            "trained": trained_names(runner.model, runner.optim_wrapper),
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedule": schedule_of(self._recipe),
            "schedulers": [
                # without what the recipe gives anyway: mmengine's one-cycle schedule keeps a function in its state
                {name: value for name, value in scheduler.state_dict().items() if not callable(value)}
                for scheduler in runner.param_schedulers
            ],
        }
