"""What an export is asked to note, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikd.trial import TEST

TEST_MAP = f"{TEST}bbox_mAP"


@dataclass(frozen=True)
class SearchContext:
    """Where a student comes from.

    Attributes:
        sweep: name of the sweep.
        trial: number of the trial in its study.
        name: of the trial, for people.
        values: recipe fields by dotted name that were set for the trial.
        state: how the trial ended.
        trials: how many trials the sweep had when the student was exported.
        choice: what is believed of its configuration, see `facts_of`, and the lines `said` of it where it is the one
            chosen; None where no trial of the search had finished, or nothing can be expected of this one.
    """

    sweep: str
    trial: int
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    trials: int = 0
    choice: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Exported:
    """An exported student.

    Attributes:
        directory: holds everything.
        checkpoint: plain mmdet checkpoint.
        config: plain mmdet config.
        card: what it is, for people; card.json beside it says the same.
        metrics: of the evaluation with plain mmdet (AP in 0..1).
        recorded: the same metrics as recorded during training.
        epoch: of the student, from 1.
        parameters: number of weights.
        macs: multiply-adds of one image, None where they cannot be counted.
        sha256: of the checkpoint.
        onnx: the network for onnxruntime, when asked for.
        test: `test/bbox_mAP` and so on, of the recipe's test part, by which nothing was chosen; empty without one.
        registered: URI of the registered model's version, when asked for.
        alias: of the registered model that leads to it now, when asked for.
    """

    directory: Path
    checkpoint: Path
    config: Path
    card: Path
    metrics: Mapping[str, float]
    recorded: Mapping[str, float]
    epoch: int
    parameters: int
    macs: int | None
    sha256: str
    onnx: Path | None = None
    registered: str | None = None
    alias: str | None = None
    test: Mapping[str, float] = field(default_factory=dict)

    def summary(self) -> str:
        """Return a few lines for people: what was written, and that it holds what training said."""
        now, then = (100 * values["bbox_mAP"] for values in (self.metrics, self.recorded))
        cost = f", {self.macs / 1e6:.1f} M multiply-adds" if self.macs is not None else ""
        lines = [
            f"{self.directory}",
            f"  {self.checkpoint.name}, {self.config.name}: {self.parameters / 1e6:.2f} M parameters{cost}",
            f"  mAP {now:.1f} in plain mmdet ({then:.1f} in epoch {self.epoch} of the training)",
        ]
        lines += [f"  mAP {100 * self.test[TEST_MAP]:.1f} on the test part, which chose nothing"] if self.test else []
        lines += [f"  {self.onnx.name}: the network for onnxruntime"] if self.onnx else []
        also = f", alias {self.alias}" if self.alias else ""
        lines += [f"  registered as {self.registered}{also}"] if self.registered else []
        return "\n".join([*lines, f"  {self.card.name}: data, recipe, metrics, how to load it"])
