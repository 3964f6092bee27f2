"""What everybody says of a trial: its folder, its reports, its states, the names of its metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ikd.errors import BadInput
from ikd.files import append, parsed, write_text

State = Literal["waiting", "running", "finished", "stopped", "diverged", "failed"]
"""waiting: interrupted, goes on with the next start. stopped: ended early on purpose. diverged: NaN or infinity."""

OpenState = Literal["waiting", "running"]
EndState = Literal["finished", "stopped", "diverged", "failed"]
OPEN: tuple[OpenState, ...] = get_args(OpenState)
"""States of a trial that still has epochs to train."""

Metrics = dict[str, float]
COST, LOSS, PULL = "cost/", "loss/", "grad/"
"""Starts of the names of metrics: what a student or trial costs, the mean of a loss over an epoch, and the norm of a
term's gradient on the student's backbone over that of the detection loss, on the epoch's first batch."""
SHARE = "_share"
"""End of the names of metrics: `augment/noise_share` and `augment/crop_share` of the images of an epoch were altered by
IKD's rule, `me/...` by masking enhancement."""
TEACHER = "teacher/"
"""Start of the names of metrics: the mAP of a teacher on the validation part, by its name; the same in every report."""
TEST = "test/"
"""Start of the names of metrics: those of validation, on the test part, in the last report of a trial kept apart."""
NEAR_ZERO = 0.01
"""A teacher of less mAP than this (0..1) sees next to nothing."""
TRAIN_SECONDS, VAL_SECONDS = "seconds/train", "seconds/val"
"""Metrics of an epoch: what it took."""
ATTACK_SECONDS = "seconds/attack"
"""In the first report of a trial that made perturbations, for itself and whoever comes after: what that took."""

Notify = Callable[[int, int], None]
"""Called with how much of something is done, and how much there is."""
NotifyOf = Callable[[str, int, int], None]
"""Called with what is being made, how much of it is done, and how much there is."""
SharedKind = Literal["teacher", "perturbations", "boxes", "labels", "rehearsal"]


@dataclass(frozen=True)
class Shared:
    """Something that trials share and that is made once, as it is found.

    Attributes:
        kind: the weights of a teacher that has none, its perturbations, its boxes, its labels; or a rehearsal.
        teacher: its name in the recipe; of a rehearsal the name of its record.
        done: how much of it is there: epochs of a teacher; images, and for perturbations each twice, as the teacher is
            evaluated on all of them at the end.
        total: how much there is to make.
        seconds: what one of them took here, None where that is not known.
    """

    kind: SharedKind
    teacher: str
    done: int
    total: int
    seconds: float | None = None

    @property
    def made(self) -> bool:
        """Whether all of it is there."""
        return self.done >= self.total


@dataclass(frozen=True)
class Timed:
    """What one of something took.

    Attributes:
        kind: an epoch of the student alone, one of it with its teacher, one of a teacher; an image of its perturbations
            or boxes.
        teacher: its name in the recipe; empty for epochs of the student.
        seconds: of one.
        checkpoint_bytes: of the largest checkpoint that an epoch of the student left.
    """

    kind: Literal["alone", "taught", "teacher", "perturbations", "boxes", "labels"]
    teacher: str
    seconds: float
    checkpoint_bytes: int = 0


def said_of(kind: SharedKind, teacher: str) -> str:
    """Return what is said while something shared is being made."""
    made = {"perturbations": "perturbations", "boxes": "teacher's boxes", "rehearsal": "rehearsal"}
    made["labels"] = "teacher's labels"
    return made.get(kind, f"teacher {teacher}")


def kind_said(text: str) -> SharedKind | None:
    """Return what is being made when this is said; None for anything else."""
    kinds: tuple[SharedKind, ...] = ("perturbations", "boxes", "labels", "teacher")
    return next((kind for kind in kinds if text.startswith(said_of(kind, ""))), None)


class StopTrial(Exception):
    """Raised by a report callback to end the trial here, cleanly."""


def said_of_teacher(name: str, score: float | None) -> str:
    """Return what a person is told of a teacher of this mAP (0..1) on the validation part; None was not measured."""
    if score is None:
        why = "it predicts no boxes, or none at input.scale; what compares maps needs none"
        return f"teacher {name}: mAP not measured, as {why}"
    text = f"teacher {name}: mAP {100 * score:.1f} on the validation part"
    if score < NEAR_ZERO:
        text += (
            "; warning: it sees next to nothing, so there is little to learn from it: look at its checkpoint, classes "
        )
        text += "and preprocessor, and at input.scale"
    return text


def pulls_text(metrics: Mapping[str, float]) -> str:
    """Write how hard terms pull, the detection loss being 1: `fgd 7.5, adversarial 12`."""
    pulls = {name.removeprefix(PULL): value for name, value in metrics.items() if name.startswith(PULL)}
    return ", ".join(f"{name} {value:.2g}" for name, value in pulls.items())


@dataclass(frozen=True)
class EpochReport:
    """What a trial reports after each validation.

    Attributes:
        epoch: epochs finished, from 1.
        metrics: by name, in the units of the metric tables (AP in 0..1).
        checkpoint: file from which the trial can be continued at this epoch.
    """

    epoch: int
    metrics: Metrics
    checkpoint: Path

    def line(self, total: int) -> str:
        """Return the report on one line for people; `total` is the number of epochs."""
        losses = "  ".join(
            f"{name.removeprefix(LOSS)} {value:.4g}" for name, value in self.metrics.items() if name.startswith(LOSS)
        )
        altered = "".join(
            f"  {name.partition('/')[2].removesuffix(SHARE)} {100 * value:.0f} %"
            for name, value in self.metrics.items()
            if name.endswith(SHARE)
        )
        pulls = pulls_text(self.metrics)
        losses += f"  grad {pulls}" if pulls else ""
        score = 100 * self.metrics["bbox_mAP"]
        seconds = self.metrics[TRAIN_SECONDS] + self.metrics[VAL_SECONDS]
        masks = f"  mask AP {100 * self.metrics['segm_mAP']:.1f}" if "segm_mAP" in self.metrics else ""
        voc = f"  VOC AP50 {100 * self.metrics['voc_AP50']:.1f}" if "voc_AP50" in self.metrics else ""
        voc += f" (07: {100 * self.metrics['voc_AP50_07']:.1f})" if voc else ""
        return f"epoch {self.epoch}/{total}  mAP {score:.1f}{masks}{voc}  {losses}{altered}  {seconds:.0f} s"


Report = Callable[[EpochReport], None]
"""Called once after each validation; may raise `StopTrial`."""


@dataclass(frozen=True)
class TrialOptions:
    """What a sweep asks of a trial besides.

    Attributes:
        costs: put into every report as `cost/<name>`: `gflops`, `mparameters`, `latency_ms`; measured once, before
            training.
        adopt: a checkpoint of another trial to go on from: weights, optimiser, schedule position and epoch are taken
            over. That trial has the same architecture, schedule and stages, and may differ in everything else. Log and
            best epoch stay this trial's own up to there. Beside `checkpoint`, it is what counts unless that one is of
            this recipe and further.
        keep_epochs: keep last.pth as epoch-K.pth too, wherever a validated epoch is a multiple of this.
        processes: train in so many processes, one a GPU where there are any; `schedule.batch_size` and `threads` are
            shared among them. Batches hold the same images however many there are. Batch norm sees a process's own
            part, as in mmdet's distributed training; its running statistics are averaged after each epoch.
        student: which one best.pth holds, of the best epoch or of the last one with a finite objective.
        test: measure that student on the recipe's test part, where it has one, and put it into the last epoch's report
            as `test/bbox_mAP` and so on. For trainings that nothing is chosen by.
    """

    costs: tuple[str, ...] = ()
    adopt: Path | None = None
    keep_epochs: int | None = None
    processes: int = 1
    student: Literal["best", "last"] = "best"
    test: bool = False


NO_OPTIONS = TrialOptions()


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial.

    Attributes:
        path: of the folder.
    """

    path: Path

    BEST, LAST, PREVIOUS, RECIPE = "best.pth", "last.pth", "previous.pth", "recipe.yaml"

    @property
    def best(self) -> Path:
        """Student that the trial leaves: of the best epoch, or of the last (`TrialOptions.student`)."""
        return self.path / self.BEST

    @property
    def last(self) -> Path:
        """File to resume from."""
        return self.path / self.LAST

    @property
    def previous(self) -> Path:
        """What `last` was one validation earlier, in case that one is damaged."""
        return self.path / self.PREVIOUS

    @property
    def recipe(self) -> Path:
        """What was trained."""
        return self.path / self.RECIPE

    @property
    def log(self) -> Path:
        """Metrics of every validated epoch, one JSON line each."""
        return self.path / "log.jsonl"

    @property
    def notes(self) -> Path:
        """What a person ought to know of the choices made for them, a line each."""
        return self.path / "notes.txt"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures of its student; see `ikd.pictures`."""
        return self.path / "pictures"

    @property
    def said(self) -> Path:
        """What the attempts of a sweep's trial printed and logged, with the tracebacks of those that failed."""
        return self.path / "train.log"

    @staticmethod
    def kept_name(epoch: int) -> str:
        """Return the name under which the checkpoint of an epoch stays."""
        return f"epoch-{epoch}.pth"

    def largest_checkpoint(self) -> int:
        """Return the bytes of the largest checkpoint; 0 where there is none."""
        return max((file.stat().st_size for file in self.path.glob("*.pth")), default=0)

    def logged(self) -> dict[int, Metrics]:
        """Return the metrics by epoch from the log, ascending, the latest of an epoch; torn lines are passed over."""
        found = dict(epoch for line in self._lines() if (epoch := _read(line)) is not None)
        return dict(sorted(found.items()))

    def note(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Append an epoch to the log.

        Raises:
            DiskFull: the log is as it was.
        """
        before = self.log.read_bytes() if self.log.is_file() else b""
        torn = bool(before) and not before.endswith(b"\n")
        append(self.log, "\n" * torn + json.dumps({"epoch": epoch, "metrics": dict(metrics)}) + "\n")

    def remark(self, text: str) -> bool:
        """Add a line to the notes, once; tell whether it is new.

        Raises:
            DiskFull: the notes are as they were.
        """
        lines = self.notes.read_text(errors="replace").splitlines() if self.notes.is_file() else []
        if text not in lines:
            append(self.notes, text + "\n")
        return text not in lines

    def cut_log(self, epoch: int) -> None:
        """Put the log back to an epoch; torn lines go too.

        Raises:
            DiskFull: the log is as it was.
        """
        lines = self._lines()
        kept = [line for line in lines if (_read(line) or (math.inf, {}))[0] <= epoch]
        if kept != lines:
            write_text(self.log, "".join(line + "\n" for line in kept))

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []


def checkpoint_in(directory: Path, *, resume: bool) -> Path | None:
    """Return the last.pth that a training goes on from, None for one that begins.

    Args:
        directory: of the training.
        resume: whether the person wants to go on.

    Raises:
        BadInput: there is nothing to go on from, or something that a new training would overwrite.
    """
    last = TrialFolder(directory).last
    if last.is_file() != resume:
        rule = "hold a last.pth to resume from" if resume else "hold no last.pth yet, or take --resume to go on from it"
        raise BadInput(f"--to: must {rule}, but got {str(directory)!r}")
    return last if resume else None


def _read(line: str) -> tuple[int, Metrics] | None:
    """Return epoch and metrics of a line of the log, None for one that a crash cut short."""
    try:
        content = parsed(line)
        return int(content["epoch"]), {name: float(value) for name, value in content["metrics"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
